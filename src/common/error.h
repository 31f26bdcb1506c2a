/* Errors: a status, and one sentence that says what to do. */
#ifndef TADA_COMMON_ERROR_H
#define TADA_COMMON_ERROR_H

#include "tada.h"

/* Fills *error (may be NULL) and returns status. */
enum tada_status tada_fail(tada_error *error, enum tada_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
