/* The threads that a caller lends to one call. */
#ifndef TADA_COMMON_LENT_H
#define TADA_COMMON_LENT_H

#include "tada.h"

/* TADA_E_ARGUMENT where they cannot be used: n below 1, or no run. NULL always can. */
enum tada_status tada_lent_check(const tada_threads *threads, tada_error *error);

/* How many threads there are: 1 for NULL, the calling one. */
int tada_lent_count(const tada_threads *threads);

/* Calls work once for each thread, and returns when all calls have returned. */
void tada_lent_run(const tada_threads *threads, tada_work work, void *context);

#endif
