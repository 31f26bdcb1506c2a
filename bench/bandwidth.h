/*
 * A buffer much larger than the last-level cache. Reading it evicts what a measurement left there, and its
 * speed is the limit of any attention that reads its cache from memory.
 */
#ifndef BENCH_BANDWIDTH_H
#define BENCH_BANDWIDTH_H

#include "team.h"

#include <stddef.h>

typedef struct bench_bandwidth {
    unsigned char *buffer;
    size_t bytes;
    const tada_threads *threads;
    double *speeds; /* GB/s of each read so far */
    int n, capacity;
} bench_bandwidth;

/* Bytes of the last-level cache of a core, or 0 where the system does not tell. */
size_t bench_cache_bytes(void);

/* bytes 0: an empty buffer, reading it does nothing. */
void bench_bandwidth_open(bench_bandwidth *bandwidth, size_t bytes, const tada_threads *threads);
/* Reads it all once, in one of several ways by turns: which is the fastest depends on the machine. */
void bench_bandwidth_read(bench_bandwidth *bandwidth);
void bench_bandwidth_close(bench_bandwidth *bandwidth);

#endif
