#include "bench.h"

#include "attention/codes.h"
#include "numbers.h"
#include "refined.h"

#include <time.h>

enum {
    CELLS = TADA_TILE_CELLS,
    DIM = 128,
    MOST_ROUNDS = 1000,
    TURN_NS = 40000 /* what one turn takes at least */
};

/* Memory of all benchmarks: some of each type, filled once. */
typedef struct data {
    float *a, *b, *c, *scale, *offset, *inverse, *bias;
    uint16_t *halves;
    uint8_t *bytes, *codes;
    int16_t *integers;
} data;

static data d;
static const tada_kernels *folded_by; /* whose integers are in d.integers; NULL: nobody's */

/* One call with the first argument: bits, or rows. */
typedef void (*bench_call)(const tada_kernels *k, int argument);

typedef struct bench {
    const char *name;
    bench_call call;
    int argument;
    double values; /* of a call */
} bench;

static void *take(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(memory);
    memset(memory, 0, bytes);
    return memory;
}

static void data_make(void)
{
    enum { FLOATS = TADA_ROWS * 4 * DIM + CELLS * DIM };
    float **const floats[] = {&d.a, &d.b, &d.c, &d.scale, &d.offset, &d.inverse, &d.bias};
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        *floats[i] = take(FLOATS * sizeof(float));
        numbers_fill(*floats[i], 1, 0, FLOATS, NUMBERS_NORMAL);
    }
    d.halves = take(CELLS * DIM * sizeof *d.halves);
    halves_fill(d.halves, CELLS, DIM, DIM);
    d.bytes = take(CELLS * DIM);
    d.codes = take(CELLS * DIM);
    for (int i = 0; i < CELLS * DIM; i++) {
        d.bytes[i] = (uint8_t)random_bits();
    }
    d.integers = take(FLOATS * sizeof *d.integers);
    folded_by = NULL;
}

static void data_free(void)
{
    void *const all[] = {d.a,    d.b,      d.c,     d.scale, d.offset,  d.inverse,
                         d.bias, d.halves, d.bytes, d.codes, d.integers};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free(all[i]);
    }
}

/* ---- calls ---- */

static void call_half_to_float(const tada_kernels *k, int n)
{
    k->half_to_float(d.halves, d.c, n);
}

static void call_half_from_float(const tada_kernels *k, int n)
{
    k->half_from_float(d.a, (uint16_t *)(void *)d.c, n);
}

static void call_hadamard(const tada_kernels *k, int block)
{
    k->hadamard(d.c, DIM, block);
}

static void call_transpose_floats(const tada_kernels *k, int columns)
{
    k->transpose_floats(d.a, CELLS, columns, d.c);
}

/* bits: of a code, then from 16 on those of its refinement. */
static void call_quantise(const tada_kernels *k, int bits)
{
    tada_block block = {.x = d.a,
                        .stride = TADA_LANES,
                        .n = CELLS,
                        .bits = bits % 16,
                        .fine_bits = bits / 16,
                        .search = TADA_SEARCH_ERROR,
                        .codes = d.codes,
                        .fine = d.codes + CELLS * TADA_LANES};
    k->quantise(&block);
}

/* The argument: bits and, times 16, those of refinement. */
static void call_unpack(const tada_kernels *k, int argument)
{
    int bits = argument % 16, fine_bits = argument / 16, low = bits == 8 ? 8 : bits >= 4 ? 4 : 2;
    tada_fine fine = {fine_bits, d.bytes, d.bytes + DIM * 8 * 2};
    k->unpack(&(tada_sections){.n = 1, .of = {{bits, DIM / TADA_SPAN, d.bytes, d.bytes + DIM * 8 * low}}},
              &fine, d.codes);
}

static void call_factors(const tada_kernels *k, int n)
{
    k->factors(d.bytes, n, d.scale, d.offset);
}

static void call_decode_k(const tada_kernels *k, int axis)
{
    tada_factors f = {d.scale, d.offset, (enum tada_axis)axis, CELLS};
    k->decode_k(d.bytes, DIM, &f, d.c);
}

static void call_decode_v(const tada_kernels *k, int axis)
{
    tada_factors f = {d.scale, d.offset, (enum tada_axis)axis, CELLS};
    k->decode_v(d.bytes, DIM, &f, d.c);
}

