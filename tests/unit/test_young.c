/* Planes that wait with settling: what they hold, what they borrow, and that waiting changes nothing for
 * good. */
#include "support.h"

enum { WIDTH = 128, DIM = 64, CELLS = 448, TILE = TADA_TILE_CELLS, ROOM = TADA_YOUNG_ROWS };
enum { ROOMY = 4 * CELLS }; /* cells of a plane that has room for all layers and refinements */

static const char *const specs[] = {
    "tada",           "tada:refine=off",         "tada:window=64:window_bits=16",
    "tada:window=64", "tada:4:window=0:sinks=0", "tada:k.rotate=hadamard:v.rotate=hadamard",
    "tada:paper",
};
enum { N_SPECS = sizeof specs / sizeof specs[0] };

static void write_some(const test_plane *p, tada_pool *pool, const float *rows, int64_t first, int64_t n)
{
    int64_t cells[CELLS];
    for (int64_t i = 0; i < n; i++) {
        cells[i] = first + i;
    }
    assert_int_equal(tada_plane_write(p->plane, pool, rows + first * WIDTH, TADA_F32, sizeof *rows * WIDTH,
                                      cells, n, NULL),
                     TADA_OK);
}

static void append(const test_plane *p, tada_pool *pool, const float *rows, int64_t first, int64_t n)
{
    for (int64_t i = first; i < first + n; i++) {
        assert_int_equal(tada_plane_append(p->plane, pool, rows + i * WIDTH, TADA_F32, i, NULL), TADA_OK);
    }
}

static void settle(const test_plane *p)
{
    assert_int_equal(tada_plane_settle(p->plane, threads_of(2), NULL), TADA_OK);
}

static void same_rows(const char *spec, const test_plane *a, const test_plane *b)
{
    static uint16_t x[2][CELLS * WIDTH];
    assert_int_equal(tada_plane_read(a->plane, 0, CELLS, x[0], NULL, NULL), TADA_OK);
    assert_int_equal(tada_plane_read(b->plane, 0, CELLS, x[1], NULL, NULL), TADA_OK);
    if (memcmp(x[0], x[1], sizeof x[0]) != 0) {
        fail_msg("%s: rows differ", spec);
    }
}

static void same_state(const char *spec, const test_plane *a, const test_plane *b)
{
    tada_plane_stats x = stats_of(a->plane), y = stats_of(b->plane);
    same_rows(spec, a, b);
    assert_int_equal(x.hot, y.hot);
    assert_int_equal(x.cold, y.cold);
    assert_int_equal(x.refined, y.refined);
    assert_int_equal(x.layered, y.layered);
}

/* Rows come one by one, and sometimes the last ones again. */
static void wait_and_settle(const char *spec, enum tada_kind kind, const float *rows)
{
    test_plane at_once = plane_of(spec, kind, WIDTH, ROOMY, 1, DIM),
               waits = plane_of(spec, kind, WIDTH, ROOMY, 1, DIM);
    tada_pool *pools[] = {tada_pool_create(), tada_pool_create()};
    int waited = 0;
    for (int64_t at = 0; at < CELLS; at++) {
        int64_t back = random_below(60) ? 0 : random_below(80);
        at -= back < at ? back : at;
        write_some(&at_once, pools[0], rows, at, 1);
        settle(&at_once);
        /* As the plug-in does: what is not appended finds a settled plane. */
        if (!tada_plane_follows(waits.plane, at)) {
            settle(&waits);
        }
        append(&waits, pools[1], rows, at, 1);
        waited += tada_plane_room(waits.plane) > 0;
        if (tada_plane_room(waits.plane) <= random_below(ROOM)) {
            settle(&waits);
            assert_int_equal(tada_plane_room(waits.plane), 0);
        }
    }
    assert_true(waited > 10);
    settle(&waits);
    same_state(spec, &at_once, &waits);
    plane_done(&at_once);
    plane_done(&waits);
    tada_pool_free(pools[0]);
    tada_pool_free(pools[1]);
}

