/* TaDA as the paper has it (arXiv 2506.04642, section 3): its formulas, its memory, and what the mean over
 * the heads is worth. */
#include "support.h"

enum { TILE = TADA_TILE_CELLS, GROUP = 128 };

static test_plane plane_with(const char *text, enum tada_kind kind, int n_heads, int head_dim,
                             int64_t n_cells)
{
    tada_spec spec = spec_of(text);
    tada_shape shape = {kind, n_heads * head_dim, n_cells, 1, head_dim};
    size_t bytes = tada_plane_bytes(&spec, &shape);
    test_plane p = {NULL, aligned_alloc(64, (bytes + 63) / 64 * 64)};
    tada_error error = {""};
    if (tada_plane_create(&spec, &shape, p.memory, bytes, &p.plane, &error) != TADA_OK) {
        fail_msg("%s: %s", text, error.text);
    }
    return p;
}

/* Writes a tile more than `n_tiles`, so that these are cold, and reads them. False: they are not compressed.
 */
static bool pass(const char *spec, enum tada_kind kind, int n_heads, int head_dim, int n_tiles,
                 const uint16_t *rows, uint16_t *out)
{
    int64_t n_cells = (int64_t)(n_tiles + 1) * TILE;
    test_plane p = plane_with(spec, kind, n_heads, head_dim, n_cells);
    tada_pool *pool = tada_pool_create();
    write_rows(p.plane, pool, rows, TADA_F16, n_heads * head_dim, 0, n_cells, TILE);
    tada_plane_stats stats;
    tada_plane_get_stats(p.plane, &stats);
    assert_int_equal(tada_plane_read(p.plane, 0, (int64_t)n_tiles * TILE, out, threads_of(2), NULL), TADA_OK);
    tada_pool_free(pool);
    plane_done(&p);
    assert_true(stats.cold == 0 || stats.cold == n_tiles);
    return stats.cold > 0;
}

/* ---- the formulas ---- */

static double rounded(double x)
{
    return half_value(half_round(x));
}

/* What the paper makes of a row, in double, and how far apart two evaluations may be. */
typedef struct paper_row {
    double *value;     /* [width] */
    double *same;      /* where all roundings went the same way */
    double *other_way; /* where one went the other way */
} paper_row;

static void evaluate(const double *x, int n_heads, int head_dim, int bits, const paper_row *row)
{
    int width = n_heads * head_dim, levels = (1 << bits) - 1;
    double *mean = calloc((size_t)head_dim, sizeof *mean);
    for (int i = 0; i < width; i++) {
        mean[i % head_dim] += x[i];
    }
    for (int d = 0; d < head_dim; d++) {
        mean[d] = rounded(mean[d] / n_heads);
    }
    for (int first = 0; first < width; first += GROUP) {
        double low = INFINITY, high = -INFINITY;
        for (int i = first; i < first + GROUP; i++) {
            double deviation = x[i] - mean[i % head_dim];
            low = fmin(low, deviation);
            high = fmax(high, deviation);
        }
        double scale = rounded((high - low) / levels), zero = rounded(low);
        for (int i = first; i < first + GROUP; i++) {
            double m = mean[i % head_dim], code = rint((x[i] - m - zero) / scale);
            code = fmin(fmax(code, 0), levels);
            row->value[i] = rounded(m + zero + code * scale);
            row->same[i] =
                0x1p-10 * fabs(row->value[i]) + 0x1p-24 + 0x1p-21 * (fabs(m) + fabs(zero) + levels * scale);
            row->other_way[i] = row->same[i] + 1.5 * scale;
        }
    }
    free(mean);
}

/* Heads that share much, with outlier channels; f16. */
static void random_row(uint16_t *row, int n_heads, int head_dim, double common)
{
    for (int d = 0; d < head_dim; d++) {
        double shared = common * (double)random_normal(), size = d % 17 == 3 ? 8 : 1;
        for (int h = 0; h < n_heads; h++) {
            row[h * head_dim + d] = half_round(size * (shared + (double)random_normal()));
        }
    }
}

