/* Sinks: the first cells of a stream, which stay exact while the rest of their tile is compressed. */
#include "support.h"

/* Many cells, so that every recipe is worth its memory. */
enum { WIDTH = 64, CELLS = 3860, STREAMS = 3, TILE = TADA_TILE_CELLS };

static const int counts[] = {1, 4, 5, 17, 63, 64};
enum { N_COUNTS = sizeof counts / sizeof counts[0] };

static const char *const options[] = {"",
                                      ":axis=token",
                                      ":axis=channel:rotate=hadamard",
                                      ":axis=channel:group=16:search=minmax",
                                      ":centre=tokens",
                                      ":centre=tokens:axis=token",
                                      ":centre=heads16",
                                      ":centre=heads8:axis=token",
                                      ":scale=32",
                                      ":scale=32:axis=token"};
enum { N_OPTIONS = sizeof options / sizeof options[0] };

/* A plane whose only hot tile of a stream is the one that is written. */
static test_plane plane_with(int sinks, int option, int kind, char spec[120])
{
    snprintf(spec, 120, "tada:%d:window=0:sinks=%d%s", 2 + random_below(5), sinks, options[option]);
    return plane_of(spec, (enum tada_kind)kind, WIDTH, CELLS, STREAMS, random_below(2) ? 32 : WIDTH);
}

static void write_one(tada_plane *plane, tada_pool *pool, const uint16_t *row, int64_t cell)
{
    assert_int_equal(tada_plane_write(plane, pool, row, TADA_F16, WIDTH * 2, &cell, 1, NULL), TADA_OK);
}

/* Takes the hot tiles away from everything else. */
static void make_cold(tada_plane *plane, tada_pool *pool)
{
    uint16_t row[WIDTH];
    for (int d = 0; d < WIDTH; d++) {
        row[d] = half_round(1.0 + d);
    }
    for (int64_t s = 0; s < STREAMS; s++) {
        write_one(plane, pool, row, s * CELLS + 4 * TILE);
    }
    assert_int_equal(tada_plane_settle(plane, threads_of(2), NULL), TADA_OK);
    tada_plane_stats stats;
    tada_plane_get_stats(plane, &stats);
    assert_int_equal(stats.hot, STREAMS);
}

static void read_rows(const tada_plane *plane, int64_t first, int64_t n, uint16_t *rows)
{
    assert_int_equal(tada_plane_read(plane, first, n, rows, threads_of(2), NULL), TADA_OK);
}

static void random_tile(uint16_t *rows, double size)
{
    for (int i = 0; i < TILE * WIDTH; i++) {
        rows[i] = half_round(size * (double)random_normal());
    }
}

static bool same_rows(const uint16_t *a, const uint16_t *b, int from, int to)
{
    return memcmp(a + from * WIDTH, b + from * WIDTH, sizeof *a * (size_t)((to - from) * WIDTH)) == 0;
}

/* Sinks come back as they were and the others do not, but as if the sinks had never been. */
static void stay_apart(void **state)
{
    (void)state;
    static uint16_t rows[TILE * WIDTH], without[TILE * WIDTH], got[2][TILE * WIDTH];
    for (int i = 0; i < N_COUNTS * N_OPTIONS * 2; i++) {
        int n = counts[i / 2 % N_COUNTS], kind = i % 2;
        random_tile(rows, 1);
        for (int d = 0; d < n * WIDTH; d++) {
            rows[d] = half_round(9000.0 * ((d % 7) - 3) + d);
        }
        memcpy(without, rows, sizeof rows);
        memset(without, 0, sizeof *rows * (size_t)(n * WIDTH));
        uint64_t seed = random_state;
        char spec[120];
        for (int pass = 0; pass < 2; pass++) {
            random_state = seed;
            test_plane p = plane_with(n, i / 2 / N_COUNTS, kind, spec);
            tada_pool *pool = tada_pool_create();
            write_rows(p.plane, pool, pass ? without : rows, TADA_F16, WIDTH, CELLS, TILE, TILE);
            make_cold(p.plane, pool);
            read_rows(p.plane, CELLS, TILE, got[pass]);
            plane_done(&p);
            tada_pool_free(pool);
        }
        if (!same_rows(got[0], rows, 0, n) || !same_rows(got[1], without, 0, n)) {
            fail_msg("%s of kind %d: sinks changed", spec, kind);
        }
        if (!same_rows(got[0], got[1], n, TILE)) {
            fail_msg("%s of kind %d: sinks spoil other cells", spec, kind);
        }
        /* One cell alone may be coded as it is. */
        for (int t = n; t < TILE && n < TILE - 1; t++) {
            if (same_rows(got[0], rows, t, t + 1)) {
                fail_msg("%s of kind %d: cell %d was not compressed", spec, kind, t);
            }
        }
    }
}