static void waiting_changes_nothing(void **state)
{
    static float rows[CELLS * WIDTH];
    (void)state;
    for (int i = first_case(4 * N_SPECS); i < 4 * N_SPECS; i += quick()) {
        fill(rows, CELLS, WIDTH, random_below(DATA_KINDS));
        wait_and_settle(specs[i % N_SPECS], i % 2 ? TADA_V : TADA_K, rows);
    }
}

/* Many planes that wait borrow little, and give it back. */
static void memory_is_shared(void **state)
{
    enum { PLANES = 10, TILE_BYTES = WIDTH * TILE * 2 };
    static float rows[CELLS * WIDTH];
    test_plane p[PLANES];
    tada_pool *pool = tada_pool_create();
    (void)state;
    fill(rows, CELLS, WIDTH, 0);
    for (int i = 0; i < PLANES; i++) {
        p[i] = plane_of("tada", i % 2 ? TADA_V : TADA_K, WIDTH, CELLS, 1, DIM);
        write_some(&p[i], pool, rows, 0, TILE);
        settle(&p[i]);
    }
    for (int64_t begin = TILE; begin < 4 * TILE; begin += TILE) {
        tada_pool_trim(pool);
        assert_int_equal(tada_pool_bytes(pool), 0);
        for (int64_t t = 0; t < ROOM; t++) {
            for (int i = 0; i < PLANES; i++) {
                assert_int_equal(tada_plane_room(p[i].plane), t ? ROOM - t : 0);
                append(&p[i], pool, rows, begin + t, 1);
            }
        }
        assert_int_equal(tada_pool_bytes(pool), (PLANES * ROOM + TILE - 1) / TILE * TILE_BYTES);
        for (int i = 0; i < PLANES; i++) {
            /* One row more than there is room for: the others have it. */
            append(&p[i], pool, rows, begin + ROOM, i == 3);
            settle(&p[i]);
            append(&p[i], pool, rows, begin + ROOM, TILE - ROOM);
            settle(&p[i]);
        }
    }
    for (int i = 2; i < PLANES; i++) {
        same_state("tada", &p[i % 2], &p[i]);
    }
    for (int i = 0; i < PLANES; i++) {
        plane_done(&p[i]);
    }
    tada_pool_trim(pool);
    assert_int_equal(tada_pool_bytes(pool), 0);
    tada_pool_free(pool);
}

enum { FULL = 3 * TILE }; /* cells of full tiles, of which the last one is hot, or the last two are */

/* A plane with full tiles, and n rows of the next one appended. old: that one had other rows before, in
 * codes. */
static test_plane waiting_plane(const char *spec, enum tada_kind kind, tada_pool *pool, const float *rows,
                                int n, bool old)
{
    test_plane p = plane_of(spec, kind, WIDTH, ROOMY, 1, DIM);
    if (old) {
        static float others[CELLS * WIDTH];
        fill(others, CELLS, WIDTH, 0);
        write_some(&p, pool, others, 0, CELLS);
        settle(&p);
        write_some(&p, pool, rows, 0, FULL + TILE); /* and again, in layers */
        settle(&p);
        write_some(&p, pool, others, FULL + 20, TILE);
        settle(&p);
    }
    write_some(&p, pool, rows, 0, FULL);
    settle(&p);
    append(&p, pool, rows, FULL, n);
    assert_int_equal(tada_plane_room(p.plane), ROOM - n);
    return p;
}

