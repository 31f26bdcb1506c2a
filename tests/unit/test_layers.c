/* Rows that are written beside codes become a layer of their own, and the others keep theirs. */
#include "support.h"

enum { WIDTH = 128, HEAD = 64, TILES = 32, CELLS = TILES * 64 };

static const char *const specs[] = {"tada",
                                    "tada:4/4:sinks=0",
                                    "tada:compact:sinks=0",
                                    "tada:4/3:window=0:refine=off",
                                    "tada:k.rotate=hadamard",
                                    "tada:4/4:window=0:k.centre=tokens:v.centre=tokens:sinks=0"};
enum { N_SPECS = sizeof specs / sizeof *specs };

/* Whether rows of a tile share their scales, so that new ones get a layer of their own. */
static bool layers(int run)
{
    return run % 2 == TADA_K || strstr(specs[run / 2], "centre");
}

static float x[CELLS * WIDTH];
static uint16_t was[CELLS * WIDTH], is[CELLS * WIDTH];

static void read_all(const test_plane *p, uint16_t *rows)
{
    assert_int_equal(tada_plane_read(p->plane, 0, CELLS, rows, threads_of(1), NULL), TADA_OK);
}

static void write_cells(const test_plane *p, tada_pool *pool, const float *rows, int64_t first, int64_t n)
{
    write_rows(p->plane, pool, rows + first * WIDTH, TADA_F32, WIDTH, first, n, 64);
}

/* All cells but [from, to) read as they did. */
static void same_but(const char *spec, int64_t from, int64_t to)
{
    for (int64_t i = 0; i < CELLS; i++) {
        if ((i < from || i >= to) && memcmp(was + i * WIDTH, is + i * WIDTH, WIDTH * 2) != 0) {
            fail_msg("%s: cell %lld changes when [%lld, %lld) are written", spec, (long long)i,
                     (long long)from, (long long)to);
        }
    }
}

/* The end of a tile is written anew, again and again, as with a prompt that is cached and answers that
 * differ. */
