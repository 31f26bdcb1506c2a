/* The threads that a caller lends to one call. */
#ifndef TADA_COMMON_LENT_H
#define TADA_COMMON_LENT_H

#include "tada.h"

/* Whether they can be used; NULL always can. */
enum tada_status tada_lent_check(const tada_threads *threads, tada_error *error);

/* How many there are, the calling one when threads is NULL. */
int tada_lent_count(const tada_threads *threads);

/* Calls work once for each of them, and returns when all calls have. */
void tada_lent_run(const tada_threads *threads, tada_work work, void *context);

#endif