/*
 * The library computes in binary32. Where each of its roundings to f16 and to codes goes the same way as in
 * double, sums of three terms are apart by less than 4 * 2^-24 of their size (2^-21 leaves room), so that the
 * final rounding to f16 can go to the neighbour: 2^-10 of the value. Where a value lies so near the middle of
 * two codes that it gets the other one, it is a step away. A scale that is rounded the other way moves its
 * group by 255 * 2^-10 of a step or less, a zero point by half of that: 1.5 steps with all of it. Rows of f16
 * lie on a grid of their own, on which ties are not too rare: it was up to one value in
 * fifty thousand. One in ten thousand may differ, and two groups whose scale or zero went the other way.
 */
static void formulas(void **state)
{
    (void)state;
    enum { TILES = 3 };
    static const struct {
        int n_heads, head_dim;
    } shapes[] = {{32, 128}, {8, 64}};
    static const int bits[] = {2, 4, 8};
    for (int i = 0; i < 2 * 3 * 2; i++) {
        int n_heads = shapes[i / 6].n_heads, head_dim = shapes[i / 6].head_dim, width = n_heads * head_dim;
        int b = bits[i / 2 % 3];
        size_t n = (size_t)width * TILE * TILES, differ = 0;
        uint16_t *rows = malloc(sizeof *rows * (size_t)width * TILE * (TILES + 1));
        uint16_t *out = malloc(sizeof *out * n);
        double *x = malloc(sizeof *x * (size_t)width * 4);
        paper_row row = {x + width, x + 2 * (size_t)width, x + 3 * (size_t)width};
        for (int t = 0; t < TILE * (TILES + 1); t++) {
            random_row(rows + (size_t)t * (size_t)width, n_heads, head_dim, t % 4);
        }
        char spec[80];
        snprintf(spec, sizeof spec, "tada:paper:bits=%d:window=0:sinks=0", b);
        if (!pass(spec, i % 2 ? TADA_V : TADA_K, n_heads, head_dim, TILES, rows, out)) {
            fail_msg("%s is not compressed for %d heads of %d", spec, n_heads, head_dim);
        }
        for (size_t at = 0; at < n; at += (size_t)width) {
            for (int d = 0; d < width; d++) {
                x[d] = half_value(rows[at + (size_t)d]);
            }
            evaluate(x, n_heads, head_dim, b, &row);
            for (int d = 0; d < width; d++) {
                double apart = fabs(half_value(out[at + (size_t)d]) - row.value[d]);
                differ += apart > row.same[d];
                if (apart > row.other_way[d]) {
                    fail_msg("%s, %d heads of %d: value %zu is %g, not %g", spec, n_heads, head_dim,
                             at + (size_t)d, half_value(out[at + (size_t)d]), row.value[d]);
                }
            }
        }
        if (differ > n / 10000 + 2 * GROUP) {
            fail_msg("%s, %d heads of %d: %zu of %zu values differ", spec, n_heads, head_dim, differ, n);
        }
        free(rows);
        free(out);
        free(x);
    }
}

/* ---- memory ---- */

/* 32 layers of 32 heads of 128, of which so many have 2, 4 and 8 bits: bytes over those of f16. */
static double memory_of(int n_2, int n_4)
{
    enum { LAYERS = 32, HEADS = 32, HEAD_DIM = 128, WIDTH = HEADS * HEAD_DIM, CELLS = 65536 };
    tada_plan *plan = tada_plan_create(LAYERS);
    tada_spec paper = spec_of("tada:paper");
    for (int i = 0; i < 2 * LAYERS; i++) {
        tada_plan_plane plane = {
            .width = WIDTH, .head_dim = HEAD_DIM, .recipe = paper.k, .window = paper.window};
        plane.recipe.bits = i / 2 < n_2 ? 2 : i / 2 < n_2 + n_4 ? 4 : 8;
        assert_int_equal(tada_plan_set_plane(plan, i / 2, (enum tada_kind)(i % 2), &plane, NULL), TADA_OK);
    }
    double bytes = 0;
    for (int i = 0; i < 2 * LAYERS; i++) {
        enum tada_kind kind = i % 2 ? TADA_V : TADA_K;
        tada_spec spec = tada_plan_spec(plan, i / 2, kind);
        tada_shape shape = {kind, WIDTH, CELLS, 1, HEAD_DIM};
        bytes += (double)tada_plane_bytes(&spec, &shape);
    }
    tada_plan_free(plan);
    return bytes / (2.0 * LAYERS * CELLS * WIDTH * 2);
}

