/* What a plane and a pool tell of themselves. */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>

enum { WIDTH = 64, TILES = 20, CELLS = TILES * TADA_TILE_CELLS - 10 };

static void expect(const tada_plane *plane, int64_t written, int64_t hot, int64_t cold, int64_t compressions,
                   int64_t reopens)
{
    tada_plane_stats stats = stats_of(plane);
    assert_int_equal(stats.written, written);
    assert_int_equal(stats.hot, hot);
    assert_int_equal(stats.cold, cold);
    assert_int_equal(stats.compressions, compressions);
    assert_int_equal(stats.reopens, reopens);
}

/* Two own hot tiles: a window of one, and the tile that is written. */
static void life(void **state)
{
    (void)state;
    static float x[5 * 64 * WIDTH], zeros[64 * WIDTH];
    fill(x, 5 * 64, WIDTH, 0);
    for (int kind = 0; kind < 2; kind++) {
        test_plane p =
            plane_of("tada:4:window=64:window_bits=16", (enum tada_kind)kind, WIDTH, CELLS, 1, WIDTH);
        tada_pool *pool = tada_pool_create();
        assert_int_equal(stats_of(p.plane).tiles, TILES);
        assert_int_equal(stats_of(p.plane).cells, CELLS);
        expect(p.plane, 0, 0, 0, 0, 0);
        write_rows(p.plane, pool, x, TADA_F32, WIDTH, 0, 70, 7);
        expect(p.plane, 70, 2, 0, 0, 0);
        /* Rows that are written again. */
        write_rows(p.plane, pool, x, TADA_F32, WIDTH, 3, 60, 60);
        expect(p.plane, 70, 2, 0, 0, 0);
        write_rows(p.plane, pool, x, TADA_F32, WIDTH, 70, 250, 250);
        expect(p.plane, 320, 2, 3, 3, 0);
        /* Into a cold tile; another leaves the window. */
        write_rows(p.plane, pool, x, TADA_F32, WIDTH, 10, 1, 1);
        expect(p.plane, 320, 2, 3, 4, 1);
        /* Zeros take rows away: a whole tile, cold before, holds no rows then. */
        write_rows(p.plane, pool, zeros, TADA_F32, WIDTH, 128, 64, 64);
        expect(p.plane, 256, 2, 2, 4, 2);
        /* Not settled: hot beyond the window. */
        int64_t cell = 64;
        assert_int_equal(tada_plane_write(p.plane, pool, x, TADA_F32, WIDTH * 4, &cell, 1, NULL), TADA_OK);
        expect(p.plane, 256, 3, 1, 4, 3);
        assert_true(tada_pool_bytes(pool) > 0);
        assert_int_equal(tada_plane_settle(p.plane, threads_of(1), NULL), TADA_OK);
        expect(p.plane, 256, 2, 2, 5, 3);
        /* A refused write changes nothing. */
        cell = CELLS;
        assert_int_equal(tada_plane_write(p.plane, pool, x, TADA_F32, WIDTH * 4, &cell, 1, NULL),
                         TADA_E_ARGUMENT);
        expect(p.plane, 256, 2, 2, 5, 3);
        tada_plane_clear(p.plane);
        expect(p.plane, 0, 0, 0, 5, 3);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* A stream that is copied over another counts there, too, and what was there no longer does. */
static void copies(void **state)
{
    (void)state;
    static float x[400 * WIDTH];
    fill(x, 400, WIDTH, 0);
    test_plane p = plane_of("tada:4:window=64:window_bits=16", TADA_V, WIDTH, CELLS, 2, WIDTH);
    tada_pool *pool = tada_pool_create();
    write_rows(p.plane, pool, x, TADA_F32, WIDTH, CELLS + 400, 100, 100);
    write_rows(p.plane, pool, x, TADA_F32, WIDTH, 0, 400, 400);
    tada_plane_stats before = stats_of(p.plane);
    assert_int_equal(before.written, 500);
    assert_int_equal(before.hot, 4);
    assert_int_equal(before.hot + before.cold, 7 + 2);
    assert_int_equal(tada_plane_copy_stream(p.plane, pool, 0, 1, threads_of(2), NULL), TADA_OK);
    tada_plane_stats after = stats_of(p.plane);
    assert_int_equal(after.written, 800);
    assert_int_equal(after.hot, 4);
    assert_int_equal(after.hot + after.cold, 14);
    /* Back from a stream without rows. */
    tada_plane_clear(p.plane);
    write_rows(p.plane, pool, x, TADA_F32, WIDTH, 0, 400, 400);
    assert_int_equal(tada_plane_copy_stream(p.plane, pool, 1, 0, threads_of(2), NULL), TADA_OK);
    expect(p.plane, 0, 0, 0, stats_of(p.plane).compressions, 0);
    plane_done(&p);
    tada_pool_free(pool);
}

static void bytes(void **state)
{
    (void)state;
    static const char *const specs[] = {"tada:window_bits=16", "tada:paper", "tada:16",
                                        "tada:4:window=0:sinks=0"};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        for (int kind = 0; kind < 2; kind++) {
            tada_spec spec = spec_of(specs[i]);
            tada_shape shape = {(enum tada_kind)kind, WIDTH, CELLS, 3, 0};
            test_plane p = plane_of(specs[i], shape.kind, WIDTH, CELLS, 3, 0);
            tada_plane_stats stats = stats_of(p.plane);
            assert_int_equal(stats.bytes, tada_plane_bytes(&spec, &shape));
            assert_int_equal(stats.bytes_cold + stats.bytes_hot + stats.bytes_sinks + stats.bytes_table,
                             stats.bytes);
            assert_int_equal(stats.bytes_f16, 3 * CELLS * WIDTH * 2);
            bool compressed = (kind ? spec.v : spec.k).bits < 16;
            size_t slots = compressed ? 3 * ((size_t)spec.window / 64 + 1) : 3 * TILES;
            assert_int_equal(stats.bytes_hot, slots * 64 * WIDTH * 2);
            assert_int_equal(stats.bytes_cold > 0, compressed);
            size_t sinks = compressed ? (size_t)(3 * spec.sinks * WIDTH * 2) : 0;
            assert_in_range(stats.bytes_sinks, sinks, sinks + 63);
            plane_done(&p);
        }
    }
}

typedef struct watch {
    const tada_plane *plane;
    const tada_pool *pool;
    atomic_bool stop;
    bool sound;
} watch;

static void *watch_run(void *argument)
{
    watch *w = argument;
    int64_t compressions = 0;
    size_t scratch = 0;
    w->sound = true;
    do {
        tada_plane_stats stats = stats_of(w->plane);
        size_t now = tada_pool_bytes(w->pool);
        w->sound = w->sound && stats.written >= 0 && stats.written <= CELLS && stats.hot >= 0 &&
                   stats.hot <= TILES && stats.cold >= 0 && stats.cold <= TILES &&
                   stats.compressions >= compressions && now >= scratch;
        compressions = stats.compressions;
        scratch = now;
        nanosleep(&(struct timespec){0, 100000}, NULL);
    } while (!w->stop);
    return NULL;
}

/* Another thread looks on while the plane is written; a thread sanitizer has something to see here. */
static void looks_on(void **state)
{
    (void)state;
    static float x[CELLS * WIDTH];
    fill(x, CELLS, WIDTH, 0);
    test_plane p = plane_of("tada:4:window=64:window_bits=16", TADA_K, WIDTH, CELLS, 1, WIDTH);
    tada_pool *pool = tada_pool_create();
    watch w = {.plane = p.plane, .pool = pool};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch_run, &w), 0);
    for (int round = 0; round < 5; round++) {
        write_rows(p.plane, pool, x, TADA_F32, WIDTH, 0, CELLS, 200);
        tada_plane_clear(p.plane);
    }
    w.stop = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(w.sound);
    plane_done(&p);
    tada_pool_free(pool);
}

TEST_MAIN(cmocka_unit_test(life), cmocka_unit_test(copies), cmocka_unit_test(bytes),
          cmocka_unit_test(looks_on))
