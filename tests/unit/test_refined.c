/* Which cold tiles have a refinement: those written last, as long as there is memory that codes do not need.
 */
#include "support.h"

enum {
    WIDTH = 128,
    HEAD = 64,
    TILES = 40,
    CELLS = TILES * 64,
    STREAMS = 2,
    TOTAL = STREAMS * CELLS,
    SLOTS = TILES /* of a stream with a window of 64: all tiles but the one that is written, and one more */
};

static float x[TOTAL * WIDTH];
static uint16_t exact[TOTAL * WIDTH];

static void random_rows(void)
{
    fill(x, TOTAL, WIDTH, 0);
    for (int64_t i = 0; i < (int64_t)TOTAL * WIDTH; i++) {
        exact[i] = half_round(x[i]);
    }
}

static uint16_t *rows_of(const test_plane *p)
{
    uint16_t *rows = malloc(sizeof exact);
    assert_int_equal(tada_plane_read(p->plane, 0, TOTAL, rows, threads_of(2), NULL), TADA_OK);
    return rows;
}

static void same_rows(const test_plane *a, const test_plane *b)
{
    uint16_t *of_a = rows_of(a), *of_b = rows_of(b);
    assert_memory_equal(of_a, of_b, sizeof exact);
    free(of_a);
    free(of_b);
}

static void write_tiles(const test_plane *p, tada_pool *pool, int64_t first, int64_t n, int64_t batch)
{
    write_rows(p->plane, pool, x + first * 64 * WIDTH, TADA_F32, WIDTH, first * 64, n * 64, batch);
}

enum { NONE = '.', HOT = 'h', COLD = 'c', REFINED = 'r' };

static double limit; /* errors of refined tiles of the last plane are below it, those of others above */

static double tile_error(const uint16_t *rows, const uint16_t *wanted, int64_t tile)
{
    double squares = 0;
    for (int64_t i = tile * 64 * WIDTH; i < (tile + 1) * 64 * WIDTH; i++) {
        double d = half_value(rows[i]) - half_value(wanted[i]);
        squares += d * d;
    }
    return sqrt(squares / (64 * WIDTH));
}

/* Half of what a tile without refinement has. */
static double limit_of(const char *text, enum tada_kind kind, tada_pool *pool)
{
    char spec[120];
    /* Without its options. */
    size_t n = strcspn(text, "=");
    while (text[n] && n > 0 && text[n] != ':') {
        n--;
    }
    snprintf(spec, sizeof spec, "%.*s:sinks=0:window=0:refine=off", (int)n, text);
    test_plane p = plane_of(spec, kind, WIDTH, CELLS, STREAMS, HEAD);
    write_tiles(&p, pool, 0, 2, 128);
    assert_int_equal(stats_of(p.plane).cold, 1);
    assert_int_equal(stats_of(p.plane).refined, 0);
    uint16_t *rows = rows_of(&p);
    double half = tile_error(rows, exact, 0) / 2;
    free(rows);
    plane_done(&p);
    return half;
}

static test_plane plane_for(const char *spec, enum tada_kind kind, tada_pool *pool)
{
    limit = limit_of(spec, kind, pool);
    return plane_of(spec, kind, WIDTH, CELLS, STREAMS, HEAD);
}

/* What each tile is, told from how near its rows are to `wanted`. */
static void look(const test_plane *p, const uint16_t *wanted, char *text)
{
    uint16_t *rows = rows_of(p);
    for (int64_t tile = 0; tile < TOTAL / 64; tile++) {
        double error = tile_error(rows, wanted, tile);
        bool written = false;
        for (int64_t i = tile * 64 * WIDTH; i < (tile + 1) * 64 * WIDTH; i++) {
            written = written || rows[i];
        }
        text[tile] = (char)(!written ? NONE : error == 0 ? HOT : error < limit ? REFINED : COLD);
    }
    text[TOTAL / 64] = '\0';
    free(rows);
}