/* Codes of 4 bits, 32 bits for 128 of them, a mean of 16 bits for 32: 29.69 %; the mix has 3.5625 bits on
 * average. */
static void memory(void **state)
{
    (void)state;
    double uniform = memory_of(0, 32), mix = memory_of(9, 22);
    printf("32 heads of 128, 65536 cells: 4 bits %.2f %%, 9 layers of 2, 22 of 4, 1 of 8 bits %.2f %%\n",
           100 * uniform, 100 * mix);
    assert_true(fabs(100 * uniform - 29.69) <= 0.5);
    assert_true(fabs(100 * mix - 27) <= 0.5);
}

/* Memory that was reserved for one head size is not enough for the means of a larger one. */
static void head_sizes(void **state)
{
    (void)state;
    enum { HEADS = 8, HEAD_DIM = 64, WIDTH = HEADS * HEAD_DIM, CELLS = 32 * TILE, COLD = CELLS - TILE };
    tada_spec spec = spec_of("tada:paper:window=0");
    tada_shape shape = {TADA_K, WIDTH, CELLS, 1, 0};
    size_t unknown = tada_plane_bytes(&spec, &shape), known[2];
    for (int i = 0; i < 2; i++) {
        shape.head_dim = i ? WIDTH : HEAD_DIM;
        known[i] = tada_plane_bytes(&spec, &shape);
    }
    /* A mean of half the row, of an eighth, and none. */
    assert_int_equal(unknown - known[0], COLD * (WIDTH / 2 - HEAD_DIM) * 2);
    assert_int_equal(known[0] - known[1], COLD * HEAD_DIM * 2);
    test_plane p = plane_with("tada:paper:window=0", TADA_K, HEADS, HEAD_DIM, CELLS);
    assert_int_equal(tada_plane_set_head_dim(p.plane, HEAD_DIM), TADA_OK);
    assert_int_equal(tada_plane_set_head_dim(p.plane, 2 * HEAD_DIM), TADA_E_UNSUPPORTED);
    assert_int_equal(tada_plane_set_head_dim(p.plane, WIDTH), TADA_OK);
    assert_int_equal(tada_plane_set_head_dim(p.plane, HEAD_DIM / 2), TADA_OK);
    plane_done(&p);
    p = plane_with("tada:paper:window=0", TADA_K, 1, WIDTH, CELLS);
    assert_int_equal(tada_plane_set_head_dim(p.plane, HEAD_DIM), TADA_E_UNSUPPORTED);
    assert_int_equal(tada_plane_set_head_dim(p.plane, WIDTH), TADA_OK);
    plane_done(&p);
}

/* ---- what a mean is worth ---- */

enum { NONE, HEADS, TOKENS, N_CENTRINGS };
static const int code_bits[] = {2, 3, 4, 5, 6, 8};
enum { N_BITS = sizeof code_bits / sizeof *code_bits };

typedef struct point {
    double memory, error; /* bytes over those of f16; mean square, the values' own variance being 1 */
} point;

/* common: of the heads of a token; constant: of a channel over all tokens; in deviations of the rest. */
typedef struct dataset {
    const char *name;
    int n_heads;
    double common, constant;
} dataset;

enum { HEAD_DIM = 64, N_TILES = 24 };

static uint16_t *rows_of(const dataset *data)
{
    int width = data->n_heads * HEAD_DIM;
    uint16_t *rows = malloc(sizeof *rows * (size_t)width * TILE * (N_TILES + 1));
    double *constant = malloc(sizeof *constant * (size_t)width);
    for (int i = 0; i < width; i++) {
        constant[i] = data->constant * (double)random_normal();
    }
    for (int t = 0; t < TILE * (N_TILES + 1); t++) {
        for (int d = 0; d < HEAD_DIM; d++) {
            double common = data->common * (double)random_normal();
            for (int i = d; i < width; i += HEAD_DIM) {
                rows[(size_t)t * (size_t)width + (size_t)i] =
                    half_round(common + constant[i] + (double)random_normal());
            }
        }
    }
    free(constant);
    return rows;
}

