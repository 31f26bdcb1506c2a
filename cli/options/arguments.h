/* Values of options that several commands take. */
#ifndef TADA_CLI_OPTIONS_ARGUMENTS_H
#define TADA_CLI_OPTIONS_ARGUMENTS_H

#include "find/paths.h"

#include <stdint.h>

enum { MAX_THREADS = 512 };

/* What the help says of the model, where the command has a default one. */
#define MODEL_UNSET "that of 'make demo', if it is there"

/* Those that can fail print what is wrong and return an exit status, 0 when all is well. */

/* Percents of the f16 cache, with or without their sign. */
int take_share(const char *command, const char *name, const char *text, double *share);
/* At least one byte: a number, with K, M, G or T for powers of 1024. */
int take_bytes(const char *command, const char *name, const char *text, uint64_t *bytes);
/* Any number that 32 bits hold. */
int take_seed(const char *command, const char *name, const char *text, uint32_t *seed);

/* Adds the specs of a list "SPEC,SPEC..." to caches[0...*n - 1], at most `most` in all; each once, and f16
 * never, as it is always measured. `list` is changed. Specs without a name of their own are parts of it, so
 * that it must live on. */
int take_caches(const char *command, char *list, const char **caches, int *n, int most);

/* When no model is given (NULL), the path of the default one; `place` must live on. */
int take_default_model(const char *command, const char **path, struct place *place);

/* The CPUs that this process may run on, at most MAX_THREADS. */
int count_cpus(void);

#endif