static void call_transpose_halves(const tada_kernels *k, int dim)
{
    k->transpose_halves(d.halves, DIM, dim, d.c);
}

static void call_multiply(const tada_kernels *k, int m)
{
    k->multiply(d.a, DIM, d.b, d.c, CELLS, m, CELLS, DIM, false);
}

static void call_scores_rows(const tada_kernels *k, int m)
{
    k->scores_rows(d.a, m, DIM, d.halves, DIM, CELLS, d.c, CELLS);
}

static void call_values_rows(const tada_kernels *k, int m)
{
    k->values_rows(d.a, CELLS, m, DIM, d.halves, DIM, CELLS, d.c, DIM);
}

/* A batch of four tiles of K, as in decoding with groups of m heads. */
static tada_fold fold_of(int m)
{
    return (tada_fold){.x = d.a,
                       .ldx = DIM,
                       .factors_tile = DIM,
                       .n_tiles = 4,
                       .m = m,
                       .n = DIM,
                       .scale = d.b,
                       .offset = d.b,
                       .folded = d.integers,
                       .ldf = DIM,
                       .inverse = d.inverse,
                       .bias = d.bias};
}

static void call_fold(const tada_kernels *k, int m)
{
    tada_fold fold = fold_of(m);
    k->fold(&fold);
}

static tada_dot dot_of(const tada_kernels *k, int bits, int m)
{
    int low = bits == 8 ? 8 : bits >= 4 ? 4 : 2;
    /* As `fold` of this very set makes them: once for all calls of a turn. */
    if (folded_by != k) {
        call_fold(k, TADA_ROWS / 4);
        folded_by = k;
    }
    return (tada_dot){.low = d.bytes,
                      .high = bits > low ? d.bytes + DIM * 8 * low : NULL,
                      .bits = bits,
                      .m = m,
                      .x = d.integers,
                      .ldx = DIM,
                      .inverse = d.inverse,
                      .bias = d.bias,
                      .out = d.c};
}

/* The argument: bits and, times 16, rows. */
static void call_codes_k(const tada_kernels *k, int argument)
{
    tada_dot dot = dot_of(k, argument % 16, argument / 16);
    dot.step = dot.n_vectors = CELLS / 16;
    dot.n_fours = DIM / 4;
    dot.ldo = CELLS;
    k->codes_dot(&dot);
}

static void call_codes_v(const tada_kernels *k, int argument)
{
    tada_dot dot = dot_of(k, argument % 16, argument / 16);
    dot.step = dot.n_vectors = DIM / 16;
    dot.n_fours = CELLS / 4;
    dot.ldo = DIM;
    k->codes_dot(&dot);
}

static void call_softmax(const tada_kernels *k, int m)
{
    static float slope[] = {1, 1, 1, 1}, cells_sum[TADA_ROWS];
    tada_softmax s = {.m = m,
                      .group = 4,
                      .n = CELLS,
                      .scores = d.c,
                      .lds = CELLS,
                      .mask = d.a,
                      .slope = slope,
                      .max = d.inverse,
                      .sum = d.bias,
                      .cells_sum = cells_sum,
                      .out = d.b,
                      .ldo = DIM,
                      .dim = DIM};
    k->softmax(&s);
}

static int16_t factors_k[DIM], integers_k[CELLS * DIM];
static float weights_k[4 * CELLS];

static void call_widen(const tada_kernels *k, int bits)
{
    (void)bits;
    k->widen(&(tada_widen){d.codes, DIM, CELLS, CELLS, factors_k, factors_k, factors_k, integers_k});
}

static void call_code_tops(const tada_kernels *k, int columns)
{
    static uint8_t tops[DIM];
    k->code_tops(d.codes, DIM, columns, columns, tops);
}

static void call_integers_dot(const tada_kernels *k, int m)
{
    k->integers_dot(&(tada_integers_dot){.integers = integers_k,
                                         .n_pairs = DIM / 2,
                                         .n = CELLS,
                                         .m = m,
                                         .x = integers_k,
                                         .ldx = DIM,
                                         .inverse = d.inverse,
                                         .unit = 1,
                                         .bias = d.bias,
                                         .group = CELLS,
                                         .out = d.c,
                                         .ldo = CELLS});
}

