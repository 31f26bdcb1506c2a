/* Rows that are changed where they are: what a plane holds afterwards, and what stays as it was. */
#include "support.h"

#include <stdatomic.h>

enum { WIDTH = 128, CELLS = 600, STREAMS = 2, TOTAL = CELLS * STREAMS, THREADS = 3 };

static const char *const specs[] = {"tada:4:window=64", "tada:window=0", "tada:4/3:window=64:sinks=0",
                                    "tada:16", "tada:window=128:window_bits=8"};

/* Takes the sign of every other value away and counts the cells of each thread. */
typedef struct flip {
    int64_t seen[TOTAL];
    atomic_bool ordered;
    bool zero;
} flip;

static void flip_row(uint16_t *row)
{
    for (int d = 0; d < WIDTH; d += 2) {
        row[d] ^= 0x8000;
    }
}

static bool flip_rows(void *context, int thread, const int64_t *cells, int n, uint16_t *rows)
{
    flip *f = context;
    bool ordered = thread >= 0 && thread < THREADS && n <= TADA_TILE_CELLS;
    for (int i = 0; i < n; i++) {
        f->seen[cells[i]]++;
        ordered = ordered && (i == 0 || cells[i] > cells[i - 1]);
        flip_row(rows + (size_t)i * WIDTH);
        if (f->zero) {
            memset(rows + (size_t)i * WIDTH, 0, WIDTH * 2);
        }
    }
    if (!ordered) {
        f->ordered = false;
    }
    return true;
}

static bool refuse(void *context, int thread, const int64_t *cells, int n, uint16_t *rows)
{
    (void)context;
    (void)thread;
    (void)cells;
    (void)n;
    (void)rows;
    return false;
}

static test_plane written(const char *spec, enum tada_kind kind, tada_pool *pool)
{
    static float rows[TOTAL * WIDTH];
    test_plane p = plane_of(spec, kind, WIDTH, CELLS, STREAMS, 64);
    fill(rows, TOTAL, WIDTH, kind == TADA_K ? 1 : 0);
    /* Some cells of each stream are never written. */
    write_rows(p.plane, pool, rows, TADA_F32, WIDTH, 0, CELLS - 100, 32);
    write_rows(p.plane, pool, rows + (size_t)(CELLS + 40) * WIDTH, TADA_F32, WIDTH, CELLS + 40, 400, 32);
    return p;
}

static uint16_t *rows_of(const test_plane *p)
{
    uint16_t *rows = malloc((size_t)TOTAL * WIDTH * 2);
    assert_int_equal(tada_plane_read(p->plane, 0, TOTAL, rows, threads_of(2), NULL), TADA_OK);
    return rows;
}

static bool is_written(const uint16_t *rows, int64_t cell)
{
    for (int d = 0; d < WIDTH; d++) {
        if (rows[cell * WIDTH + d]) {
            return true;
        }
    }
    return false;
}

static int64_t tile_of(int64_t cell)
{
    return cell / CELLS * 100 + cell % CELLS / TADA_TILE_CELLS;
}