static int64_t count(const char *text, char what)
{
    int64_t n = 0;
    for (; *text; text++) {
        n += *text == what;
    }
    return n;
}

/* All tiles, stream after stream, are as `wanted` says, and are counted so. */
static void expect_of(const test_plane *p, const uint16_t *rows, const char *wanted)
{
    char is[TOTAL / 64 + 1];
    tada_plane_stats stats = stats_of(p->plane);
    look(p, rows, is);
    if (strcmp(is, wanted) != 0) {
        fail_msg("tiles are\n%s instead of\n%s", is, wanted);
    }
    assert_int_equal(stats.hot, count(wanted, HOT));
    assert_int_equal(stats.refined, count(wanted, REFINED));
    assert_int_equal(stats.cold, stats.refined + count(wanted, COLD));
}

static void expect(const test_plane *p, const char *wanted)
{
    expect_of(p, exact, wanted);
}

/* n tiles of a stream, written in order, the last one hot. */
static void in_order(int64_t n, int64_t slots, int64_t most, char *text)
{
    int64_t cold = n - 1, refined = cold < slots - cold ? cold : slots - cold;
    refined = refined < most ? refined : most;
    for (int64_t i = 0; i < TILES; i++) {
        text[i] = (char)(i >= n ? NONE : i == n - 1 ? HOT : i >= cold - refined ? REFINED : COLD);
    }
    text[TILES] = '\0';
}

static const char *const specs[] = {"tada:sinks=0", "tada:high:sinks=0",
                                    "tada:3:k.widths=equal:scale=16:sinks=0",
                                    "tada:4/4:window=64:window_bits=8:sinks=0"};
enum { N_SPECS = sizeof specs / sizeof *specs };

