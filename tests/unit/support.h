/* What the unit tests share: seeded random numbers and planes in memory of their own. */
#ifndef TADA_TEST_SUPPORT_H
#define TADA_TEST_SUPPORT_H

#include "tada.h"
#include "team.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint64_t random_state;

/* The same numbers each time; TADA_SEED gives others, those of the clock when it is "time". */
static inline void random_init(void)
{
    const char *seed = getenv("TADA_SEED");
    random_state = !seed ? 1 : strcmp(seed, "time") == 0 ? (uint64_t)time(NULL) : strtoull(seed, NULL, 10);
    printf("TADA_SEED=%llu\n", (unsigned long long)random_state);
    random_state = random_state * 2654435761u + 88172645463325252u;
}

static inline uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static inline int random_below(int n)
{
    return (int)(random_bits() >> 33) % n;
}

/* Kernel sets that tests take turns with, the reference first. */
static const char *const tiers[] = {
    "scalar",
#ifdef __aarch64__
    "neon",
    "neondot",
    "neoni8mm",
#else
    "avx2",   "avxvnni", "avx512", "avx512vnni",
#endif
};
enum { N_TIERS = sizeof tiers / sizeof tiers[0] };

/* TADA_QUICK=N: long tests do an N-th of their work, as is enough under an emulator. */
static inline int quick(void)
{
    const char *text = getenv("TADA_QUICK");
    int n = text ? atoi(text) : 1;
    return n > 1 ? n : 1;
}

/* Where a loop over n cases begins that goes on by quick(): it then does an N-th of them, and one at least.
 */
static inline int first_case(int n)
{
    return random_below(quick() < n ? quick() : n);
}

/* Whether to leave out this case, since time is short. */
static inline bool in_haste(void)
{
    return quick() > 1 && random_below(quick()) > 0;
}

/* Drawn from a table, as most of the tests' time would go into logarithms. */
static inline float random_normal(void)
{
    enum { SIZE = 1 << 16 };
    static float table[SIZE];
    static bool made;
    for (int i = 0; i < SIZE && !made; i++) {
        double u = (double)((random_bits() >> 11) + 1) / 9007199254740993.0;
        double v = (double)(random_bits() >> 11) / 9007199254740992.0;
        table[i] = (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
    }
    made = true;
    return table[random_bits() >> 48];
}

/* Plain evaluation, apart from the library's own conversion. */
static inline double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double v = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h & 0x8000 ? -v : v;
}

/* Round to nearest even, for values that f16 can hold. */
static inline uint16_t half_round(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    double size = fabs(x);
    int exponent = -13;
    frexp(size, &exponent);
    exponent = size < 0x1p-14 ? -13 : exponent;
    /* 2048 steps carry into the exponent by themselves. */
    return sign | (uint16_t)(nearbyint(ldexp(size, 11 - exponent)) + (exponent + 13) * 1024);
}

/* For tada_plane_edit: changes the sign of all values. context: the width of a row, an int. */
static inline bool negate_rows(void *context, int thread, const int64_t *cells, int n, uint16_t *rows)
{
    (void)thread;
    (void)cells;
    for (int i = 0; i < n * *(const int *)context; i++) {
        rows[i] ^= 0x8000;
    }
    return true;
}

/* So many threads, from 1 (the caller's own) to 100; they stay until the program ends. */
static inline const tada_threads *threads_of(int n)
{
    static thread_team *teams[101];
    if (n == 1) {
        return NULL;
    }
    if (!teams[n]) {
        teams[n] = team_create(n);
        assert_non_null(teams[n]);
        assert_int_equal(team_lend(teams[n])->n, n);
    }
    return team_lend(teams[n]);
}

typedef struct test_plane {
    tada_plane *plane;
    void *memory;
} test_plane;

static inline tada_spec spec_of(const char *text)
{
    tada_spec spec;
    tada_error error = {""};
    if (tada_spec_parse(text, &spec, &error) != TADA_OK) {
        fail_msg("%s: %s", text, error.text);
    }
    return spec;
}

static inline test_plane plane_of(const char *text, enum tada_kind kind, int width, int64_t n_cells,
                                  int64_t n_streams, int head_dim)
{
    tada_spec spec = spec_of(text);
    tada_shape shape = {kind, width, n_cells, n_streams, 0};
    size_t bytes = tada_plane_bytes(&spec, &shape);
    test_plane p = {NULL, aligned_alloc(64, (bytes + 63) / 64 * 64)};
    tada_error error = {""};
    /* As numbers, none of it is finite. */
    memset(p.memory, 0xff, bytes);
    if (tada_plane_create(&spec, &shape, p.memory, bytes, &p.plane, &error) != TADA_OK) {
        fail_msg("%s: %s", text, error.text);
    }
    if (head_dim) {
        tada_plane_set_head_dim(p.plane, head_dim);
    }
    return p;
}

