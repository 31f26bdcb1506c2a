/* Arguments that several commands take. */
#ifndef TADA_ARGUMENTS_H
#define TADA_ARGUMENTS_H

#include "cli.h"

#include <getopt.h>
#include <stdint.h>

enum { MAX_THREADS = 512 };

/* Those that can fail print what is wrong and return an exit status, 0 when all is well. */

/* The next option of getopt_long, -1 after the last one; `letters` begin with a colon. */
int next_option(const char *command, int argc, char **argv, const char *letters, const struct option *known,
                int *option);

/* A whole number from least to most; otherwise *number stays. */
int take_number(const char *command, const char *option, const char *text, long long least, long long most,
                long long *number);
int take_int(const char *command, const char *option, const char *text, int least, int most, int *number);

/* --budget: percents of the f16 cache, with or without their sign. */
int take_share(const char *command, const char *text, double *share);
/* At least one byte: a number, with K, M, G or T for powers of 1024. */
int take_bytes(const char *command, const char *option, const char *text, uint64_t *bytes);

/* Adds the specs of a list "SPEC,SPEC..." to caches[0...*n - 1], at most `most` in all; each once, and f16
 * never, as it is always measured. `list` is changed and must live on: the specs are parts of it. */
int take_caches(const char *command, char *list, const char **caches, int *n, int most);

/* When no model is given (NULL), the path of the default one; `place` must live on. */
int take_default_model(const char *command, const char **path, struct place *place);

/* The CPUs that this process may run on, at most MAX_THREADS. */
int count_cpus(void);

#endif