/* Memory of a tile more; the mean square error of what is read back. Not compressed: neither counts. */
static point measure(const char *text, int n_heads, const uint16_t *rows)
{
    int width = n_heads * HEAD_DIM;
    size_t n = (size_t)width * TILE * N_TILES;
    uint16_t *out = malloc(sizeof *out * n);
    point p = {INFINITY, INFINITY};
    if (pass(text, TADA_K, n_heads, HEAD_DIM, N_TILES, rows, out)) {
        tada_spec spec = spec_of(text);
        tada_shape shape = {TADA_K, width, 65536, 1, HEAD_DIM};
        double once = (double)tada_plane_bytes(&spec, &shape);
        shape.n_cells *= 2;
        p.memory = ((double)tada_plane_bytes(&spec, &shape) - once) / (65536.0 * 2 * width);
        p.error = 0;
        for (size_t i = 0; i < n; i++) {
            double d = half_value(out[i]) - half_value(rows[i]);
            p.error += d * d / (double)n;
        }
    }
    free(out);
    return p;
}

static void measure_all(const dataset *data, point points[N_CENTRINGS][N_BITS])
{
    static const char *const names[N_CENTRINGS] = {"none", "heads16", "tokens"};
    uint16_t *rows = rows_of(data);
    printf("%s\n  bits %15s %19s %19s\n", data->name, names[NONE], names[HEADS], names[TOKENS]);
    for (int b = 0; b < N_BITS; b++) {
        printf("%6d", code_bits[b]);
        for (int c = 0; c < N_CENTRINGS; c++) {
            char spec[120];
            snprintf(spec, sizeof spec, "tada:paper:bits=%d:centre=%s:window=0:sinks=0", code_bits[b],
                     names[c]);
            points[c][b] = measure(spec, data->n_heads, rows);
            if (isfinite(points[c][b].error)) {
                printf("  %6.2f %% %8.6f", 100 * points[c][b].memory, points[c][b].error);
            } else {
                printf("  %17s", "as large as f16");
            }
        }
        printf("\n");
    }
    free(rows);
}

/* Whether the second is no larger than the first and has less error. */
static bool beats(const point *first, const point *second)
{
    return second->memory <= first->memory && second->error < first->error;
}

/* Whether for each size of one centring, another one has something better; but for 8 bits, as there are no
 * wider codes that could take the memory of a mean. */
static bool always_beaten(const point *first, const point *second)
{
    for (int i = 0; i < N_BITS - 1; i++) {
        bool beaten = !isfinite(first[i].error);
        for (int j = 0; j < N_BITS; j++) {
            beaten = beaten || beats(&first[i], &second[j]);
        }
        if (!beaten) {
            return false;
        }
    }
    return true;
}

static void centring(void **state)
{
    (void)state;
    enum { THREE = 1, FOUR = 2 };
    static const dataset sets[] = {{"32 heads of 64, much in common", 32, 3, 0},
                                   {"2 heads of 64, independent", 2, 0, 0},
                                   {"3 heads of 64, independent", 3, 0, 0},
                                   {"2 heads of 64, channels with an offset of their own", 2, 0, 3}};
    for (int i = 0; i < 4; i++) {
        point points[N_CENTRINGS][N_BITS];
        measure_all(&sets[i], points);
        if (i == 0) {
            assert_true(beats(&points[NONE][FOUR], &points[HEADS][THREE]));
        } else {
            assert_true(always_beaten(points[HEADS], points[NONE]));
        }
        if (i == 3) {
            assert_true(beats(&points[NONE][FOUR], &points[TOKENS][THREE]));
        }
    }
}

TEST_MAIN(cmocka_unit_test(formulas), cmocka_unit_test(memory), cmocka_unit_test(head_sizes),
          cmocka_unit_test(centring))