static void call_narrow(const tada_kernels *k, int m)
{
    static const float sums[4] = {1, 1, 1, 1};
    k->weights_to_integers(weights_k, CELLS, m, sums, integers_k, d.inverse);
}

/* A batch of tiles of the usual recipe, with 32 rows in all, as attention reads them. The argument: rows, and
 * flags. */
enum { TILES_V = 64, TILES_REFINED = 128, TILES_128 = 256, TILES_ROWS = 32 };

static void tiles_make(enum tada_kind kind, int dim, tada_codec *codec, tada_codes *c)
{
    refined tile;
    refined_codec("tada", kind, 1, dim, codec);
    c->codec = codec;
    for (int j = 0; j < TADA_BATCH; j++) {
        refined_make(codec, UINT64_MAX, &tile);
        c->cold[j] = tile.cold;
        c->mask[j] = UINT64_MAX;
    }
}

static void call_tiles(const tada_kernels *k, int argument)
{
    static tada_codec codecs[2][2];
    static tada_codes all[2][2];
    static float scratch[1 << 16] __attribute__((aligned(64)));
    enum tada_kind kind = argument & TILES_V ? TADA_V : TADA_K;
    int m = argument % TILES_V, dim = argument & TILES_128 ? 128 : 64;
    tada_codes *c = &all[kind][dim > 64];
    if (!c->codec) {
        tiles_make(kind, dim, &codecs[kind][dim > 64], c);
        assert_true(tada_codes_scratch(c->codec) * sizeof *scratch <= sizeof scratch);
    }
    if (tada_kernels_get() != k) {
        assert_int_equal(tada_kernels_select(k->name), TADA_OK);
    }
    c->n_tiles = TILES_ROWS / m < TADA_BATCH ? TILES_ROWS / m : TADA_BATCH;
    for (int j = 0; j < c->n_tiles; j++) {
        /* In one piece, refinement follows. */
        c->cold[j].fine = argument & TILES_REFINED
                              ? c->cold[j].records + tada_cold_bytes(&c->codec->recipe, dim, dim)
                              : NULL;
    }
    c->next = c->cold[0].records;
    c->next_fine = c->cold[0].fine;
    if (kind == TADA_K) {
        tada_codes_scores(c, d.a, m, d.c, TADA_BATCH * CELLS, scratch);
    } else {
        tada_codes_values(c, d.b, TADA_BATCH * CELLS, m, d.c, (size_t)dim, scratch);
    }
}

#define TILE ((double)CELLS * DIM)
#define CODES(bits, m) ((m)*16 + (bits))

