/* Shifts of positions: what RoPE rotates, and what keeps its codes. */
#include "rope_case.h"

enum { DIM = 64, HEADS = 2, WIDTH = DIM * HEADS, CELLS = 600, STREAMS = 2, TOTAL = CELLS * STREAMS };

static const char *const specs[] = {"tada:4:window=64",
                                    "tada",
                                    "tada:high:window=0:sinks=5",
                                    "tada:paper:window=64",
                                    "tada:4:rotate=hadamard:window=128:window_bits=8",
                                    "tada:5/4:k.axis=token:sinks=0:window=0"};
enum { N_SPECS = sizeof specs / sizeof *specs };

static uint16_t *rows_of(const tada_plane *p, int width)
{
    uint16_t *rows = malloc((size_t)TOTAL * (size_t)width * 2);
    assert_int_equal(tada_plane_read(p, 0, TOTAL, rows, threads_of(2), NULL), TADA_OK);
    return rows;
}

/* Cells [0, CELLS - 100) of stream 0, and some of stream 1, with holes. */
static test_plane written(const char *spec, enum tada_kind kind, int width, int dim, tada_pool *pool)
{
    float *rows = malloc(sizeof *rows * (size_t)(CELLS * width));
    test_plane p = plane_of(spec, kind, width, CELLS, STREAMS, dim);
    fill(rows, CELLS, width, 0);
    write_rows(p.plane, pool, rows, TADA_F32, width, 0, CELLS - 100, 32);
    write_rows(p.plane, pool, rows + (size_t)(40 * width), TADA_F32, width, CELLS + 40, 430, 32);
    free(rows);
    return p;
}

static void shift_all(tada_plane *p, const tada_rope *rope, int32_t distance)
{
    int32_t deltas[TOTAL];
    for (int i = 0; i < TOTAL; i++) {
        deltas[i] = distance;
    }
    assert_int_equal(tada_plane_shift(p, rope, deltas, threads_of(2), NULL), TADA_OK);
}

/* The largest error of `got` against `from` with RoPE applied, in the size of a row; `roundings` of f16 are
 * allowed. */
static void compare_shifted(const tada_rope *rope, const uint16_t *from, const int32_t *deltas,
                            const uint16_t *got, int width, int roundings)
{
    double row[1200];
    for (int64_t i = 0; i < TOTAL; i++) {
        double most = 0;
        for (int d = 0; d < width; d++) {
            row[d] = half_value(from[i * width + d]);
            most = fmax(most, fabs(row[d]));
        }
        bool written_row = most > 0;
        /* Of a pair. */
        most *= sqrt(2);
        if (written_row && (deltas[i] != 0 || fabs(stretch_of(rope) - 1) > 1e-4)) {
            rope_row(rope, deltas[i], row);
        }
        for (int d = 0; d < width; d++) {
            double error = fabs(half_value(got[i * width + d]) - row[d]);
            if (!(error <= most * (roundings * 0x1p-11 + 2e-4))) {
                fail_msg("cell %d, value %d: %g instead of %g", (int)i, d, half_value(got[i * width + d]),
                         row[d]);
            }
        }
    }
}