static void what_ends_it(void **state)
{
    static float rows[CELLS * WIDTH], others[CELLS * WIDTH];
    static uint16_t read[(TILE + 40) * WIDTH];
    static const int64_t ends[] = {FULL + 4, FULL + 6, FULL + 30, 3, FULL + TILE, ROOMY, -1};
    tada_pool *pool = tada_pool_create();
    tada_error error;
    (void)state;
    fill(rows, CELLS, WIDTH, 0);
    fill(others, CELLS, WIDTH, 0);
    for (int old = 0; old < 2; old++) {
        test_plane p = waiting_plane("tada", TADA_K, pool, rows, 5, old);
        int64_t cell = FULL;
        uint8_t saved[64];
        assert_int_equal(tada_plane_state_bytes(p.plane, &cell, 1), 0);
        assert_int_equal(tada_plane_export(p.plane, &cell, 1, saved, sizeof saved, &error), TADA_E_ARGUMENT);
        assert_non_null(strstr(error.text, "Settle"));
        assert_true(tada_plane_follows(p.plane, FULL + 5));
        for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
            assert_false(tada_plane_follows(p.plane, ends[i]));
        }
        assert_int_equal(tada_plane_append(p.plane, pool, rows, TADA_F32, ROOMY, &error), TADA_E_ARGUMENT);
        assert_int_equal(tada_plane_room(p.plane), ROOM - 5);
        /* Memory for the rest of the tile is there when it is wanted. */
        write_some(&p, pool, rows, FULL + 5, 30);
        assert_int_equal(tada_plane_room(p.plane), 0);
        append(&p, pool, rows, FULL + 35, 5);
        assert_int_equal(tada_plane_read(p.plane, FULL - TILE, TILE + 40, read, NULL, NULL), TADA_OK);
        for (int i = 0; i < (TILE + 40) * WIDTH; i++) {
            assert_int_equal(read[i], half_round((double)rows[(FULL - TILE) * WIDTH + i]));
        }
        plane_done(&p);
    }
    tada_pool_free(pool);
}

enum { MOST = 40, N = 11 };

/* Attention to the first rows of planes, of which others are masked. */
static void attend(const test_plane *planes, tada_pool *pool, int n, const float *q, float *out)
{
    enum { SEEN = FULL + TILE };
    static uint16_t mask[MOST * SEEN];
    for (int i = 0; i < MOST * SEEN; i++) {
        mask[i] = i % SEEN < FULL + N ? 0 : 0xfc00;
    }
    tada_attention a = attention_of(planes[0].plane, planes[1].plane, DIM, 2, 2, SEEN, n, q, out);
    add_mask(&a, mask);
    a.scale = 0.125f;
    assert_int_equal(tada_attention_run(&a, pool, threads_of(2), NULL), TADA_OK);
}

/* What is read of a plane that waits is the same whether its next tile had rows before; and, but for the
 * order of sums, the same as when that tile is open. */
static void attention_is_the_same(void **state)
{
    enum { NEW, OLD, OPEN, STATES };
    static float rows[CELLS * WIDTH], q[MOST * WIDTH], out[STATES][MOST * WIDTH];
    tada_pool *pool = tada_pool_create();
    (void)state;
    fill(rows, CELLS, WIDTH, 0);
    fill(q, MOST, WIDTH, 0);
    for (int spec = 0; spec < N_SPECS; spec++) {
        test_plane p[STATES][2];
        for (int i = 0; i < STATES * 2; i++) {
            p[i / 2][i % 2] =
                waiting_plane(specs[spec], i % 2 ? TADA_V : TADA_K, pool, rows, N, i / 2 == OLD);
            write_some(&p[i / 2][i % 2], pool, rows, FULL + N, i / 2 == OPEN);
        }
        for (int n = 1; n <= MOST; n += 13) {
            for (int i = 0; i < STATES; i++) {
                attend(p[i], pool, n, q, out[i]);
            }
            if (memcmp(out[NEW], out[OLD], (size_t)n * WIDTH * sizeof *q) != 0) {
                fail_msg("%s, %d queries: old rows are seen", specs[spec], n);
            }
            for (int j = 0; j < n * WIDTH; j++) {
                assert_true(fabsf(out[NEW][j] - out[OPEN][j]) < 1e-4f * (1 + fabsf(out[OPEN][j])));
            }
        }
        for (int i = 0; i < STATES * 2; i++) {
            plane_done(&p[i / 2][i % 2]);
        }
    }
    tada_pool_free(pool);
}

TEST_MAIN(cmocka_unit_test(waiting_changes_nothing), cmocka_unit_test(memory_is_shared),
          cmocka_unit_test(what_ends_it), cmocka_unit_test(attention_is_the_same))
