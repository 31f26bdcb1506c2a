/* Marked sinks: cells in the middle of a stream that stay exact, because a sequence begins there. */
#include "support.h"

enum { WIDTH = 64, CELLS = 4000, STREAMS = 2, TILE = TADA_TILE_CELLS, DIM = 32, BASE = 5 * TILE };

static const char *const specs[] = {
    "tada:window=0", "tada:3/2:window=0:k.widths=equal", "tada:4:k.rotate=hadamard:window=0:sinks=1",
    "tada:4:centre=heads8:window=0:axis=token:k.widths=equal", "tada:5/4:window=0:sinks=64"};
enum { N_SPECS = sizeof specs / sizeof specs[0] };

static test_plane make(int spec, enum tada_kind kind)
{
    return plane_of(specs[spec], kind, WIDTH, CELLS, STREAMS, DIM);
}

static void random_rows(uint16_t *rows, int64_t n, uint64_t loud)
{
    for (int64_t i = 0; i < n * WIDTH; i++) {
        rows[i] = half_round((loud >> i / WIDTH % 64 & 1 ? 500.0 : 1.0) * (double)random_normal());
    }
}

static void write_cells(tada_plane *plane, tada_pool *pool, const uint16_t *rows, int64_t first, int64_t n)
{
    int64_t *cells = malloc((size_t)n * sizeof *cells);
    for (int64_t i = 0; i < n; i++) {
        cells[i] = first + i;
    }
    assert_int_equal(tada_plane_write(plane, pool, rows, TADA_F16, WIDTH * 2, cells, n, NULL), TADA_OK);
    free(cells);
}

/* The hot tiles go to others. */
static void make_cold(tada_plane *plane, tada_pool *pool)
{
    uint16_t row[WIDTH];
    for (int d = 0; d < WIDTH; d++) {
        row[d] = half_round(1.0 + d);
    }
    for (int64_t s = 0; s < STREAMS; s++) {
        write_cells(plane, pool, row, s * CELLS + CELLS - 1, 1);
    }
    assert_int_equal(tada_plane_settle(plane, threads_of(2), NULL), TADA_OK);
}

static void mark(tada_plane *plane, int64_t base, uint64_t which)
{
    for (int t = 0; t < TILE; t++) {
        int64_t cell = base + t;
        if (which >> t & 1) {
            tada_plane_mark_sinks(plane, &cell, 1);
        }
    }
}

static void read_tile(const tada_plane *plane, int64_t base, uint16_t *rows)
{
    assert_int_equal(tada_plane_read(plane, base, TILE, rows, threads_of(1), NULL), TADA_OK);
}

static bool same_row(const uint16_t *a, const uint16_t *b, int t)
{
    return memcmp(a + t * WIDTH, b + t * WIDTH, WIDTH * sizeof *a) == 0;
}

/* Marked cells come back as they were, and the others as if those had never been. */
static void stay_apart(void **state)
{
    (void)state;
    static uint16_t rows[TILE * WIDTH], without[TILE * WIDTH], got[2][TILE * WIDTH];
    for (int i = 0; i < N_SPECS * 2 * 8; i++) {
        uint64_t which = random_bits() & random_bits();
        int64_t base = random_below(2) ? BASE : CELLS; /* a middle tile, or the first one of a stream */
        random_rows(rows, TILE, which);
        memcpy(without, rows, sizeof rows);
        for (int t = 0; t < TILE; t++) {
            if (which >> t & 1) {
                memset(without + t * WIDTH, 0, WIDTH * sizeof *rows);
            }
        }
        for (int pass = 0; pass < 2; pass++) {
            test_plane p = make(i / 2 % N_SPECS, i % 2 ? TADA_V : TADA_K);
            tada_pool *pool = tada_pool_create();
            write_cells(p.plane, pool, pass ? without : rows, base, TILE);
            mark(p.plane, base, which);
            make_cold(p.plane, pool);
            read_tile(p.plane, base, got[pass]);
            /* Opened for another cell, they stay sinks. */
            int other = __builtin_ctzll(~which | (uint64_t)1 << 63);
            write_cells(p.plane, pool, got[pass] + other * WIDTH, base + other, 1);
            make_cold(p.plane, pool);
            static uint16_t again[TILE * WIDTH];
            read_tile(p.plane, base, again);
            for (int t = 0; t < TILE; t++) {
                assert_true(!(which >> t & 1) || same_row(got[pass], again, t));
            }
            plane_done(&p);
            tada_pool_free(pool);
        }
        for (int t = 0; t < TILE; t++) {
            if (!same_row(got[0], which >> t & 1 ? rows : got[1], t)) {
                fail_msg("%s, kind %d, cell %d of %llx", specs[i / 2 % N_SPECS], i % 2, t,
                         (unsigned long long)which);
            }
        }
    }
}