static void rows_stay(void **state)
{
    (void)state;
    enum { TILE = 2 * 64, END = TILE + 64, OTHER = 4 * 64 };
    for (int run = 0; run < 2 * N_SPECS; run++) {
        test_plane p = plane_of(specs[run / 2], (enum tada_kind)(run % 2), WIDTH, CELLS, 1, HEAD);
        tada_pool *pool = tada_pool_create();
        int64_t lowest = END;
        fill(x, CELLS, WIDTH, run % 2);
        write_cells(&p, pool, x, 0, OTHER + 1);
        read_all(&p, was);
        for (int turn = 0; turn < 100; turn++) {
            int64_t from = TILE + 1 + random_below(63);
            lowest = from < lowest ? from : lowest;
            fill(x + from * WIDTH, END - from, WIDTH, run % 2);
            write_cells(&p, pool, x, from, END - from);
            /* And the tile is left. */
            write_cells(&p, pool, x, OTHER, 1);
            read_all(&p, is);
            same_but(specs[run / 2], lowest, END);
            assert_int_equal(stats_of(p.plane).layered, layers(run));
        }
        assert_true(layers(run) || stats_of(p.plane).merges == 0);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* Some rows of a prompt are ten times as large as the others, and so are some of each answer that follows it
 * in a tile: neither size of the prompt's rows is encoded again with those of an answer. */
static void rows_of_two_sizes_stay(void **state)
{
    (void)state;
    enum { TILE = 2 * 64, FROM = TILE + 40, END = TILE + 64, OTHER = 4 * 64 };
    for (int run = 0; run < 2 * N_SPECS; run++) {
        test_plane p = plane_of(specs[run / 2], (enum tada_kind)(run % 2), WIDTH, CELLS, 1, HEAD);
        tada_pool *pool = tada_pool_create();
        fill(x, CELLS, WIDTH, 0);
        for (int turn = 0; turn < 20; turn++) {
            int64_t from = turn == 0 ? TILE : FROM;
            fill(x + from * WIDTH, END - from, WIDTH, 0);
            for (int64_t i = from; i < END; i++) {
                bool large = random_below(4) == 0 || i == TILE;
                for (int d = 0; d < WIDTH && large; d++) {
                    x[i * WIDTH + d] *= 10;
                }
            }
            write_cells(&p, pool, x, turn == 0 ? 0 : from, turn == 0 ? OTHER : END - from);
            write_cells(&p, pool, x, OTHER, 1);
            read_all(&p, is);
            if (turn > 0) {
                same_but(specs[run / 2], FROM, END);
            }
            memcpy(was, is, sizeof was);
        }
        assert_int_equal(stats_of(p.plane).merges, 0);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* Many tiles are written in four turns: more layers than a stream has room for. The first ones stay. */
static void first_layers_stay(void **state)
{
    (void)state;
    enum { N = 9, TURN = 16 };
    for (int run = 0; run < 2 * N_SPECS; run++) {
        test_plane p = plane_of(specs[run / 2], (enum tada_kind)(run % 2), WIDTH, CELLS, 1, HEAD);
        tada_pool *pool = tada_pool_create();
        fill(x, CELLS, WIDTH, 0);
        for (int turn = 0; turn < 64 / TURN; turn++) {
            for (int64_t tile = 1; tile <= N; tile++) {
                write_cells(&p, pool, x, tile * 64 + (int64_t)turn * TURN, TURN);
            }
            /* And the last ones are left. */
            write_cells(&p, pool, x, (N + 2) * 64, 3 * 64);
            read_all(&p, turn == 0 ? was : is);
            for (int64_t tile = 1; tile <= N && turn > 0 && strstr(specs[run / 2], "refine=off"); tile++) {
                assert_memory_equal(was + tile * 64 * WIDTH, is + tile * 64 * WIDTH, TURN * WIDTH * 2);
            }
        }
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* A tile that is opened, and of which nothing is written but what was there, has its codes afterwards. */
static void nothing_new(void **state)
{
    (void)state;
    for (int run = 0; run < 2 * N_SPECS; run++) {
        test_plane p = plane_of(specs[run / 2], (enum tada_kind)(run % 2), WIDTH, CELLS, 1, HEAD);
        tada_pool *pool = tada_pool_create();
        fill(x, CELLS, WIDTH, 0);
        write_cells(&p, pool, x, 0, 5 * 64);
        read_all(&p, was);
        int64_t compressions = stats_of(p.plane).compressions, cell = 64 + random_below(64);
        write_rows(p.plane, pool, was + cell * WIDTH, TADA_F16, WIDTH, cell, 1, 1);
        write_rows(p.plane, pool, was + 4 * 64 * WIDTH, TADA_F16, WIDTH, 4 * 64, 1, 1);
        read_all(&p, is);
        /* The tile that was hot has been encoded meanwhile. */
        same_but(specs[run / 2], 4 * 64, CELLS);
        /* What had been hot meanwhile may have been encoded. */
        assert_in_range(stats_of(p.plane).compressions, compressions, compressions + 1);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* A full plane has no slot for layers: they are merged, which is counted, and no row goes astray. */
static void full(void **state)
{
    (void)state;
    for (int run = 0; run < 2 * N_SPECS; run++) {
        test_plane p = plane_of(specs[run / 2], (enum tada_kind)(run % 2), WIDTH, CELLS, 1, HEAD);
        tada_pool *pool = tada_pool_create();
        fill(x, CELLS, WIDTH, 0);
        write_cells(&p, pool, x, 0, CELLS);
        for (int turn = 0; turn < 40; turn++) {
            int64_t first = random_below(CELLS - 30), n = 1 + random_below(30);
            fill(x + first * WIDTH, n, WIDTH, 0);
            write_cells(&p, pool, x, first, n);
            tada_plane_stats stats = stats_of(p.plane);
            assert_int_equal(stats.written, CELLS);
            assert_int_equal(stats.hot + stats.cold, TILES);
        }
        read_all(&p, is);
        double squares = 0;
        for (int64_t i = 0; i < (int64_t)CELLS * WIDTH; i++) {
            double d = half_value(is[i]) - (double)x[i];
            squares += d * d;
        }
        /* Of rows of variance 1, with 3 bits at least: what a step of a fifth of their range gives, twice. */
        assert_true(sqrt(squares / (CELLS * WIDTH)) < 0.5);
        assert_int_equal(stats_of(p.plane).merges > 0, layers(run));
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* A plane of n cells, a multiple of 64, of which [from, to) were written again after their tile was left:
 * they are its second layer, where rows share their scales. `was` is what it reads as. */
static test_plane layered_plane(const char *spec, int kind, tada_pool *pool, int64_t n, int64_t from,
                                int64_t to)
{
    test_plane p = plane_of(spec, (enum tada_kind)kind, WIDTH, CELLS, 1, HEAD);
    fill(x, CELLS, WIDTH, 0);
    write_cells(&p, pool, x, 0, n);
    fill(x + from * WIDTH, to - from, WIDTH, 0);
    write_cells(&p, pool, x, from, to - from);
    write_cells(&p, pool, x, n - 64, 1);
    read_all(&p, was);
    return p;
}

/* Rows of one layer change, or all of them go: those of the other one stay as they are. */
static void edits(void **state)
{
    (void)state;
    enum { FROM = 64 + 20, TO = 64 + 45 };
    for (int run = 0; run < 2 * N_SPECS; run++) {
        tada_pool *pool = tada_pool_create();
        test_plane p = layered_plane(specs[run / 2], run % 2, pool, 5 * 64, FROM, TO);
        static uint8_t chosen[CELLS];
        assert_int_equal(stats_of(p.plane).layered, layers(run));
        memset(chosen, 0, sizeof chosen);
        chosen[FROM + random_below(TO - FROM)] = 1;
        assert_int_equal(tada_plane_edit(p.plane, chosen, negate_rows, &(int){WIDTH}, threads_of(2), NULL),
                         TADA_OK);
        read_all(&p, is);
        same_but(specs[run / 2], FROM, TO);
        assert_int_equal(stats_of(p.plane).layered, layers(run));
        read_all(&p, was);
        memset(chosen, 0, sizeof chosen);
        chosen[FROM - 1 - random_below(10)] = chosen[TO + random_below(10)] = 1;
        assert_int_equal(tada_plane_edit(p.plane, chosen, negate_rows, &(int){WIDTH}, threads_of(1), NULL),
                         TADA_OK);
        read_all(&p, is);
        assert_memory_equal(was + FROM * WIDTH, is + FROM * WIDTH, (TO - FROM) * WIDTH * 2);
        assert_memory_not_equal(was, is, sizeof is);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

static bool to_zeros(void *context, int thread, const int64_t *cells, int n, uint16_t *rows)
{
    (void)context;
    (void)thread;
    (void)cells;
    memset(rows, 0, (size_t)n * WIDTH * 2);
    return true;
}

/* Rows of a layer, of the other one, and at last sinks become zeros. */
static void edits_take_away(void **state)
{
    (void)state;
    enum { FROM = 20, TO = 45 };
    for (int run = 0; run < 4; run++) {
        tada_pool *pool = tada_pool_create();
        test_plane p = layered_plane("tada:4/3:sinks=7:window=0", run % 2, pool, 3 * 64, FROM, TO);
        static uint8_t chosen[CELLS];
        for (int step = 0; step < 3; step++) {
            memset(chosen, 0, sizeof chosen);
            for (int i = 0; i < 64; i++) {
                bool second = i >= FROM && i < TO;
                chosen[i] = step == 2 || (i >= 7 && second == ((step + run / 2) % 2 == 0));
                memset(was + i * WIDTH, 0, chosen[i] ? WIDTH * 2 : 0);
            }
            assert_int_equal(tada_plane_edit(p.plane, chosen, to_zeros, NULL, threads_of(1), NULL), TADA_OK);
            read_all(&p, is);
            assert_memory_equal(was, is, sizeof is);
            assert_int_equal(stats_of(p.plane).layered, 0);
        }
        assert_int_equal(stats_of(p.plane).written, 2 * 64);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

enum { AT_ONCE, AGAIN, SECOND_HALVES, N_ORDERS };

/* The mean error of rows of usual size in three tiles, in which those of every other cell are `times` as
 * large; there are slots for all. AGAIN: some are written again when the tiles have been left. SECOND_HALVES:
 * only there are rows that are so large, and they come when the first halves have been left. */
static double error_beside(const char *spec, float times, int order)
{
    enum { CASE = 3 * 64, END = 5 * 64 };
    test_plane p = plane_of(spec, TADA_K, WIDTH, CELLS, 1, HEAD);
    tada_pool *pool = tada_pool_create();
    static float rows[END * WIDTH];
    static bool large[END];
    for (int64_t i = 0; i < END; i++) {
        large[i] = i % 2 == 0 && i < CASE && (order != SECOND_HALVES || i % 64 >= 32);
        for (int d = 0; d < WIDTH; d++) {
            rows[i * WIDTH + d] = x[i * WIDTH + d] * (large[i] ? times : 1);
        }
    }
    for (int64_t tile = 0; tile < 3 && order == SECOND_HALVES; tile++) {
        write_cells(&p, pool, rows, tile * 64, 32);
    }
    if (order == SECOND_HALVES) {
        write_cells(&p, pool, rows, CASE, 64);
    }
    for (int64_t tile = 0; tile < 3 && order == SECOND_HALVES; tile++) {
        write_cells(&p, pool, rows, tile * 64 + 32, 32);
    }
    write_cells(&p, pool, rows, order == SECOND_HALVES ? CASE : 0, order == SECOND_HALVES ? END - CASE : END);
    for (int64_t i = 1; i < CASE && order == AGAIN; i += 1 + random_below(5)) {
        fill(rows + i * WIDTH, 1, WIDTH, 0);
        for (int d = 0; d < WIDTH; d++) {
            rows[i * WIDTH + d] *= large[i] ? times : 1;
        }
        write_cells(&p, pool, rows, i, 1);
    }
    write_cells(&p, pool, rows, CASE, END - CASE);
    read_all(&p, is);
    double squares = 0, n = 0;
    for (int64_t i = 0; i < CASE; i++) {
        for (int d = 0; d < WIDTH && !large[i]; d++) {
            double e = half_value(is[i * WIDTH + d]) - (double)rows[i * WIDTH + d];
            squares += e * e;
            n++;
        }
    }
    plane_done(&p);
    tada_pool_free(pool);
    return sqrt(squares / n);
}

/* Rows of another sequence that are ten times as large spoil nothing. */
static void neighbours(void **state)
{
    (void)state;
    for (int run = 0; run < 3 * N_ORDERS; run++) {
        const char *spec = specs[run % 3];
        fill(x, CELLS, WIDTH, 0);
        double quiet = error_beside(spec, 1, run / 3), noisy = error_beside(spec, 10, run / 3);
        if (!(noisy <= 1.3 * quiet)) {
            fail_msg("%s, order %d: error %g beside rows ten times as large, %g beside others", spec, run / 3,
                     noisy, quiet);
        }
    }
}

/* Each tile that becomes one layer again counts once, and one that was never encoded does not. */
static void merges_count(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        test_plane p = plane_of("tada:4/4:sinks=0", (enum tada_kind)kind, WIDTH, CELLS, 1, HEAD);
        tada_pool *pool = tada_pool_create();
        fill(x, CELLS, WIDTH, 0);
        for (int64_t i = 0; i < CELLS; i += 2) {
            for (int d = 0; d < WIDTH; d++) {
                x[i * WIDTH + d] *= 10;
            }
        }
        /* All at once: a tile gets no layers where there are no slots for them. */
        write_rows(p.plane, pool, x, TADA_F32, WIDTH, 0, CELLS, CELLS);
        assert_int_equal(stats_of(p.plane).merges, 0);
        for (int turn = 1; turn <= 20; turn++) {
            int64_t merges = stats_of(p.plane).merges;
            write_cells(&p, pool, x, random_below(CELLS - 64), 1 + random_below(64));
            /* Of the three tiles that are open then at most. */
            assert_in_range(stats_of(p.plane).merges, merges, merges + 3);
        }
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* The holes that context shifts leave are filled with new rows, so that each tile gets a second layer. Where
 * all refinements have room if layers are merged, they are, and none is lost: rows change by what a
 * refinement leaves, not by what it gives. */
static void holes(void **state)
{
    (void)state;
    enum { USED = 11, AFTER = USED * 64 };
    for (int run = 0; run < 3; run++) {
        test_plane p = plane_of(specs[run], TADA_K, WIDTH, CELLS, 1, HEAD);
        tada_pool *pool = tada_pool_create();
        fill(x, CELLS, WIDTH, 0);
        write_cells(&p, pool, x, 0, AFTER + 64);
        for (int64_t at = 4; at + 64 <= AFTER; at += 64) {
            fill(x + at * WIDTH, 64, WIDTH, 0);
            write_cells(&p, pool, x, at, 64);
            write_cells(&p, pool, x, AFTER, 1);
        }
        tada_plane_stats stats = stats_of(p.plane);
        assert_int_equal(stats.refined, stats.cold);
        assert_in_range(stats.merges, 1, USED);
        read_all(&p, was);
        double lost = 0, size = 0;
        for (int64_t i = 0; i < AFTER * WIDTH; i++) {
            double d = half_value(was[i]) - x[i];
            lost += d * d;
            size += (double)x[i] * x[i];
        }
        /* Of codes alone: 0.005 and more. */
        assert_true(lost < 0.001 * size);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

TEST_MAIN(cmocka_unit_test(holes), cmocka_unit_test(rows_stay), cmocka_unit_test(rows_of_two_sizes_stay),
          cmocka_unit_test(first_layers_stay), cmocka_unit_test(nothing_new), cmocka_unit_test(full),
          cmocka_unit_test(neighbours), cmocka_unit_test(merges_count), cmocka_unit_test(edits),
          cmocka_unit_test(edits_take_away))
