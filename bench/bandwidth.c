#include "bandwidth.h"
#include "options.h"
#include "samples.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LINE = 64, LINES = 8, PIECE = 1 << 16, AHEAD = 4096 };

typedef uint64_t wide __attribute__((vector_size(LINE), may_alias));
typedef uint64_t (*sum_function)(const unsigned char *from, size_t bytes);

/* Eight independent sums, so that additions do not wait for each other; each stream is a part of its own, as
 * hardware prefetchers follow several. */
static inline __attribute__((always_inline)) uint64_t sum(const unsigned char *from, size_t bytes, int n_four,
                                                          int ahead)
{
    wide sums[LINES];
    uint64_t total = 0;
    size_t part = bytes / (size_t)n_four;
    memset(sums, 0, sizeof sums);
    for (size_t at = 0; at < part; at += LINE * LINES / (size_t)n_four) {
#pragma GCC unroll 8
        for (int i = 0; i < LINES; i++) {
            const unsigned char *line = from + (size_t)(i % n_four) * part + at + (size_t)(i / n_four) * LINE;
            if (ahead) {
                __builtin_prefetch(line + ahead);
            }
            sums[i] += *(const wide *)(const void *)line;
        }
    }
    for (int i = 0; i < LINES; i++) {
        for (int j = 0; j < (int)(LINE / sizeof(uint64_t)); j++) {
            total += sums[i][j];
        }
    }
    return total;
}

#define WAYS(name, attribute)                                                                                \
    attribute static uint64_t name##_plain(const unsigned char *from, size_t bytes)                          \
    {                                                                                                        \
        return sum(from, bytes, 1, 0);                                                                       \
    }                                                                                                        \
    attribute static uint64_t name##_ahead(const unsigned char *from, size_t bytes)                          \
    {                                                                                                        \
        return sum(from, bytes, 1, AHEAD);                                                                   \
    }                                                                                                        \
    attribute static uint64_t name##_four(const unsigned char *from, size_t bytes)                           \
    {                                                                                                        \
        return sum(from, bytes, 4, 0);                                                                       \
    }                                                                                                        \
    attribute static uint64_t name##_two_ahead(const unsigned char *from, size_t bytes)                      \
    {                                                                                                        \
        return sum(from, bytes, 2, AHEAD / 2);                                                               \
    }                                                                                                        \
    static const sum_function name##_ways[WAY_COUNT] = {name##_plain, name##_ahead, name##_four,             \
                                                        name##_two_ahead};

enum { WAY_COUNT = 4 };

WAYS(base, )
#ifdef __x86_64__
WAYS(avx2, __attribute__((target("avx2"))))
WAYS(avx512, __attribute__((target("avx512f"))))
#endif

static const sum_function *ways(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) {
        return avx512_ways;
    }
    if (__builtin_cpu_supports("avx2")) {
        return avx2_ways;
    }
#endif
    return base_ways;
}

size_t bench_cache_bytes(void)
{
    /* sysconf adds up the caches of all cores on some machines. */
    size_t most = 0;
    for (int i = 0; i < 8; i++) {
        char path[96];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        FILE *file = fopen(path, "r");
        size_t size = 0;
        char unit = 0;
        if (!file) {
            break;
        }
        if (fscanf(file, "%zu%c", &size, &unit) >= 1) {
            size <<= unit == 'K' ? 10 : unit == 'M' ? 20 : 0;
            most = size > most ? size : most;
        }
        fclose(file);
    }
    return most;
}

void bench_bandwidth_open(bench_bandwidth *b, size_t bytes, const tada_threads *threads)
{
    size_t step = (size_t)PIECE * (size_t)threads->n;
    *b = (bench_bandwidth){.bytes = (bytes + step - 1) / step * step, .threads = threads};
    if (bytes == 0) {
        return;
    }
    /* The limit must not be one of address translation. */
    b->buffer = bench_pages(b->bytes, true);
    memset(b->buffer, 1, b->bytes);
}

/* One read by all threads, each a part. */
typedef struct read_all {
    const unsigned char *from;
    size_t bytes;
    sum_function way;
    _Atomic uint64_t total;
} read_all;

static void read_part(void *context, int thread, int n_threads)
{
    read_all *r = context;
    size_t part = r->bytes / (size_t)n_threads;
    r->total += r->way(r->from + part * (size_t)thread, part);
}

void bench_bandwidth_read(bench_bandwidth *b)
{
    if (b->bytes == 0) {
        return;
    }
    if (b->n == b->capacity) {
        b->capacity = b->capacity ? 2 * b->capacity : 256;
        b->speeds = realloc(b->speeds, (size_t)b->capacity * sizeof *b->speeds);
        if (!b->speeds) {
            bench_fail("out of memory");
        }
    }
    read_all r = {b->buffer, b->bytes, ways()[b->n % WAY_COUNT], 0};
    double start = bench_clock();
    b->threads->run(b->threads->pool, read_part, &r);
    double end = bench_clock();
    uint64_t total = r.total;
    /* Also keeps the compiler from leaving the reads out. */
    if (total != b->bytes / sizeof total * UINT64_C(0x0101010101010101)) {
        bench_fail("the read of the flush buffer went wrong");
    }
    b->speeds[b->n++] = (double)b->bytes / (end - start) * 1e-9;
}

void bench_bandwidth_close(bench_bandwidth *b)
{
    if (b->buffer) {
        munmap(b->buffer, b->bytes);
    }
    free(b->speeds);
}