static inline void plane_done(test_plane *p)
{
    tada_plane_free(p->plane);
    free(p->memory);
}

/* Cells first, first + 1, ... in batches, settled after each. */
static inline void write_rows(tada_plane *plane, tada_pool *pool, const void *rows, enum tada_type type,
                              int width, int64_t first, int64_t n, int64_t batch)
{
    size_t row = (size_t)width * (type == TADA_F32 ? 4 : 2);
    int64_t *cells = malloc((size_t)batch * sizeof *cells);
    for (int64_t i = 0; i < n; i += batch) {
        int64_t part = n - i < batch ? n - i : batch;
        for (int64_t j = 0; j < part; j++) {
            cells[j] = first + i + j;
        }
        assert_int_equal(
            tada_plane_write(plane, pool, (const char *)rows + (size_t)i * row, type, row, cells, part, NULL),
            TADA_OK);
        assert_int_equal(tada_plane_settle(plane, threads_of(2), NULL), TADA_OK);
    }
    free(cells);
}

enum { DATA_KINDS = 7 };

/* Rows that are hard in different ways. */
static inline void fill(float *x, int64_t n, int width, int kind)
{
    for (int64_t i = 0; i < n; i++) {
        for (int d = 0; d < width; d++) {
            float v = random_normal();
            switch (kind) {
            case 1: /* outlier channels */
                v *= d % 17 == 3 ? 30 : 1;
                break;
            case 2: /* constant channels */
                v = (float)d * 0.37f + 1;
                break;
            case 3: /* far from zero */
                v = v * 0.01f + (d % 2 ? 40.0f : -25.0f);
                break;
            case 4: /* near the subnormals of f16 */
                v *= 1e-3f;
                break;
            case 5: /* near the end of f16 */
                v *= 9000;
                break;
            case 6: /* few values */
                v = (float)(random_below(3) - 1) * 0.5f;
                break;
            default:
                break;
            }
            x[i * width + d] = v;
        }
    }
}

/* What a plane tells of itself. */
static inline tada_plane_stats stats_of(const tada_plane *plane)
{
    tada_plane_stats stats;
    tada_plane_get_stats(plane, &stats);
    return stats;
}

/* Attention of one stream over cells from the first on, without a mask. q and out: [n_queries][n_heads][dim].
 */
static inline tada_attention attention_of(const tada_plane *k, const tada_plane *v, int dim, int n_heads,
                                          int n_heads_kv, int64_t n_cells, int64_t n_queries, const float *q,
                                          float *out)
{
    size_t head = (size_t)dim * sizeof(float), query = (size_t)n_heads * head;
    return (tada_attention){.k = k,
                            .v = v,
                            .k_dim = dim,
                            .v_dim = dim,
                            .k_head_stride = dim,
                            .v_head_stride = dim,
                            .n_heads = n_heads,
                            .n_heads_kv = n_heads_kv,
                            .n_streams = 1,
                            .n_cells = n_cells,
                            .n_queries = n_queries,
                            .q = q,
                            .q_query = query,
                            .q_head = head,
                            .q_stream = (size_t)n_queries * query,
                            .scale = 1,
                            .out = out,
                            .out_query = query,
                            .out_head = head,
                            .out_stream = (size_t)n_queries * query};
}

/* Gives it a mask [n_streams][n_queries][n_cells]. */
static inline void add_mask(tada_attention *a, const uint16_t *mask)
{
    a->mask = mask;
    a->mask_query = (size_t)a->n_cells * sizeof *mask;
    a->mask_stream = (size_t)a->n_queries * a->mask_query;
    a->mask_heads = 1;
    a->mask_streams = (int)a->n_streams;
}

/* The main function of a program: runs its tests, or those whose names fit its argument. */
#define TEST_MAIN(...)                                                                                       \
    int main(int argc, char **argv)                                                                          \
    {                                                                                                        \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                                     \
        random_init();                                                                                       \
        if (argc > 1) {                                                                                      \
            cmocka_set_test_filter(argv[1]);                                                                 \
        }                                                                                                    \
        return cmocka_run_group_tests(tests, NULL, NULL);                                                    \
    }

#endif
