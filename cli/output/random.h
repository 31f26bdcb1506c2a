/* Pseudo-random numbers, the same for the same seed: splitmix64. */
#ifndef TADA_CLI_OUTPUT_RANDOM_H
#define TADA_CLI_OUTPUT_RANDOM_H

#include <stdint.h>

/* The next 64 random bits. *state: at first any seed, zero included. */
uint64_t random_next(uint64_t *state);
/* A random number from 0 up to, but not including, 1. */
double random_share(uint64_t *state);

#endif