/* Rows in f16, by ropes of every kind and any distances. */
static void test_ropes(void **state)
{
    (void)state;
    tada_pool *pool = tada_pool_create();
    float factors[32];
    for (int i = 0; i < 32; i++) {
        factors[i] = 1 + (float)random_below(100) * 0.05f;
    }
    for (int turn = 0; turn < 40; turn++) {
        int n_dims = 2 * (1 + random_below(32)), offset = random_below(DIM - n_dims + 1);
        tada_rope rope = rope_of(DIM, HEADS, offset, n_dims);
        int32_t deltas[TOTAL];
        rope.factors = turn % 3 == 1 ? factors : NULL;
        rope.freq_scale = turn % 5 == 1 ? 0.5f : 1;
        if (turn % 4 == 2) {
            add_yarn(&rope);
        }
        if (turn % 8 == 7) {
            rope.attn_factor = 1.25f;
        }
        for (int i = 0; i < TOTAL; i++) {
            deltas[i] = random_below(3) ? random_below(1000) - 500 : 0;
        }
        test_plane p = written("tada:16", random_below(2) ? TADA_K : TADA_V, WIDTH, DIM, pool);
        uint16_t *before = rows_of(p.plane, WIDTH);
        assert_int_equal(tada_plane_shift(p.plane, &rope, deltas, threads_of(1 + turn % 3), NULL), TADA_OK);
        uint16_t *after = rows_of(p.plane, WIDTH);
        compare_shifted(&rope, before, deltas, after, WIDTH, 1);
        free(before);
        free(after);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

/* What is not in codes: sinks, and tiles that were written last. */
static bool is_exact(const tada_spec *spec, int64_t cell)
{
    int64_t at = cell % CELLS, end = cell < CELLS ? CELLS - 100 : 470;
    int64_t hot = spec->window_bits == 8 ? 0 : spec->window / 64;
    return at < spec->sinks || at / 64 >= (end - 1) / 64 - hot;
}

/* Fifty shifts, and all the way back: codes are what they were. */
static void test_there_and_back(void **state)
{
    (void)state;
    for (int s = 0; s < N_SPECS; s++) {
        tada_pool *pool = tada_pool_create();
        tada_spec spec = spec_of(specs[s]);
        test_plane p = written(specs[s], TADA_K, WIDTH, DIM, pool);
        tada_rope rope = rope_of(DIM, HEADS, s % 2 ? 16 : 0, s % 2 ? 32 : DIM);
        int32_t sum = 0, deltas[TOTAL];
        if (s % 3 == 2) {
            add_yarn(&rope);
        }
        uint16_t *before = rows_of(p.plane, WIDTH);
        tada_plane_stats then = stats_of(p.plane);
        for (int i = 0; i < 50; i++) {
            int32_t distance = random_below(40) - 25;
            shift_all(p.plane, &rope, distance);
            sum += distance;
        }
        for (int i = 0; i < TOTAL; i++) {
            deltas[i] = sum;
        }
        uint16_t *there = rows_of(p.plane, WIDTH);
        /* Of exact rows each shift is one. */
        compare_shifted(&rope, before, deltas, there, WIDTH, 20);
        shift_all(p.plane, &rope, -sum);
        uint16_t *back = rows_of(p.plane, WIDTH);
        tada_plane_stats now = stats_of(p.plane);
        for (int64_t i = 0; i < TOTAL; i++) {
            if (!is_exact(&spec, i) && memcmp(back + i * WIDTH, before + i * WIDTH, WIDTH * 2) != 0) {
                fail_msg("%s: cell %d has other codes", specs[s], (int)i);
            }
        }
        assert_int_equal(now.compressions, then.compressions);
        assert_int_equal(now.cold, then.cold);
        assert_int_equal(now.hot, then.hot);
        assert_int_equal(now.bytes, then.bytes);
        free(before);
        free(there);
        free(back);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* ---- attention ---- */

enum { QUERIES_MOST = 40 };

/* Relative to the size of b. */
static double distance_of(const float *a, const float *b, size_t n)
{
    double error = 0, energy = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        energy += (double)b[i] * (double)b[i];
    }
    return sqrt(error / energy);
}

/*
 * A plane that was shifted, against its twin that was not, for queries that are rotated back: over all cells
 * after one shift, over those in codes after fifty, as each of these rounds what is exact.
 */
static void check_attention(const char *spec, int dim, int heads, int v_dim, const tada_rope *rope,
                            int queries, bool often)
{
    enum { GROUP = 3, FIRST_CODED = 64, CODED = 256 };
    tada_pool *pool = tada_pool_create();
    int width = dim * heads, n_heads = heads * GROUP;
    uint64_t seed = random_state;
    test_plane k = written(spec, TADA_K, width, dim, pool);
    random_state = seed;
    test_plane twin = written(spec, TADA_K, width, dim, pool);
    test_plane v = written(spec, TADA_V, v_dim * heads, v_dim, pool);
    int32_t sum = 0;
    for (int i = 0; i < (often ? 50 : 1); i++) {
        int32_t distance = random_below(20) - 18;
        shift_all(k.plane, rope, distance);
        sum += distance;
    }
    size_t n_q = (size_t)(queries * n_heads * dim), n_out = (size_t)(queries * n_heads * v_dim);
    float *q = malloc(n_q * sizeof *q), *q_back = malloc(n_q * sizeof *q);
    float *out = malloc(n_out * sizeof *out), *want = malloc(n_out * sizeof *want);
    tada_rope one = *rope;
    one.column = rope->column % dim;
    one.n_heads = 1;
    for (size_t i = 0; i < n_q; i += (size_t)dim) {
        int head = (int)(i / (size_t)dim) % n_heads / GROUP - rope->column / dim;
        double row[1200];
        for (int d = 0; d < dim; d++) {
            row[d] = (double)(q[i + (size_t)d] = random_normal());
        }
        if (head >= 0 && head < rope->n_heads) {
            rope_row(&one, -sum, row);
        }
        for (int d = 0; d < dim; d++) {
            q_back[i + (size_t)d] = (float)row[d];
        }
    }
    tada_attention a = attention_of(k.plane, v.plane, dim, n_heads, heads, CELLS, queries, q, out);
    if (often) {
        a.first_cell = FIRST_CODED;
        a.n_cells = CODED;
    }
    a.v_dim = v_dim;
    a.out_head = (size_t)v_dim * 4;
    a.out_query = (size_t)(v_dim * n_heads) * 4;
    a.scale = 1 / sqrtf((float)dim);
    for (int threads = 1; threads <= 2; threads++) {
        a.k = k.plane;
        a.v = v_dim == dim ? v.plane : twin.plane;
        a.q = q;
        a.out = out;
        assert_int_equal(tada_attention_run(&a, pool, threads_of(threads), NULL), TADA_OK);
        a.k = twin.plane;
        a.q = q_back;
        a.out = want;
        assert_int_equal(tada_attention_run(&a, pool, threads_of(threads), NULL), TADA_OK);
        double error = distance_of(out, want, n_out);
        if (!(error < 2e-3)) {
            fail_msg("%s, heads of %d, %d queries, %s: error %g", spec, dim, queries, tada_kernels_name(),
                     error);
        }
    }
    free(q);
    free(q_back);
    free(out);
    free(want);
    plane_done(&k);
    plane_done(&twin);
    plane_done(&v);
    tada_pool_free(pool);
}

static void test_attention(void **state)
{
    (void)state;
    for (int t = 0; t < N_TIERS; t++) {
        if (tada_kernels_select(tiers[t]) != TADA_OK) {
            continue;
        }
        for (int s = 0; s < N_SPECS; s++) {
            for (int queries = 1; queries <= QUERIES_MOST; queries = queries * 3 + 4) {
                tada_rope rope = rope_of(DIM, HEADS, 0, DIM);
                check_attention(specs[s], DIM, HEADS, DIM, &rope, queries, false);
                check_attention(specs[s], DIM, HEADS, DIM, &rope, queries, true);
            }
        }
    }
    /* Heads that RoPE rotates in part, or not at all. */
    tada_rope part = rope_of(DIM, HEADS, 8, 32), part_of_one = rope_of(DIM, 1, 32, 32),
              second = rope_of(DIM, 1, DIM, DIM);
    check_attention("tada", DIM, HEADS, DIM, &part, 2, true);
    check_attention("tada", DIM, 1, DIM, &part_of_one, 20, true);
    check_attention("tada", DIM, 3, DIM, &second, 3, true);
}

/* One KV head, whose values are a part of it: rows end in what RoPE rotates. */
static void test_latent(void **state)
{
    (void)state;
    tada_rope rope = rope_of(192, 1, 128, 64);
    assert_int_equal(tada_kernels_select(tiers[0]), TADA_OK);
    for (int t = 0; t < N_TIERS; t++) {
        if (tada_kernels_select(tiers[t]) == TADA_OK) {
            check_attention("tada:4", 192, 1, 128, &rope, 1, false);
            check_attention("tada:6:rotate=hadamard:window=0", 192, 1, 128, &rope, 20, true);
        }
    }
}

/* ---- tiles that cannot remember, and what else happens to those that do ---- */

/* Only tiles whose written cells differ are encoded again; sinks and unwritten cells do not count. */
static void test_mixed(void **state)
{
    (void)state;
    tada_pool *pool = tada_pool_create();
    test_plane p = written("tada:8:window=0:sinks=4", TADA_K, WIDTH, DIM, pool);
    tada_rope rope = rope_of(DIM, HEADS, 0, DIM);
    int32_t deltas[TOTAL] = {0};
    /* Sinks alone, and a cell that was never written (in a tile of which others were). */
    deltas[1] = 9;
    deltas[CELLS + 30] = 7;
    uint16_t *before = rows_of(p.plane, WIDTH);
    tada_plane_stats then = stats_of(p.plane);
    assert_int_equal(tada_plane_shift(p.plane, &rope, deltas, threads_of(2), NULL), TADA_OK);
    uint16_t *after = rows_of(p.plane, WIDTH);
    compare_shifted(&rope, before, deltas, after, WIDTH, 1);
    for (int64_t i = 0; i < TOTAL; i++) {
        assert_true(i == 1 || memcmp(before + i * WIDTH, after + i * WIDTH, WIDTH * 2) == 0);
    }
    assert_int_equal(stats_of(p.plane).compressions, then.compressions);
    /* Tile 1 moves as one, tile 2 does not, and becomes two layers; then both move. */
    for (int turn = 0; turn < 2; turn++) {
        free(before);
        before = after;
        for (int i = 0; i < TOTAL; i++) {
            deltas[i] = i < 64 ? 0 : i < 150 ? -20 : i < 192 ? (turn ? -20 : 0) : 5;
        }
        then = stats_of(p.plane);
        assert_int_equal(tada_plane_shift(p.plane, &rope, deltas, threads_of(2), NULL), TADA_OK);
        assert_int_equal(stats_of(p.plane).compressions, then.compressions);
        assert_int_equal(stats_of(p.plane).layered, 1);
        after = rows_of(p.plane, WIDTH);
        compare_shifted(&rope, before, deltas, after, WIDTH, 2);
    }
    free(before);
    free(after);
    plane_done(&p);
    tada_pool_free(pool);
}

/* Refined tiles part where there are slots for codes and refinement; tiles that are not refined give up the
 * refinement of another one for that, but not the last; else they are encoded again. */
static void test_parted(void **state)
{
    (void)state;
    enum { FREE = 3, HALF = 5, FULL = 9 };
    static float x[CELLS * WIDTH];
    tada_pool *pool = tada_pool_create();
    for (int tiles = FREE; tiles <= FULL; tiles++) {
        test_plane p = plane_of("tada:4/4:window=64:sinks=0", TADA_K, WIDTH, CELLS, STREAMS, DIM);
        tada_rope rope = rope_of(DIM, HEADS, 0, DIM);
        fill(x, CELLS, WIDTH, 0);
        write_rows(p.plane, pool, x, TADA_F32, WIDTH, 0, tiles * 64 + 1, 64);
        tada_plane_stats then = stats_of(p.plane), now;
        /* Of 10 tiles there are 10 slots. */
        assert_int_equal(then.refined, tiles <= HALF ? tiles : 10 - tiles);
        int32_t deltas[TOTAL] = {0};
        for (int i = 0; i < 2 * 64; i++) {
            deltas[i] = i % 64 < 30 ? 5 : -100;
        }
        uint16_t *before = rows_of(p.plane, WIDTH);
        assert_int_equal(tada_plane_shift(p.plane, &rope, deltas, threads_of(2), NULL), TADA_OK);
        uint16_t *after = rows_of(p.plane, WIDTH);
        now = stats_of(p.plane);
        /* Tiles 0 and 1 are refined up to half full. */
        int spare = tiles <= HALF ? 5 - tiles : (int)then.refined - 1, parted = spare < 2 ? spare : 2;
        assert_int_equal(now.layered, parted);
        assert_int_equal(now.refined, then.refined - (tiles <= HALF ? 0 : parted));
        assert_int_equal(now.compressions, then.compressions + 2 - parted);
        /* Others may have given up their refinement. */
        memcpy(before + 2 * 64 * WIDTH, after + 2 * 64 * WIDTH, (TOTAL - 2 * 64) * WIDTH * 2);
        compare_shifted(&rope, before, deltas, after, WIDTH, parted == 2 ? 2 : 400);
        /* And more is written. */
        write_rows(p.plane, pool, x, TADA_F32, WIDTH, tiles * 64, CELLS - tiles * 64, 64);
        assert_int_equal(stats_of(p.plane).written, CELLS);
        free(before);
        free(after);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

/* A tile that is open while it is shifted, and copied, finds its codes again. */
static void test_open(void **state)
{
    (void)state;
    tada_pool *pool = tada_pool_create();
    for (int i = 0; i < N_SPECS; i++) {
        if (strcmp(specs[i], "tada:paper") == 0) {
            continue;
        }
        test_plane p[2];
        tada_rope rope = rope_of(DIM, HEADS, 0, DIM);
        uint64_t random = random_state;
        int64_t compressions = 0;
        for (int open = 0; open < 2; open++) {
            random_state = random;
            p[open] = written(specs[i], TADA_K, WIDTH, DIM, pool);
            shift_all(p[open].plane, &rope, 17);
            uint16_t *was = rows_of(p[open].plane, WIDTH);
            const int64_t cell = 70, last = CELLS - 101;
            if (open) {
                assert_int_equal(tada_plane_write(p[open].plane, pool, was + cell * WIDTH, TADA_F16,
                                                  WIDTH * 2, &cell, 1, NULL),
                                 TADA_OK);
            }
            shift_all(p[open].plane, &rope, -40);
            compressions = stats_of(p[open].plane).compressions;
            assert_int_equal(tada_plane_copy_stream(p[open].plane, pool, 0, 1, threads_of(2), NULL), TADA_OK);
            /* The tile is left, in the copy as well. */
            for (int64_t s = 0; s < STREAMS; s++) {
                for (int64_t tile = 2; tile < last / 64 + 1; tile++) {
                    write_rows(p[open].plane, pool, was + tile * 64 * WIDTH, TADA_F16, WIDTH,
                               s * CELLS + tile * 64, 1, 1);
                }
            }
            free(was);
        }
        uint16_t *rows[2] = {rows_of(p[0].plane, WIDTH), rows_of(p[1].plane, WIDTH)};
        for (int64_t s = 0; s < STREAMS; s++) {
            assert_memory_equal(rows[0] + (s * CELLS + 64) * WIDTH, rows[1] + (s * CELLS + 64) * WIDTH,
                                64 * WIDTH * 2);
        }
        assert_true(compressions > 0);
        for (int open = 0; open < 2; open++) {
            free(rows[open]);
            plane_done(&p[open]);
        }
    }
    tada_pool_free(pool);
}

/* A row that is written into a tile, another one into a copy, and a shift of both back. */
static void test_written_and_copied(void **state)
{
    (void)state;
    tada_pool *pool = tada_pool_create();
    test_plane p = written("tada:4:window=0:sinks=3", TADA_K, WIDTH, DIM, pool);
    tada_rope rope = rope_of(DIM, HEADS, 0, 32);
    uint16_t *before = rows_of(p.plane, WIDTH);
    shift_all(p.plane, &rope, -37);
    uint16_t *shifted = rows_of(p.plane, WIDTH);
    assert_int_equal(tada_plane_copy_stream(p.plane, pool, 0, 1, threads_of(2), NULL), TADA_OK);
    uint16_t *copied = rows_of(p.plane, WIDTH);
    assert_memory_equal(copied, shifted, (size_t)CELLS * WIDTH * 2);
    assert_memory_equal(copied + CELLS * WIDTH, shifted, (size_t)CELLS * WIDTH * 2);
    /* Others of the tile stay what they read as. */
    float row[WIDTH];
    fill(row, 1, WIDTH, 0);
    int64_t cell = 70;
    assert_int_equal(tada_plane_write(p.plane, pool, row, TADA_F32, sizeof row, &cell, 1, NULL), TADA_OK);
    uint16_t *opened = rows_of(p.plane, WIDTH);
    for (int64_t i = 0; i < TOTAL; i++) {
        assert_true(i == cell || memcmp(opened + i * WIDTH, copied + i * WIDTH, WIDTH * 2) == 0);
    }
    shift_all(p.plane, &rope, 37);
    uint16_t *back = rows_of(p.plane, WIDTH);
    for (int64_t i = 0; i < CELLS - 100; i++) {
        bool same = memcmp(back + (CELLS + i) * WIDTH, before + i * WIDTH, WIDTH * 2) == 0;
        bool hot = i / 64 == (CELLS - 101) / 64;
        assert_true(same || i < 3 || hot);
        same = memcmp(back + i * WIDTH, before + i * WIDTH, WIDTH * 2) == 0;
        assert_true(same || i < 3 || hot || i / 64 == 1);
    }
    /* Once it has been emptied, nothing is left of shifts. */
    shift_all(p.plane, &rope, 11);
    tada_plane_clear(p.plane);
    float *rows = malloc(sizeof *rows * CELLS * WIDTH);
    fill(rows, CELLS, WIDTH, 0);
    test_plane fresh = plane_of("tada:4:window=0:sinks=3", TADA_K, WIDTH, CELLS, STREAMS, DIM);
    write_rows(p.plane, pool, rows, TADA_F32, WIDTH, 0, CELLS, 50);
    write_rows(fresh.plane, pool, rows, TADA_F32, WIDTH, 0, CELLS, 50);
    uint16_t *again = rows_of(p.plane, WIDTH), *want = rows_of(fresh.plane, WIDTH);
    assert_memory_equal(again, want, (size_t)TOTAL * WIDTH * 2);
    free(before);
    free(shifted);
    free(copied);
    free(opened);
    free(back);
    free(again);
    free(want);
    free(rows);
    plane_done(&p);
    plane_done(&fresh);
    tada_pool_free(pool);
}

/* By another rope than the first one, by one that stretches, by one that does not fit heads, and of V: tiles
 * are encoded again. */
static void test_not_remembered(void **state)
{
    (void)state;
    for (int what = 0; what < 4; what++) {
        tada_pool *pool = tada_pool_create();
        test_plane p = written("tada:8:window=0", what == 3 ? TADA_V : TADA_K, WIDTH, DIM, pool);
        tada_rope rope = rope_of(DIM, HEADS, 0, DIM), other = rope;
        shift_all(p.plane, &rope, 3);
        other.freq_base = what == 0 ? 123456 : rope.freq_base;
        other.attn_factor = what == 1 ? 1.1f : 1;
        if (what == 2) {
            other.head_stride = other.n_dims = DIM / 2;
            other.n_heads = 2 * HEADS;
        }
        uint16_t *before = rows_of(p.plane, WIDTH);
        tada_plane_stats then = stats_of(p.plane);
        int32_t deltas[TOTAL];
        for (int i = 0; i < TOTAL; i++) {
            deltas[i] = -12;
        }
        shift_all(p.plane, &other, -12);
        uint16_t *after = rows_of(p.plane, WIDTH);
        assert_int_equal(stats_of(p.plane).compressions, then.compressions + then.cold);
        compare_shifted(&other, before, deltas, after, WIDTH, 64);
        /* The first one goes on. */
        then = stats_of(p.plane);
        shift_all(p.plane, &rope, 5);
        assert_int_equal(stats_of(p.plane).compressions, then.compressions + (what == 3 ? then.cold : 0));
        free(before);
        free(after);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* When no tile remembers the first rope any more, another one is remembered. */
static void test_forgotten(void **state)
{
    (void)state;
    tada_pool *pool = tada_pool_create();
    for (int clears = 0; clears < 2; clears++) {
        test_plane p = written("tada:4:window=0", TADA_K, WIDTH, DIM, pool);
        tada_rope rope = rope_of(DIM, HEADS, 0, DIM), other = rope;
        other.freq_base = 123456;
        shift_all(p.plane, &rope, 3);
        if (clears) {
            float *rows = malloc(sizeof *rows * CELLS * WIDTH);
            tada_plane_clear(p.plane);
            fill(rows, CELLS, WIDTH, 0);
            write_rows(p.plane, pool, rows, TADA_F32, WIDTH, 0, 300, 50);
            free(rows);
        } else {
            shift_all(p.plane, &rope, -3);
        }
        int64_t compressions = stats_of(p.plane).compressions;
        shift_all(p.plane, &other, -12);
        assert_int_equal(stats_of(p.plane).compressions, compressions);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

/* What RoPE rotates beyond f16 is infinite where it is exact, and finite where it comes from codes. */
static void test_large(void **state)
{
    (void)state;
    tada_pool *pool = tada_pool_create();
    test_plane p = plane_of("tada:4:window=0:sinks=2", TADA_K, WIDTH, CELLS, STREAMS, DIM);
    float *rows = malloc(sizeof *rows * CELLS * WIDTH);
    for (int i = 0; i < CELLS * WIDTH; i++) {
        rows[i] = 60000;
    }
    write_rows(p.plane, pool, rows, TADA_F32, WIDTH, 0, 300, 50);
    tada_rope rope = rope_of(DIM, HEADS, 0, DIM);
    shift_all(p.plane, &rope, 1);
    uint16_t *after = rows_of(p.plane, WIDTH);
    int infinite[2] = {0};
    for (int64_t i = 0; i < 300 * WIDTH; i++) {
        infinite[i / WIDTH < 2 || i / WIDTH >= 256] += (after[i] & 0x7fff) >= 0x7c00;
    }
    assert_true(infinite[0] == 0 && infinite[1] > 0);
    assert_true(stats_of(p.plane).nonfinite == 2 + 44);
    free(after);
    free(rows);
    plane_done(&p);
    tada_pool_free(pool);
}

static void test_refusals(void **state)
{
    (void)state;
    tada_pool *pool = tada_pool_create();
    test_plane p = written("tada", TADA_K, WIDTH, DIM, pool);
    uint16_t *before = rows_of(p.plane, WIDTH);
    const tada_rope good = rope_of(DIM, HEADS, 0, DIM);
    int32_t deltas[TOTAL];
    for (int i = 0; i < TOTAL; i++) {
        deltas[i] = 1;
    }
    for (int i = 0; i < 8; i++) {
        tada_rope bad = good;
        tada_error error = {""};
        bad.n_dims = i == 0 ? 0 : i == 1 ? 63 : i == 2 ? TADA_ROPE_DIMS + 2 : bad.n_dims;
        bad.column = i == 3 ? -1 : i == 4 ? 1 : 0;
        bad.n_heads = i == 5 ? 0 : HEADS;
        bad.head_stride = i == 6 ? DIM - 2 : DIM;
        bad.pairs = i == 7 ? (enum tada_rope_pairs)9 : good.pairs;
        assert_int_equal(tada_plane_shift(p.plane, &bad, deltas, NULL, &error), TADA_E_ARGUMENT);
        assert_true(strlen(error.text) > 10);
    }
    uint16_t *after = rows_of(p.plane, WIDTH);
    assert_memory_equal(before, after, (size_t)TOTAL * WIDTH * 2);
    free(before);
    free(after);
    plane_done(&p);
    tada_pool_free(pool);
}

TEST_MAIN(cmocka_unit_test(test_ropes), cmocka_unit_test(test_there_and_back),
          cmocka_unit_test(test_attention), cmocka_unit_test(test_latent), cmocka_unit_test(test_mixed),
          cmocka_unit_test(test_written_and_copied), cmocka_unit_test(test_not_remembered),
          cmocka_unit_test(test_large), cmocka_unit_test(test_refusals), cmocka_unit_test(test_parted),
          cmocka_unit_test(test_open), cmocka_unit_test(test_forgotten))