/* A cell that gets another row is no sink any more; unwritten, cold and foreign ones never become one. */
static void come_and_go(void **state)
{
    (void)state;
    static uint16_t rows[TILE * WIDTH], got[TILE * WIDTH];
    test_plane p = make(0, TADA_K);
    tada_pool *pool = tada_pool_create();
    tada_plane_stats before, after;
    tada_plane_get_stats(p.plane, &before);
    random_rows(rows, TILE, 0);
    write_cells(p.plane, pool, rows, BASE, TILE);
    mark(p.plane, BASE, 0xff);
    write_cells(p.plane, pool, rows, BASE, 4);
    make_cold(p.plane, pool);
    read_tile(p.plane, BASE, got);
    for (int t = 0; t < 16; t++) {
        assert_int_equal(same_row(rows, got, t), t >= 4 && t < 8);
    }
    tada_plane_get_stats(p.plane, &after);
    assert_true(after.bytes > before.bytes);
    /* Too late. */
    mark(p.plane, BASE, 0xff00);
    assert_int_equal(tada_plane_read(p.plane, BASE, TILE, rows, threads_of(1), NULL), TADA_OK);
    assert_memory_equal(rows, got, sizeof got);
    const int64_t wrong[] = {-1, STREAMS * CELLS, INT64_MAX, INT64_MIN, BASE + 20 * TILE};
    tada_plane_mark_sinks(p.plane, wrong, 5);
    tada_plane_clear(p.plane);
    tada_plane_get_stats(p.plane, &after);
    assert_int_equal(after.bytes, before.bytes);
    plane_done(&p);

    /* No more than a 64th of the cells. */
    p = make(0, TADA_V);
    tada_plane_get_stats(p.plane, &after);
    size_t bytes = after.bytes;
    for (int64_t tile = 0; tile < 40; tile++) {
        random_rows(rows, TILE, 0);
        write_cells(p.plane, pool, rows, tile * TILE, TILE);
        mark(p.plane, tile * TILE, UINT64_MAX);
        assert_int_equal(tada_plane_settle(p.plane, threads_of(1), NULL), TADA_OK);
    }
    tada_plane_get_stats(p.plane, &after);
    assert_int_equal(after.bytes - bytes, CELLS * STREAMS / 64 * WIDTH * 2);
    read_tile(p.plane, 20 * TILE, got);
    plane_done(&p);

    p = plane_of("tada:window=0:sinks=0", TADA_K, WIDTH, CELLS, STREAMS, DIM);
    random_rows(rows, TILE, 0);
    write_cells(p.plane, pool, rows, BASE, TILE);
    mark(p.plane, BASE, 0xff);
    make_cold(p.plane, pool);
    read_tile(p.plane, BASE, got);
    assert_false(same_row(rows, got, 0));
    plane_done(&p);
    tada_pool_free(pool);
}

