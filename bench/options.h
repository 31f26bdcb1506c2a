/* What a run measures, from the command line, and how it gives up. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "tada.h"

enum { BENCH_LIST_MAX = 8 };

typedef struct bench_list {
    int values[BENCH_LIST_MAX];
    int n;
} bench_list;

typedef struct bench_options {
    int64_t n_cells, n_queries;
    int n_heads_kv, n_layers, n_threads, repeat;
    int view; /* V is the first values of each K row, so many; 0: V has rows of its own */
    bench_list dims, groups;
    const char *spec_text;
    tada_spec spec; /* of spec_text, without window and sinks when all_cold */
    bool all_cold, huge_pages, json;
    float outlier; /* factor of one K channel of each head */
    int flush_mib; /* read between two measurements; 0: caches stay warm, -1: chosen from the cache size */
    const char *folder; /* with the modules of ggml */
} bench_options;

/* Leaves the process: status 2 after a wrong argument, 0 after --help. */
void bench_options_parse(bench_options *options, int argc, char **argv);

_Noreturn void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* calloc that does not return NULL, aligned to cache lines. */
void *bench_alloc(size_t n, size_t size);

/* Pages of zeros, huge ones where asked for and the system has them; free with munmap. */
void *bench_pages(size_t bytes, bool huge);

#endif