static const bench benches[] = {
    {"half_to_float, 128", call_half_to_float, 128, 128},
    {"half_from_float, 128", call_half_from_float, 128, 128},
    {"hadamard, 64", call_hadamard, 64, DIM},
    {"hadamard, 128", call_hadamard, 128, DIM},
    {"transpose_floats, 128", call_transpose_floats, 128, TILE},
    {"quantise, 2 bits", call_quantise, 2, CELLS *TADA_LANES},
    {"quantise, 4 bits", call_quantise, 4, CELLS *TADA_LANES},
    {"quantise, 2 + 4 bits", call_quantise, 2 + 16 * 4, CELLS *TADA_LANES},
    {"quantise, 4 + 4 bits", call_quantise, 4 + 16 * 4, CELLS *TADA_LANES},
    {"unpack, 2 bits", call_unpack, 2, TILE},
    {"unpack, 3 bits", call_unpack, 3, TILE},
    {"unpack, 4 bits", call_unpack, 4, TILE},
    {"unpack, 5 bits", call_unpack, 5, TILE},
    {"unpack, 6 bits", call_unpack, 6, TILE},
    {"unpack, 8 bits", call_unpack, 8, TILE},
    {"unpack, 3 and 3 bits", call_unpack, 3 + 16 * 3, TILE},
    {"unpack, 4 and 4 bits", call_unpack, 4 + 16 * 4, TILE},
    {"factors, 128", call_factors, 128, 128},
    {"decode_k, channel", call_decode_k, TADA_AXIS_CHANNEL, TILE},
    {"decode_k, token", call_decode_k, TADA_AXIS_TOKEN, TILE},
    {"decode_v, channel", call_decode_v, TADA_AXIS_CHANNEL, TILE},
    {"decode_v, token", call_decode_v, TADA_AXIS_TOKEN, TILE},
    {"transpose_halves, 128", call_transpose_halves, 128, TILE},
    {"multiply, 1 row", call_multiply, 1, TILE},
    {"multiply, 48 rows", call_multiply, 48, 48 * TILE},
    {"scores_rows, 1 row", call_scores_rows, 1, TILE},
    {"scores_rows, 4 rows", call_scores_rows, 4, 4 * TILE},
    {"values_rows, 1 row", call_values_rows, 1, TILE},
    {"values_rows, 4 rows", call_values_rows, 4, 4 * TILE},
    {"fold, 4 x 1 rows", call_fold, 1, 4 * DIM},
    {"fold, 4 x 4 rows", call_fold, 4, 16 * DIM},
    {"codes_dot, K 4 bits, 1 row", call_codes_k, CODES(4, 1), TILE},
    {"codes_dot, K 4 bits, 4 rows", call_codes_k, CODES(4, 4), 4 * TILE},
    {"codes_dot, K 4 bits, 12 rows", call_codes_k, CODES(4, 12), 12 * TILE},
    {"codes_dot, K 2 bits, 4 rows", call_codes_k, CODES(2, 4), 4 * TILE},
    {"codes_dot, K 3 bits, 4 rows", call_codes_k, CODES(3, 4), 4 * TILE},
    {"codes_dot, K 5 bits, 4 rows", call_codes_k, CODES(5, 4), 4 * TILE},
    {"codes_dot, K 6 bits, 4 rows", call_codes_k, CODES(6, 4), 4 * TILE},
    {"codes_dot, K 8 bits, 4 rows", call_codes_k, CODES(8, 4), 4 * TILE},
    {"codes_dot, V 4 bits, 1 row", call_codes_v, CODES(4, 1), TILE},
    {"codes_dot, V 4 bits, 4 rows", call_codes_v, CODES(4, 4), 4 * TILE},
    {"codes_dot, V 3 bits, 1 row", call_codes_v, CODES(3, 1), TILE},
    {"codes_dot, V 3 bits, 4 rows", call_codes_v, CODES(3, 4), 4 * TILE},
    {"tiles of K 64, 1 row", call_tiles, 1, 16 * CELLS * 64},
    {"tiles of K 64, refined, 1 row", call_tiles, 1 + TILES_REFINED, 16 * CELLS * 64},
    {"tiles of K 64, 3 rows", call_tiles, 3, 30 * CELLS * 64},
    {"tiles of K 64, refined, 3 rows", call_tiles, 3 + TILES_REFINED, 30 * CELLS * 64},
    {"tiles of K 64, 4 rows", call_tiles, 4, 32 * CELLS * 64},
    {"tiles of K 64, refined, 4 rows", call_tiles, 4 + TILES_REFINED, 32 * CELLS * 64},
    {"tiles of V 64, 1 row", call_tiles, 1 + TILES_V, 16 * CELLS * 64},
    {"tiles of V 64, refined, 1 row", call_tiles, 1 + TILES_V + TILES_REFINED, 16 * CELLS * 64},
    {"tiles of V 64, 3 rows", call_tiles, 3 + TILES_V, 30 * CELLS * 64},
    {"tiles of V 64, refined, 3 rows", call_tiles, 3 + TILES_V + TILES_REFINED, 30 * CELLS * 64},
    {"tiles of V 64, 4 rows", call_tiles, 4 + TILES_V, 32 * CELLS * 64},
    {"tiles of V 64, refined, 4 rows", call_tiles, 4 + TILES_V + TILES_REFINED, 32 * CELLS * 64},
    {"tiles of K 128, 1 row", call_tiles, 1 + TILES_128, 16 * CELLS * 128},
    {"tiles of K 128, refined, 1 row", call_tiles, 1 + TILES_128 + TILES_REFINED, 16 * CELLS * 128},
    {"tiles of K 128, 4 rows", call_tiles, 4 + TILES_128, 32 * CELLS * 128},
    {"tiles of K 128, refined, 4 rows", call_tiles, 4 + TILES_128 + TILES_REFINED, 32 * CELLS * 128},
    {"tiles of V 128, 1 row", call_tiles, 1 + TILES_V + TILES_128, 16 * CELLS * 128},
    {"tiles of V 128, refined, 1 row", call_tiles, 1 + TILES_V + TILES_128 + TILES_REFINED, 16 * CELLS * 128},
    {"tiles of V 128, 4 rows", call_tiles, 4 + TILES_V + TILES_128, 32 * CELLS * 128},
    {"tiles of V 128, refined, 4 rows", call_tiles, 4 + TILES_V + TILES_128 + TILES_REFINED,
     32 * CELLS * 128},
    {"softmax, 4 rows", call_softmax, 4, 4 * CELLS},
    {"code_tops, 64 columns", call_code_tops, CELLS, TILE},
    {"widen, 64 columns", call_widen, 4, TILE},
    {"integers_dot, 48 rows", call_integers_dot, 48, 48 * TILE},
    {"narrow, 4 rows", call_narrow, 4, 4 * CELLS},
};