static void streams(void **state)
{
    (void)state;
    static uint16_t rows[TILE * WIDTH], from[TILE * WIDTH], to[TILE * WIDTH];
    for (int hot = 0; hot < 2; hot++) {
        test_plane p = make(0, TADA_V);
        tada_pool *pool = tada_pool_create();
        random_rows(rows, TILE, 0xf0);
        write_cells(p.plane, pool, rows, BASE, TILE);
        mark(p.plane, BASE, 0xf0);
        if (!hot) {
            make_cold(p.plane, pool);
        }
        assert_int_equal(tada_plane_copy_stream(p.plane, pool, 0, 1, threads_of(2), NULL), TADA_OK);
        make_cold(p.plane, pool);
        read_tile(p.plane, BASE, from);
        read_tile(p.plane, CELLS + BASE, to);
        assert_memory_equal(from, to, sizeof from);
        assert_true(same_row(to, rows, 4) && same_row(to, rows, 7) && !same_row(to, rows, 8));
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* ---- attention ---- */

enum { HEADS = 4, HEADS_KV = 2, SEEN = 3 * TILE, MOST_QUERIES = 80 };

/* Softmax over what the planes read as, in double. */
static void expected(const tada_attention *a, const uint16_t *k, const uint16_t *v, int64_t query, int head,
                     double *out)
{
    double max = -INFINITY, sum = 0, scores[SEEN];
    int column = head / (HEADS / HEADS_KV) * DIM;
    const float *q = a->q + (query * HEADS + head) * DIM;
    for (int64_t c = 0; c < a->n_cells; c++) {
        scores[c] = a->mask[query * a->n_cells + c] ? -INFINITY : 0;
        for (int d = 0; d < DIM; d++) {
            scores[c] += (double)a->scale * (double)q[d] * half_value(k[c * WIDTH + column + d]);
        }
        max = fmax(max, scores[c]);
    }
    memset(out, 0, DIM * sizeof *out);
    for (int64_t c = 0; c < a->n_cells; c++) {
        double weight = exp(scores[c] - max);
        sum += weight;
        for (int d = 0; d < DIM; d++) {
            out[d] += weight * half_value(v[c * WIDTH + column + d]);
        }
    }
    for (int d = 0; d < DIM; d++) {
        out[d] /= sum;
    }
}

/* A sequence that begins in the middle of a stream: its first cells are found, and attended to exactly. */
static void attention(void **state)
{
    (void)state;
    static uint16_t rows[2][SEEN * WIDTH], got[2][SEEN * WIDTH], mask[MOST_QUERIES * SEEN];
    static float q[MOST_QUERIES * HEADS * DIM], out[MOST_QUERIES * HEADS * DIM];
    for (int i = 0; i < N_SPECS * 2 * N_TIERS; i++) {
        if (tada_kernels_select(tiers[i % N_TIERS]) != TADA_OK || in_haste()) {
            continue;
        }
        int spec = i / N_TIERS % N_SPECS, most = spec_of(specs[spec]).sinks;
        int n = i / N_TIERS / N_SPECS ? MOST_QUERIES : 3, begin = 70 + random_below(50);
        test_plane k = make(spec, TADA_K), v = make(spec, TADA_V);
        tada_pool *pool = tada_pool_create();
        random_rows(rows[0], SEEN, (uint64_t)0xf << begin % 64);
        random_rows(rows[1], SEEN, 0);
        write_cells(k.plane, pool, rows[0], 0, SEEN);
        write_cells(v.plane, pool, rows[1], 0, SEEN);
        /* The queries of a new sequence, then those of another one that sees much. */
        for (int j = 0; j < n; j++) {
            for (int c = 0; c < SEEN; c++) {
                bool seen = j < n - 1 ? c >= begin && c <= begin + j : c < 2 * TILE + 10;
                mask[j * SEEN + c] = seen ? 0 : 0xfc00;
            }
        }
        for (int j = 0; j < n * HEADS * DIM; j++) {
            q[j] = random_normal();
        }
        tada_attention a = attention_of(k.plane, v.plane, DIM, HEADS, HEADS_KV, SEEN, n, q, out);
        add_mask(&a, mask);
        a.scale = 0.02f;
        int64_t cells[64 * MOST_QUERIES], found = tada_attention_sinks(&a, cells, 64 * MOST_QUERIES);
        int64_t longest = n - 1 < most ? n - 1 : most;
        assert_int_equal(found, longest * (longest + 1) / 2);
        for (int64_t j = 0; j < found; j++) {
            assert_in_range(cells[j], begin, begin + longest - 1);
        }
        assert_int_equal(tada_attention_sinks(&a, cells, 1), 1);
        tada_plane_mark_sinks(k.plane, cells, tada_attention_sinks(&a, cells, 64 * MOST_QUERIES));
        tada_plane_mark_sinks(v.plane, cells, found);
        make_cold(k.plane, pool);
        make_cold(v.plane, pool);
        assert_int_equal(tada_plane_read(k.plane, 0, SEEN, got[0], threads_of(1), NULL), TADA_OK);
        assert_int_equal(tada_plane_read(v.plane, 0, SEEN, got[1], threads_of(1), NULL), TADA_OK);
        assert_memory_equal(got[0] + begin * WIDTH, rows[0] + begin * WIDTH, (size_t)longest * WIDTH * 2);
        assert_int_equal(tada_attention_run(&a, pool, threads_of(2), NULL), TADA_OK);
        double error = 0, size = 0;
        for (int j = 0; j < n * HEADS; j++) {
            double want[DIM];
            expected(&a, got[0], got[1], j / HEADS, j % HEADS, want);
            for (int d = 0; d < DIM; d++) {
                error += pow((double)out[j * DIM + d] - want[d], 2);
                size += want[d] * want[d];
            }
        }
        if (!(error <= size * 0.002 * 0.002)) {
            fail_msg("%s, %s, %d queries: relative error %g", specs[spec], tiers[i % N_TIERS], n,
                     sqrt(error / size));
        }
        a.mask = NULL;
        assert_int_equal(tada_attention_sinks(&a, cells, 64), 0);
        plane_done(&k);
        plane_done(&v);
        tada_pool_free(pool);
    }
}

TEST_MAIN(cmocka_unit_test(stay_apart), cmocka_unit_test(come_and_go), cmocka_unit_test(streams),
          cmocka_unit_test(attention))
