/* Settling of many planes at once, pools and planes that several threads use, and the threads that are lent.
 */
#include "support.h"

enum { WIDTH = 64, HEAD = 32, CELLS = 500, STREAMS = 2, TOTAL = CELLS * STREAMS, MOST = 8 };

static const char *const specs[] = {"tada",
                                    "tada:refine=off",
                                    "tada:4/3:window=0",
                                    "tada:3.5/3:window=128:window_bits=16",
                                    "kivi:2:window=64:sinks=2",
                                    "tada:16",
                                    "tada:8/8:window=64:sinks=0"};
enum { N_SPECS = sizeof specs / sizeof *specs };

static float rows[TOTAL * WIDTH];

/* The same rows to cells [first, first + n), of which some become zeros. */
static void write_cells(tada_plane *plane, tada_pool *pool, int64_t first, int64_t n)
{
    int64_t cells[TOTAL];
    for (int64_t i = 0; i < n; i++) {
        cells[i] = first + i;
    }
    assert_int_equal(tada_plane_write(plane, pool, rows + first * WIDTH, TADA_F32, WIDTH * 4, cells, n, NULL),
                     TADA_OK);
}

static void same_planes(const tada_plane *got, const tada_plane *want, const char *text)
{
    static uint16_t x[TOTAL * WIDTH], y[TOTAL * WIDTH];
    tada_plane_stats a, b;
    assert_int_equal(tada_plane_read(got, 0, TOTAL, x, NULL, NULL), TADA_OK);
    assert_int_equal(tada_plane_read(want, 0, TOTAL, y, NULL, NULL), TADA_OK);
    tada_plane_get_stats(got, &a);
    tada_plane_get_stats(want, &b);
    if (memcmp(x, y, sizeof x) != 0 || memcmp(&a, &b, sizeof a) != 0) {
        fail_msg("%s: not the same plane", text);
    }
}

typedef struct settling_run {
    tada_settling *settling;
    uint8_t *scratch;
    int idle; /* of each so many threads one has no scratch; 1: none has */
} settling_run;

static void settle_part(void *context, int thread, int n_threads)
{
    const settling_run *r = context;
    (void)n_threads;
    bool idle = r->idle && thread % r->idle == 0;
    tada_settling_work(r->settling,
                       idle ? NULL : r->scratch + tada_settling_scratch(r->settling) * (size_t)thread);
}

static bool all_settled(tada_plane *const *planes, int n)
{
    bool settled = true;
    for (int i = 0; i < n; i++) {
        settled = settled && !tada_plane_unsettled(planes[i]);
    }
    return settled;
}

/* As a program does that has so many threads; 0: end() does it all. */
static void settle(tada_settling *s, tada_plane *const *planes, int n, int n_threads)
{
    tada_error error = {""};
    bool settled = all_settled(planes, n);
    assert_int_equal(tada_settling_begin(s, planes, n, &error), TADA_OK);
    size_t each = tada_settling_scratch(s);
    assert_int_equal(each % 64, 0);
    if (settled || each == 0) {
        assert_int_equal(each, 0);
        assert_true(all_settled(planes, n));
    } else {
        assert_int_equal(tada_settling_begin(s, planes, n, &error), TADA_E_ARGUMENT);
        assert_true(strlen(error.text) > 10);
    }
    settling_run r = {.settling = s, .idle = random_below(4)};
    r.scratch = aligned_alloc(64, each * (size_t)n_threads + 64);
    assert_non_null(r.scratch);
    if (n_threads == 1) {
        settle_part(&r, 0, 1);
    } else if (n_threads > 1) {
        const tada_threads *threads = threads_of(n_threads);
        threads->run(threads->pool, settle_part, &r);
    }
    tada_settling_end(s);
    /* And nothing more. */
    tada_settling_end(s);
    assert_int_equal(tada_settling_scratch(s), 0);
    assert_true(all_settled(planes, n));
    free(r.scratch);
}