/* ---- timing ---- */

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double turn_ns(const bench *b, const tada_kernels *k, int calls)
{
    double start = now_ns();
    for (int i = 0; i < calls; i++) {
        b->call(k, b->argument);
    }
    return now_ns() - start;
}

/* Calls that fill a turn; they warm up, too. */
static int calls_for_turn(const bench *b, const tada_kernels *k)
{
    int calls = 1;
    b->call(k, b->argument);
    while (turn_ns(b, k, calls) < TURN_NS) {
        calls *= 2;
    }
    return calls;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_row(const bench *b, const kernel_set *set, const double *sorted, int rounds, double scalar,
                      bool json)
{
    double best = sorted[0], median = sorted[rounds / 2];
    if (json) {
        printf("{\"kernel\": \"%s\", \"set\": \"%s\", \"best_ns\": %.1f, \"median_ns\": %.1f, "
               "\"ns_per_value\": %.4f",
               b->name, set->name, best, median, best / b->values);
        printf(scalar > 0 ? ", \"times_scalar\": %.2f}\n" : "}\n", scalar / best);
    } else {
        printf("%-30s %-11s %11.1f %11.1f %9.4f", b->name, set->name, best, median, best / b->values);
        printf(scalar > 0 ? " %7.2f\n" : "\n", scalar / best);
    }
}

static void bench_one(const bench *b, const kernel_set *sets, int n_sets, int rounds, bool json)
{
    static double times[MOST_SETS][MOST_ROUNDS];
    int calls[MOST_SETS];
    for (int s = 0; s < n_sets; s++) {
        calls[s] = calls_for_turn(b, sets[s].kernels);
    }
    for (int round = 0; round < rounds; round++) {
        for (int s = 0; s < n_sets; s++) {
            times[s][round] = turn_ns(b, sets[s].kernels, calls[s]) / calls[s];
        }
    }
    double scalar = 0;
    for (int s = n_sets - 1; s >= 0; s--) {
        qsort(times[s], (size_t)rounds, sizeof times[s][0], by_size);
        if (sets[s].kernels == &tada_kernels_scalar) {
            scalar = times[s][0];
        }
    }
    for (int s = 0; s < n_sets; s++) {
        print_row(b, &sets[s], times[s], rounds, scalar, json);
    }
}

static bool is_wanted(const char *name, const char *const *names, int n_names)
{
    for (int i = 0; i < n_names; i++) {
        if (strncmp(name, names[i], strlen(names[i])) == 0) {
            return true;
        }
    }
    return n_names == 0;
}

int bench_run(const kernel_set *sets, int n_sets, int rounds, bool json, const char *const *names,
              int n_names)
{
    int found = 0;
    rounds = rounds < MOST_ROUNDS ? rounds : MOST_ROUNDS;
    random_state = 88172645463325252u;
    for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++) {
        if (!is_wanted(benches[i].name, names, n_names)) {
            continue;
        }
        if (!found++ && !json) {
            printf("%-30s %-11s %11s %11s %9s %7s\n", "kernel", "set", "best ns", "median ns", "ns/value",
                   "scalar/");
        }
        data_make();
        bench_one(&benches[i], sets, n_sets, rounds, json);
        data_free();
    }
    if (!found) {
        fprintf(stderr, "No kernel has such a name. Names:\n");
        for (size_t i = 0; i < sizeof benches / sizeof benches[0]; i++) {
            fprintf(stderr, "  %s\n", benches[i].name);
        }
    }
    return found ? 0 : 2;
}
