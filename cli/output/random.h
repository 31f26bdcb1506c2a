/* Pseudo-random numbers, the same for the same seed: splitmix64. */
#ifndef TADA_CLI_OUTPUT_RANDOM_H
#define TADA_CLI_OUTPUT_RANDOM_H

#include <stdint.h>

/* All 64 bits are good; *state is any seed at first, zero included. */
uint64_t random_next(uint64_t *state);
/* From 0 to 1, without 1. */
double random_share(uint64_t *state);

#endif