static void fills(void **state)
{
    (void)state;
    random_rows();
    tada_pool *pool = tada_pool_create();
    for (int run = first_case(2 * N_SPECS); run < 2 * N_SPECS; run += quick()) {
        test_plane p = plane_for(specs[run / 2], (enum tada_kind)(run % 2), pool);
        int64_t written = 0;
        for (int percent = 25; percent <= 100; percent += percent == 50 || percent == 90 ? 10 : 15) {
            char wanted[2 * TILES + 1];
            int64_t n = TILES * percent / 100;
            write_tiles(&p, pool, written, n - written, 1 + random_below(200));
            written = n;
            in_order(n, SLOTS, TILES, wanted);
            memset(wanted + TILES, NONE, TILES);
            wanted[2 * TILES] = '\0';
            expect(&p, wanted);
        }
        assert_int_equal(written, TILES);
        /* Only the window is refined then. */
        assert_int_equal(stats_of(p.plane).refined, 1);
        /* Of the other stream, all are that were. */
        write_tiles(&p, pool, TILES, TILES / 2, 100);
        char all[2 * TILES + 1];
        in_order(TILES, SLOTS, TILES, all);
        in_order(TILES / 2, SLOTS, TILES, all + TILES);
        expect(&p, all);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

/* Tiles in any order: those written longest ago give up theirs first. */
static void written_longest_ago(void **state)
{
    (void)state;
    random_rows();
    tada_pool *pool = tada_pool_create();
    for (int run = first_case(6); run < 6; run += quick()) {
        test_plane p = plane_for(specs[run % N_SPECS], (enum tada_kind)(run % 2), pool);
        int64_t order[TILES], n = TILES * (5 + random_below(6)) / 10;
        for (int64_t i = 0; i < TILES; i++) {
            order[i] = i;
        }
        for (int i = TILES - 1; i > 0; i--) {
            int j = random_below(i + 1);
            int64_t other = order[i];
            order[i] = order[j];
            order[j] = other;
        }
        char in_turn[TILES + 1], wanted[2 * TILES + 1];
        memset(wanted, NONE, 2 * TILES);
        wanted[2 * TILES] = '\0';
        in_order(n, SLOTS, TILES, in_turn);
        for (int64_t i = 0; i < n; i++) {
            write_tiles(&p, pool, order[i], 1, 64);
            wanted[order[i]] = in_turn[i];
        }
        expect(&p, wanted);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

enum { QUERIES = 2, SEEN = 20 };

/* Two queries of stream 0 over its first `cells` cells, of which they do not see those in tiles [from, to),
 * tell the planes of K and V what they saw. */
static void attend(const test_plane *k, const test_plane *v, int64_t cells, int64_t from, int64_t to)
{
    static float q[QUERIES * WIDTH], out[QUERIES * WIDTH];
    static uint16_t mask[QUERIES * CELLS];
    tada_attention a;
    tada_attention_job *job;
    tada_attention_init(&a, k->plane, v->plane, WIDTH / HEAD, WIDTH / HEAD, QUERIES);
    a.n_streams = 1;
    a.n_cells = cells;
    for (int64_t i = 0; i < QUERIES * cells; i++) {
        int64_t tile = i % cells / 64;
        mask[i] = tile >= from && tile < to ? 0xfc00 : 0;
    }
    a.q = q;
    a.out = out;
    a.mask = from < to ? mask : NULL;
    a.mask_heads = a.mask_streams = 1;
    a.mask_query = a.mask_head = a.mask_stream = (size_t)cells * sizeof *mask;
    assert_int_equal(tada_attention_plan(&a, &job, NULL), TADA_OK);
    void *shared = aligned_alloc(64, tada_attention_job_shared(job) + 64),
         *scratch = aligned_alloc(64, tada_attention_job_scratch(job) + 64);
    tada_attention_look(job, NULL);
    tada_attention_work(job, 0, 1, shared, scratch);
    tada_attention_tell(job, k->plane);
    tada_attention_tell(job, v->plane);
    tada_attention_job_free(job);
    free(shared);
    free(scratch);
}

/* Tiles that attention does not see give theirs up before older ones that it sees: those that are masked, and
 * those beyond its end. What is not seen of one stream changes nothing in another. */
static void not_seen(void **state)
{
    (void)state;
    random_rows();
    tada_pool *pool = tada_pool_create();
    for (int run = first_case(N_SPECS); run < N_SPECS; run += quick()) {
        test_plane planes[2] = {plane_of(specs[run], TADA_K, WIDTH, CELLS, STREAMS, HEAD),
                                plane_of(specs[run], TADA_V, WIDTH, CELLS, STREAMS, HEAD)};
        for (int i = 0; i < 2; i++) {
            write_tiles(&planes[i], pool, 0, 24, 512);
            write_tiles(&planes[i], pool, TILES, 24, 512);
        }
        attend(&planes[0], &planes[1], SEEN * 64, 8, 12);
        for (int i = 0; i < 2; i++) {
            write_tiles(&planes[i], pool, 24, 2, 64);
        }
        const char *first = "ccccccrrccccrrrrrrrrrrrrrh..............",
                   *second = "ccccccrrrrrrrrrrrrrrrrrh................",
                   *third = "ccccccccccccrrrrrrrrrrrrrrh.............";
        for (int i = 0; i < 2; i++) {
            char wanted[2 * TILES + 1];
            limit = limit_of(specs[run], (enum tada_kind)i, pool);
            snprintf(wanted, sizeof wanted, "%s%s", first, second);
            expect(&planes[i], wanted);
        }
        /* They are seen again. */
        attend(&planes[0], &planes[1], CELLS, 0, 0);
        for (int i = 0; i < 2; i++) {
            char wanted[2 * TILES + 1];
            limit = limit_of(specs[run], (enum tada_kind)i, pool);
            snprintf(wanted, sizeof wanted, "%s%s", third, second);
            write_tiles(&planes[i], pool, 26, 1, 64);
            expect(&planes[i], wanted);
            plane_done(&planes[i]);
        }
    }
    tada_pool_free(pool);
}

/* A tile that is written again is the last one; what it had goes to others. */
static void written_again(void **state)
{
    (void)state;
    random_rows();
    tada_pool *pool = tada_pool_create();
    for (int kind = first_case(2); kind < 2; kind += quick()) {
        test_plane p = plane_for("tada:4/4:sinks=0", (enum tada_kind)kind, pool);
        char wanted[2 * TILES + 1];
        write_tiles(&p, pool, 0, TILES, 512);
        in_order(TILES, SLOTS, TILES, wanted);
        memset(wanted + TILES, NONE, TILES);
        wanted[2 * TILES] = '\0';
        expect(&p, wanted);
        write_tiles(&p, pool, 3, 1, 64);
        wanted[3] = HOT;
        wanted[TILES - 2] = COLD;
        wanted[TILES - 1] = REFINED;
        expect(&p, wanted);
        /* Without rows, tiles need no slots. */
        static const float zeros[8 * 64 * WIDTH];
        write_rows(p.plane, pool, zeros, TADA_F32, WIDTH, 10 * 64, 8 * 64, 512);
        memset(wanted + 10, NONE, 8);
        expect(&p, wanted);
        write_tiles(&p, pool, 10, 3, 64);
        wanted[10] = wanted[11] = wanted[3] = REFINED;
        wanted[12] = HOT;
        expect(&p, wanted);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

/* One state by every way: rows in any batches, on any threads. */
static void one_state(void **state)
{
    (void)state;
    static const int batches[] = {64, 512, 7};
    random_rows();
    tada_pool *pool = tada_pool_create();
    for (int run = first_case(2 * N_SPECS); run < 2 * N_SPECS; run += quick()) {
        for (int64_t n = CELLS * 4 / 10 + 30; n <= CELLS; n += CELLS * 3 / 10 - 10) {
            test_plane p[3];
            for (int i = 0; i < 3; i++) {
                int64_t cells[512], at[STREAMS] = {0};
                p[i] = plane_of(specs[run / 2], (enum tada_kind)(run % 2), WIDTH, CELLS, STREAMS, HEAD);
                while (at[0] < n || at[1] < n) {
                    int64_t s = at[0] <= at[1] ? 0 : 1, first = s * CELLS + at[s],
                            part = n - at[s] < batches[i] ? n - at[s] : batches[i];
                    for (int64_t j = 0; j < part; j++) {
                        cells[j] = first + j;
                    }
                    assert_int_equal(tada_plane_write(p[i].plane, pool, x + first * WIDTH, TADA_F32,
                                                      WIDTH * 4, cells, part, NULL),
                                     TADA_OK);
                    assert_int_equal(tada_plane_settle(p[i].plane, threads_of(i + 1), NULL), TADA_OK);
                    at[s] += part;
                }
                same_rows(&p[i], &p[0]);
                assert_int_equal(stats_of(p[i].plane).refined, stats_of(p[0].plane).refined);
                assert_int_equal(stats_of(p[i].plane).compressions, stats_of(p[0].plane).compressions);
            }
            for (int i = 0; i < 3; i++) {
                plane_done(&p[i]);
            }
        }
    }
    tada_pool_free(pool);
}

static void off(void **state)
{
    (void)state;
    random_rows();
    tada_pool *pool = tada_pool_create();
    for (int window = 64 * first_case(4); window <= 192; window += 64 * quick()) {
        char spec[80], wanted[2 * TILES + 1];
        snprintf(spec, sizeof spec, "tada:4/3:sinks=0:refine=off:window=%d", window);
        tada_spec with = spec_of(spec), without = with;
        const tada_shape shape = {TADA_K, WIDTH, CELLS, STREAMS, HEAD};
        without.refine = TADA_REFINE_ON;
        assert_int_equal(tada_plane_bytes(&with, &shape), tada_plane_bytes(&without, &shape));
        without.refine = (enum tada_refine)2;
        assert_int_equal(tada_plane_bytes(&without, &shape), 0);
        test_plane p = plane_for(spec, TADA_V, pool);
        write_tiles(&p, pool, TILES, 2, 64);
        write_tiles(&p, pool, 0, TILES / 2, 300);
        in_order(TILES / 2, SLOTS, window / 64, wanted);
        in_order(2, SLOTS, window / 64, wanted + TILES);
        expect(&p, wanted);
        write_tiles(&p, pool, TILES / 2, TILES / 2, 100);
        in_order(TILES, SLOTS + 2, window / 64, wanted);
        wanted[TILES] = window ? REFINED : COLD;
        expect(&p, wanted);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

/* An open tile takes no place in the window of refine=off, and finds its own again. */
static void off_opened(void **state)
{
    (void)state;
    random_rows();
    tada_pool *pool = tada_pool_create();
    for (int kind = 0; kind < 2; kind++) {
        test_plane p = plane_of("tada:4/3:sinks=0:refine=off:window=128", (enum tada_kind)kind, WIDTH, CELLS,
                                STREAMS, HEAD);
        write_tiles(&p, pool, 0, 10, 300);
        uint16_t *was = rows_of(&p);
        for (int64_t tile = 8; tile < 10; tile++) {
            write_rows(p.plane, pool, was + tile * 64 * WIDTH, TADA_F16, WIDTH, tile * 64, 1, 1);
            assert_int_equal(stats_of(p.plane).refined, 2);
            uint16_t *is = rows_of(&p);
            /* All but the tile that was hot. */
            assert_memory_equal(was, is, 9 * 64 * WIDTH * 2);
            free(is);
        }
        free(was);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

/* Windows in f16 stay hot, and so do those of recipes without a refinement. */
static void windows_in_f16(void **state)
{
    (void)state;
    static const char *const others[] = {"tada:4/4:window=128:window_bits=16:sinks=0",
                                         "tada:8:window=128:window_bits=8:sinks=0",
                                         "tada:4:centre=tokens:window=128:sinks=0",
                                         "tada:4:scale=32:window=128:window_bits=8:sinks=0",
                                         "tada:paper",
                                         "kivi:4"};
    random_rows();
    tada_pool *pool = tada_pool_create();
    enum { N_OTHERS = sizeof others / sizeof *others };
    for (int i = first_case(N_OTHERS); i < N_OTHERS; i += quick()) {
        tada_spec spec = spec_of(others[i]), other = spec;
        const tada_shape shape = {TADA_K, WIDTH, CELLS, STREAMS, HEAD};
        other.window_bits = 16;
        assert_int_equal(tada_plane_bytes(&spec, &shape), tada_plane_bytes(&other, &shape));
        test_plane p = plane_of(others[i], TADA_K, WIDTH, CELLS, STREAMS, HEAD);
        write_tiles(&p, pool, 0, 13, 100);
        tada_plane_stats stats = stats_of(p.plane);
        assert_int_equal(stats.hot, 3);
        assert_int_equal(stats.cold, 10);
        /* There is room for the refinement of what is not in the window. */
        assert_int_equal(stats.refined, i == 0 ? 10 : 0);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

static void copies_and_clears(void **state)
{
    (void)state;
    random_rows();
    tada_pool *pool = tada_pool_create();
    for (int kind = first_case(2); kind < 2; kind += quick()) {
        test_plane p = plane_of("tada", (enum tada_kind)kind, WIDTH, CELLS, STREAMS, 0);
        tada_plane_set_head_dim(p.plane, HEAD);
        for (int turn = 0; turn < 3; turn++) {
            int64_t n = turn == 0 ? TILES * 3 / 4 : turn == 1 ? TILES / 4 : TILES;
            write_tiles(&p, pool, TILES, TILES / 2, 512);
            write_tiles(&p, pool, 0, n, 512);
            tada_plane_stats before = stats_of(p.plane);
            int64_t refined = before.refined - (TILES / 2 - 1);
            assert_true(refined > 0);
            assert_int_equal(tada_plane_copy_stream(p.plane, pool, 0, 1, threads_of(2), NULL), TADA_OK);
            tada_plane_stats after = stats_of(p.plane);
            assert_int_equal(after.refined, 2 * refined);
            assert_int_equal(after.cold, 2 * (n - 1));
            assert_int_equal(after.compressions, before.compressions);
            uint16_t *rows = rows_of(&p);
            assert_memory_equal(rows, rows + CELLS * WIDTH, CELLS * WIDTH * 2);
            free(rows);
            tada_plane_clear(p.plane);
            assert_int_equal(stats_of(p.plane).refined + stats_of(p.plane).cold, 0);
        }
        plane_done(&p);
    }
    tada_pool_free(pool);
}

/* What is refined stays so when it is changed, and what is not does not. */
static void edits(void **state)
{
    (void)state;
    static uint8_t chosen[TOTAL];
    static uint16_t changed[TOTAL * WIDTH];
    random_rows();
    tada_pool *pool = tada_pool_create();
    for (int kind = first_case(2); kind < 2; kind += quick()) {
        char wanted[2 * TILES + 1];
        test_plane p = plane_for("tada:4/3:sinks=0", (enum tada_kind)kind, pool);
        write_tiles(&p, pool, 0, TILES * 3 / 4, 512);
        in_order(TILES * 3 / 4, SLOTS, TILES, wanted);
        memset(wanted + TILES, NONE, TILES);
        wanted[2 * TILES] = '\0';
        expect(&p, wanted);
        for (int64_t i = 0; i < (int64_t)TOTAL * WIDTH; i++) {
            chosen[i / WIDTH] = i / WIDTH / 64 % 3 != 1;
            changed[i] = exact[i] ^ (chosen[i / WIDTH] ? 0x8000 : 0);
        }
        tada_plane_stats before = stats_of(p.plane);
        assert_int_equal(tada_plane_edit(p.plane, chosen, negate_rows, &(int){WIDTH}, threads_of(2), NULL),
                         TADA_OK);
        expect_of(&p, changed, wanted);
        assert_int_equal(stats_of(p.plane).reopens, before.reopens);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

/* Rows that come back as they were read, to tiles that are refined or not, change nothing. */
static void comes_back(void **state)
{
    (void)state;
    random_rows();
    tada_pool *pool = tada_pool_create();
    for (int run = first_case(2 * N_SPECS); run < 2 * N_SPECS; run += quick()) {
        test_plane p = plane_of(specs[run / 2], (enum tada_kind)(run % 2), WIDTH, CELLS, STREAMS, HEAD);
        write_tiles(&p, pool, 0, TILES * 3 / 4, 512);
        write_tiles(&p, pool, TILES, TILES, 512);
        uint16_t *was = rows_of(&p);
        tada_plane_stats before = stats_of(p.plane);
        tada_plane_clear(p.plane);
        write_rows(p.plane, pool, was, TADA_F16, WIDTH, 0, TILES * 3 / 4 * 64, 100);
        write_rows(p.plane, pool, was + CELLS * WIDTH, TADA_F16, WIDTH, CELLS, CELLS, CELLS);
        uint16_t *is = rows_of(&p);
        assert_memory_equal(was, is, sizeof exact);
        assert_int_equal(stats_of(p.plane).refined, before.refined);
        free(was);
        free(is);
        plane_done(&p);
    }
    tada_pool_free(pool);
}

TEST_MAIN(cmocka_unit_test(fills), cmocka_unit_test(written_longest_ago), cmocka_unit_test(not_seen),
          cmocka_unit_test(written_again), cmocka_unit_test(one_state), cmocka_unit_test(off),
          cmocka_unit_test(off_opened), cmocka_unit_test(windows_in_f16), cmocka_unit_test(copies_and_clears),
          cmocka_unit_test(edits), cmocka_unit_test(comes_back))