/* Rows that a plane reads as encode to themselves, in another plane and when their tile is opened again. */
static void encode_again(void **state)
{
    (void)state;
    static uint16_t rows[TILE * WIDTH], first[TILE * WIDTH], again[TILE * WIDTH];
    for (int i = 0; i < N_COUNTS * 4 * 2 * 4; i++) {
        int n = counts[i / 2 % N_COUNTS], option = i / 2 / N_COUNTS % 4, kind = i % 2;
        char spec[120];
        random_tile(rows, 1);
        for (int t = 0; t < TILE; t++) {
            if (random_below(5) == 0) {
                memset(rows + t * WIDTH, 0, sizeof *rows * WIDTH);
            }
        }
        uint64_t seed = random_state;
        test_plane p = plane_with(n, option, kind, spec);
        random_state = seed;
        test_plane other = plane_with(n, option, kind, spec);
        tada_pool *pool = tada_pool_create();
        write_rows(p.plane, pool, rows, TADA_F16, WIDTH, 0, TILE, TILE);
        make_cold(p.plane, pool);
        read_rows(p.plane, 0, TILE, first);
        write_rows(other.plane, pool, first, TADA_F16, WIDTH, 0, TILE, TILE);
        make_cold(other.plane, pool);
        read_rows(other.plane, 0, TILE, again);
        if (memcmp(first, again, sizeof first) != 0) {
            fail_msg("%s of kind %d: a restored plane differs", spec, kind);
        }
        int64_t cell = random_below(TILE);
        write_one(p.plane, pool, first + cell * WIDTH, cell);
        read_rows(p.plane, 0, TILE, again);
        assert_memory_equal(first, again, sizeof first);
        make_cold(p.plane, pool);
        read_rows(p.plane, 0, TILE, again);
        if (memcmp(first, again, sizeof first) != 0) {
            fail_msg("%s of kind %d: a tile that was opened differs", spec, kind);
        }
        plane_done(&p);
        plane_done(&other);
        tada_pool_free(pool);
    }
}