static void check_flip(const char *spec, enum tada_kind kind)
{
    static flip f;
    tada_pool *pool = tada_pool_create();
    test_plane p = written(spec, kind, pool), fresh = plane_of(spec, kind, WIDTH, CELLS, STREAMS, 64);
    uint16_t *before = rows_of(&p);
    uint8_t chosen[TOTAL];
    bool changed[200] = {false};
    for (int64_t i = 0; i < TOTAL; i++) {
        int64_t at = i % CELLS;
        chosen[i] = i < CELLS ? (at >= 100 && at < 200) || at > 330 : random_below(2) && at < 300;
        changed[tile_of(i)] |= chosen[i] && is_written(before, i);
    }
    tada_plane_stats then, now;
    tada_plane_get_stats(p.plane, &then);
    f = (flip){.ordered = true};
    assert_int_equal(tada_plane_edit(p.plane, chosen, flip_rows, &f, threads_of(THREADS), NULL), TADA_OK);
    assert_true(f.ordered);
    tada_plane_get_stats(p.plane, &now);
    assert_int_equal(then.hot, now.hot);
    assert_int_equal(then.refined, now.refined);
    assert_int_equal(then.cold, now.cold);
    assert_int_equal(then.reopens, now.reopens);
    uint16_t *after = rows_of(&p), *wanted = malloc((size_t)TOTAL * WIDTH * 2);
    memcpy(wanted, before, (size_t)TOTAL * WIDTH * 2);
    for (int64_t i = 0; i < TOTAL; i++) {
        bool edited = chosen[i] && is_written(before, i);
        assert_int_equal(f.seen[i], edited);
        if (edited) {
            flip_row(wanted + i * WIDTH);
        }
        if (!changed[tile_of(i)]) {
            assert_memory_equal(before + i * WIDTH, after + i * WIDTH, WIDTH * 2);
        }
    }
    /* The same as writing these rows into an empty plane. */
    write_rows(fresh.plane, pool, wanted, TADA_F16, WIDTH, 0, TOTAL, TOTAL);
    uint16_t *again = rows_of(&fresh);
    for (int64_t i = 0; i < TOTAL; i++) {
        /* Other tiles may be hot there: what is hot here is exact. */
        bool exact = memcmp(after + i * WIDTH, wanted + i * WIDTH, WIDTH * 2) == 0;
        assert_true(exact || memcmp(after + i * WIDTH, again + i * WIDTH, WIDTH * 2) == 0);
    }
    /* Without a chosen cell nothing is asked for. */
    memset(chosen, 0, sizeof chosen);
    assert_int_equal(tada_plane_edit(p.plane, chosen, refuse, NULL, threads_of(THREADS), NULL), TADA_OK);
    uint16_t *still = rows_of(&p);
    assert_memory_equal(after, still, (size_t)TOTAL * WIDTH * 2);
    free(before);
    free(after);
    free(wanted);
    free(again);
    free(still);
    plane_done(&p);
    plane_done(&fresh);
    tada_pool_free(pool);
}

static void test_flip(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        check_flip(specs[i], TADA_K);
        check_flip(specs[i], TADA_V);
    }
}

static void test_threads(void **state)
{
    (void)state;
    static flip f;
    uint8_t chosen[TOTAL];
    uint16_t *rows[2];
    memset(chosen, 1, sizeof chosen);
    for (int i = 0; i < 2; i++) {
        tada_pool *pool = tada_pool_create();
        random_init();
        test_plane p = written("tada:window_bits=8", TADA_K, pool);
        f.ordered = true;
        assert_int_equal(tada_plane_edit(p.plane, chosen, flip_rows, &f, threads_of(i ? THREADS : 1), NULL),
                         TADA_OK);
        rows[i] = rows_of(&p);
        plane_done(&p);
        tada_pool_free(pool);
    }
    assert_memory_equal(rows[0], rows[1], (size_t)TOTAL * WIDTH * 2);
    free(rows[0]);
    free(rows[1]);
}

static void test_zeros(void **state)
{
    (void)state;
    static flip f;
    tada_pool *pool = tada_pool_create();
    test_plane p =
        written(random_below(2) ? "tada:4:window=64" : "tada:window=64:window_bits=8", TADA_K, pool);
    uint8_t chosen[TOTAL];
    memset(chosen, 1, sizeof chosen);
    f = (flip){.ordered = true, .zero = true};
    assert_int_equal(tada_plane_edit(p.plane, chosen, flip_rows, &f, threads_of(2), NULL), TADA_OK);
    uint16_t *rows = rows_of(&p);
    tada_plane_stats stats;
    tada_plane_get_stats(p.plane, &stats);
    assert_int_equal(stats.hot + stats.cold + stats.refined, 0);
    for (int64_t i = 0; i < TOTAL; i++) {
        assert_false(is_written(rows, i));
    }
    free(rows);
    plane_done(&p);
    tada_pool_free(pool);
}

static void test_refusal(void **state)
{
    (void)state;
    tada_pool *pool = tada_pool_create();
    test_plane p = written("tada", TADA_V, pool);
    uint8_t chosen[TOTAL];
    tada_error error = {""};
    memset(chosen, 1, sizeof chosen);
    uint16_t *before = rows_of(&p);
    assert_int_equal(tada_plane_edit(p.plane, chosen, refuse, NULL, threads_of(2), &error), TADA_E_ARGUMENT);
    assert_true(error.text[0]);
    uint16_t *after = rows_of(&p);
    assert_memory_equal(before, after, (size_t)TOTAL * WIDTH * 2);
    free(before);
    free(after);
    plane_done(&p);
    tada_pool_free(pool);
}

TEST_MAIN(cmocka_unit_test(test_flip), cmocka_unit_test(test_threads), cmocka_unit_test(test_zeros),
          cmocka_unit_test(test_refusal))