static void together(void **state)
{
    (void)state;
    fill(rows, TOTAL, WIDTH, 0);
    for (int i = 0; i < TOTAL; i += 29) {
        memset(rows + (size_t)i * WIDTH, 0, WIDTH * sizeof *rows);
    }
    tada_settling *settling = tada_settling_create();
    assert_non_null(settling);
    /* Nothing is begun yet. */
    tada_settling_work(settling, rows);
    assert_int_equal(tada_settling_scratch(settling), 0);
    tada_settling_end(settling);
    for (int turn = 0; turn < 30 / quick() + 2; turn++) {
        int n = turn == 0 ? 0 : 1 + random_below(MOST);
        test_plane got[MOST], want[MOST];
        tada_plane *planes[MOST];
        char text[400] = "";
        tada_pool *pools[2] = {tada_pool_create(), tada_pool_create()};
        for (int i = 0; i < n; i++) {
            const char *spec = specs[random_below(N_SPECS)];
            enum tada_kind kind = random_below(2) ? TADA_K : TADA_V;
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", spec);
            got[i] = plane_of(spec, kind, WIDTH, CELLS, STREAMS, HEAD);
            want[i] = plane_of(spec, kind, WIDTH, CELLS, STREAMS, HEAD);
            planes[i] = got[i].plane;
        }
        for (int batch = 0; batch < 6; batch++) {
            for (int i = 0; i < n; i++) {
                int64_t first = random_below(TOTAL), most = TOTAL - first < 300 ? TOTAL - first : 300;
                int64_t cells = random_below(5) ? 1 + random_below((int)most) : 0;
                write_cells(got[i].plane, pools[0], first, cells);
                write_cells(want[i].plane, pools[1], first, cells);
                assert_int_equal(tada_plane_settle(want[i].plane, NULL, NULL), TADA_OK);
            }
            settle(settling, planes, n, random_below(5));
            for (int i = 0; i < n; i++) {
                same_planes(got[i].plane, want[i].plane, text);
            }
        }
        for (int i = 0; i < n; i++) {
            plane_done(&got[i]);
            plane_done(&want[i]);
        }
        tada_pool_free(pools[0]);
        tada_pool_free(pools[1]);
    }
    tada_settling_free(settling);
    tada_settling_free(NULL);
}

/* ---- a pool, and a plane, in several threads ---- */

typedef struct user {
    tada_plane *planes[4];
    tada_pool *pool;
} user;

static void use_plane(void *context, int thread, int64_t i)
{
    const user *u = context;
    (void)thread;
    for (int64_t at = 0; at < TOTAL; at += 100) {
        write_cells(u->planes[i], u->pool, at, 100);
        assert_int_equal(tada_plane_settle(u->planes[i], NULL, NULL), TADA_OK);
        if (at % 300 == 0) {
            tada_pool_trim(u->pool);
        }
        assert_true(tada_pool_bytes(u->pool) < (size_t)1 << 30);
    }
}

static void one_pool(void **state)
{
    (void)state;
    fill(rows, TOTAL, WIDTH, 0);
    thread_team *team = team_create(4);
    user users[2] = {{.pool = tada_pool_create()}, {.pool = tada_pool_create()}};
    test_plane planes[2][4];
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < 4; i++) {
            planes[side][i] = plane_of(i < 2 ? "tada" : "tada:4:window=0", i % 2 ? TADA_V : TADA_K, WIDTH,
                                       CELLS, STREAMS, HEAD);
            users[side].planes[i] = planes[side][i].plane;
        }
    }
    team_each(team, 4, use_plane, &users[0]);
    for (int i = 0; i < 4; i++) {
        use_plane(&users[1], 0, i);
        same_planes(users[0].planes[i], users[1].planes[i], "one pool");
    }
    /* Nothing is borrowed, so nothing is kept. */
    tada_pool_trim(users[0].pool);
    assert_int_equal(tada_pool_bytes(users[0].pool), 0);
    write_cells(users[0].planes[2], users[0].pool, 0, TOTAL);
    size_t borrowed = tada_pool_bytes(users[0].pool);
    assert_true(borrowed > 0);
    tada_pool_trim(users[0].pool);
    assert_int_equal(tada_pool_bytes(users[0].pool), borrowed);
    tada_plane_clear(users[0].planes[2]);
    tada_pool_trim(users[0].pool);
    assert_int_equal(tada_pool_bytes(users[0].pool), 0);
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < 4; i++) {
            plane_done(&planes[side][i]);
        }
        tada_pool_free(users[side].pool);
    }
    team_free(team);
}

static uint16_t read[4][TOTAL * WIDTH];

static void read_all(void *context, int thread, int64_t i)
{
    (void)thread;
    assert_int_equal(tada_plane_read(context, 0, TOTAL, read[i], NULL, NULL), TADA_OK);
}

static void readers(void **state)
{
    (void)state;
    fill(rows, TOTAL, WIDTH, 0);
    thread_team *team = team_create(4);
    tada_pool *pool = tada_pool_create();
    test_plane p = plane_of("tada", TADA_K, WIDTH, CELLS, STREAMS, HEAD);
    write_cells(p.plane, pool, 0, TOTAL);
    assert_int_equal(tada_plane_settle(p.plane, team_lend(team), NULL), TADA_OK);
    team_each(team, 4, read_all, p.plane);
    for (int i = 1; i < 4; i++) {
        assert_memory_equal(read[i], read[0], sizeof read[0]);
    }
    assert_int_equal(tada_plane_read(p.plane, 0, TOTAL, read[1], team_lend(team), NULL), TADA_OK);
    assert_memory_equal(read[1], read[0], sizeof read[0]);
    plane_done(&p);
    tada_pool_free(pool);
    team_free(team);
}