/* Writes into a cold tile, and removals from it. */
static void rewrite(void **state)
{
    (void)state;
    static uint16_t rows[TILE * WIDTH], got[TILE * WIDTH];
    uint16_t row[WIDTH], zero[WIDTH] = {0};
    for (int i = 0; i < N_COUNTS * N_OPTIONS * 2; i++) {
        int n = counts[i / 2 % N_COUNTS], kind = i % 2;
        char spec[120];
        test_plane p = plane_with(n, i / 2 / N_COUNTS, kind, spec);
        tada_pool *pool = tada_pool_create();
        random_tile(rows, 1);
        write_rows(p.plane, pool, rows, TADA_F16, WIDTH, 0, TILE, TILE);
        make_cold(p.plane, pool);
        for (int step = 0; step < 6; step++) {
            /* A sink, or another cell, gets a new row or is removed. */
            int cell = step % 2 || n == TILE ? random_below(n) : n + random_below(TILE - n);
            for (int d = 0; d < WIDTH; d++) {
                row[d] = half_round((double)random_normal());
            }
            const uint16_t *now = step >= 4 ? zero : row;
            write_one(p.plane, pool, now, cell);
            memcpy(rows + cell * WIDTH, now, sizeof row);
            read_rows(p.plane, 0, TILE, got);
            assert_memory_equal(got + cell * WIDTH, now, sizeof row);
            assert_true(same_rows(got, rows, 0, n));
            make_cold(p.plane, pool);
            read_rows(p.plane, 0, TILE, got);
            if (!same_rows(got, rows, 0, n)) {
                fail_msg("%s of kind %d, step %d: sinks changed", spec, kind, step);
            }
            assert_true(step < 4 || same_rows(got, rows, cell, cell + 1));
        }
        tada_plane_stats stats;
        tada_plane_get_stats(p.plane, &stats);
        assert_int_equal(stats.reopens, 6);
        /* Nothing is left of them when only sinks, and then nothing at all, are in the tile. */
        for (int t = TILE - 1; t >= 0; t--) {
            write_one(p.plane, pool, zero, t);
            if (t == n || t == 0) {
                make_cold(p.plane, pool);
                memset(rows + t * WIDTH, 0, sizeof *rows * (size_t)((TILE - t) * WIDTH));
                read_rows(p.plane, 0, TILE, got);
                assert_memory_equal(got, rows, sizeof rows);
            }
        }
        write_one(p.plane, pool, row, TILE - 1);
        make_cold(p.plane, pool);
        read_rows(p.plane, 0, TILE, got);
        assert_true(same_rows(got, rows, 0, n < TILE ? n : TILE - 1));
        tada_plane_clear(p.plane);
        read_rows(p.plane, 0, TILE, got);
        memset(rows, 0, sizeof rows);
        assert_memory_equal(got, rows, sizeof rows);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* Each stream has its own, and a copy of a stream does not follow what it was made of. */
static void streams(void **state)
{
    (void)state;
    static uint16_t rows[STREAMS][TILE * WIDTH], got[TILE * WIDTH], before[TILE * WIDTH];
    for (int i = 0; i < N_COUNTS * 2; i++) {
        int n = counts[i / 2];
        char spec[120];
        test_plane p = plane_with(n, 0, i % 2, spec);
        tada_pool *pool = tada_pool_create();
        for (int s = 0; s < STREAMS; s++) {
            random_tile(rows[s], 1 + s);
            write_rows(p.plane, pool, rows[s], TADA_F16, WIDTH, s * CELLS, TILE, TILE);
        }
        make_cold(p.plane, pool);
        for (int s = 0; s < STREAMS; s++) {
            read_rows(p.plane, s * CELLS, TILE, got);
            assert_true(same_rows(got, rows[s], 0, n));
        }
        read_rows(p.plane, 0, TILE, before);
        assert_int_equal(tada_plane_copy_stream(p.plane, pool, 0, 2, threads_of(2), NULL), TADA_OK);
        read_rows(p.plane, 2 * CELLS, TILE, got);
        assert_memory_equal(got, before, sizeof got);
        write_one(p.plane, pool, rows[1], 0);
        make_cold(p.plane, pool);
        read_rows(p.plane, 2 * CELLS, TILE, got);
        assert_memory_equal(got, before, sizeof got);
        read_rows(p.plane, 0, TILE, got);
        assert_true(same_rows(got, rows[1], 0, 1) && same_rows(got, rows[0], 1, n));
        read_rows(p.plane, CELLS, TILE, got);
        assert_true(same_rows(got, rows[1], 0, n));
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* Sinks take their rows and no more; a plane that is not compressed has none. */
static void memory(void **state)
{
    (void)state;
    const tada_shape shape = {TADA_K, WIDTH, CELLS, STREAMS, 0};
    tada_spec none = spec_of("tada:sinks=0"), all = spec_of("tada:sinks=64"), exact = spec_of("tada:16");
    assert_int_equal(tada_plane_bytes(&all, &shape) - tada_plane_bytes(&none, &shape),
                     STREAMS * TILE * WIDTH * 2);
    size_t bytes = tada_plane_bytes(&exact, &shape);
    exact.sinks = 0;
    assert_int_equal(tada_plane_bytes(&exact, &shape), bytes);
    for (int i = 0; i < 2; i++) {
        none.sinks = i ? 65 : -1;
        assert_int_equal(tada_plane_bytes(&none, &shape), 0);
    }
}

TEST_MAIN(cmocka_unit_test(stay_apart), cmocka_unit_test(encode_again), cmocka_unit_test(rewrite),
          cmocka_unit_test(streams), cmocka_unit_test(memory))