/* ---- threads ---- */

static bool no_edit(void *context, int thread, const int64_t *cells, int n, uint16_t *edited)
{
    (void)thread;
    (void)cells;
    (void)n;
    (void)edited;
    *(bool *)context = true;
    return true;
}

/* No threads, fewer than none, and some that nobody runs: an error, and nothing has happened. */
static void bad_threads(void **state)
{
    (void)state;
    fill(rows, TOTAL, WIDTH, 0);
    static uint8_t chosen[TOTAL];
    static float x[HEAD], out[HEAD];
    memset(chosen, 1, sizeof chosen);
    thread_team *team = team_create(2);
    const tada_threads good = *team_lend(team);
    const tada_threads bad[] = {
        {0, good.run, good.pool}, {-1, good.run, good.pool}, {INT32_MIN, good.run, NULL}, {2, NULL, NULL}};
    tada_pool *pool = tada_pool_create();
    test_plane p = plane_of("tada", TADA_K, WIDTH, CELLS, STREAMS, HEAD),
               v = plane_of("tada", TADA_V, WIDTH, CELLS, STREAMS, HEAD);
    write_cells(p.plane, pool, 0, CELLS);
    const tada_attention a = attention_of(p.plane, v.plane, HEAD, 1, 1, CELLS, 1, x, out);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tada_error errors[5] = {{""}};
        bool edited = false;
        assert_int_equal(tada_plane_settle(p.plane, &bad[i], &errors[0]), TADA_E_ARGUMENT);
        assert_true(tada_plane_unsettled(p.plane));
        read[0][0] = 0x1234;
        assert_int_equal(tada_plane_read(p.plane, 0, TOTAL, read[0], &bad[i], &errors[1]), TADA_E_ARGUMENT);
        assert_int_equal(read[0][0], 0x1234);
        assert_int_equal(tada_plane_edit(p.plane, chosen, no_edit, &edited, &bad[i], &errors[2]),
                         TADA_E_ARGUMENT);
        assert_false(edited);
        assert_int_equal(tada_plane_copy_stream(p.plane, pool, 0, 1, &bad[i], &errors[3]), TADA_E_ARGUMENT);
        assert_true(tada_plane_unsettled(p.plane));
        out[0] = 3;
        assert_int_equal(tada_attention_run(&a, pool, &bad[i], &errors[4]), TADA_E_ARGUMENT);
        assert_true(out[0] == 3);
        for (int j = 0; j < 5; j++) {
            assert_true(strlen(errors[j].text) > 10);
        }
    }
    plane_done(&p);
    plane_done(&v);
    tada_pool_free(pool);
    team_free(team);
}

/* Each thread of a team once, and each piece of work once, again and again. */
typedef struct tally {
    int n;
    _Atomic int threads[9], pieces[50];
} tally;

static void count_thread(void *context, int thread, int n_threads)
{
    tally *t = context;
    assert_int_equal(n_threads, t->n);
    t->threads[thread]++;
}

static void count_piece(void *context, int thread, int64_t i)
{
    tally *t = context;
    assert_true(thread >= 0 && thread < t->n);
    t->pieces[i]++;
}

static void teams(void **state)
{
    (void)state;
    assert_true(team_cpus() >= 1);
    for (int n = -1; n <= 9; n++) {
        thread_team *team = team_create(n);
        assert_non_null(team);
        const tada_threads *threads = team_lend(team);
        tally t = {.n = threads->n};
        assert_int_equal(t.n, n < 1 ? 1 : n);
        if (n % 2) {
            team_stay_awake(team);
        }
        for (int turn = 0; turn < 200; turn++) {
            threads->run(threads->pool, count_thread, &t);
            team_each(team, turn % 50, count_piece, &t);
        }
        for (int i = 0; i < t.n; i++) {
            assert_int_equal(t.threads[i], 200);
        }
        for (int i = 0; i < 50; i++) {
            assert_int_equal(t.pieces[i], 4 * (49 - i));
        }
        team_free(team);
    }
    team_free(NULL);
}

TEST_MAIN(cmocka_unit_test(together), cmocka_unit_test(one_pool), cmocka_unit_test(readers),
          cmocka_unit_test(bad_threads), cmocka_unit_test(teams))
