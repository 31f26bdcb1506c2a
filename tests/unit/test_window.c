/* Windows in codes: what comes back when a plane is saved and restored, and what is left when memory is
 * short. */
#include "support.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

enum { WIDTH = 192, HEAD = 64, CELLS = 64 * 9 - 20, STREAMS = 2, TOTAL = CELLS * STREAMS };

static const char *const specs[] = {"tada",
                                    "tada:high",
                                    "tada:4/3",
                                    "tada:2/2",
                                    "tada:6/6:k.widths=equal",
                                    "tada:3:rotate=hadamard:k.widths=equal:search=minmax",
                                    "tada:5/4:rotate=none:axis=channel:group=16",
                                    "tada:4:axis=token:rotate=hadamard:group=192",
                                    "tada:4:axis=token:rotate=none:group=16:sinks=64"};
enum { N_SPECS = sizeof specs / sizeof *specs };

static void select_tier(void)
{
    if (tada_kernels_select(tiers[random_below(N_TIERS)]) != TADA_OK) {
        assert_int_equal(tada_kernels_select("scalar"), TADA_OK);
    }
}

/* Rows that get a size of their own, some of them never written. */
static void random_rows(float *x, int data)
{
    fill(x, TOTAL, WIDTH, data);
    for (int64_t i = 0; i < TOTAL; i++) {
        float size = random_below(20) == 0 ? 0.0f : ldexpf(1.0f, -random_below(4));
        for (int d = 0; d < WIDTH; d++) {
            x[i * WIDTH + d] *= size;
        }
    }
}

static uint16_t *rows_of(const test_plane *p)
{
    uint16_t *rows = malloc((size_t)TOTAL * WIDTH * 2);
    assert_int_equal(tada_plane_read(p->plane, 0, TOTAL, rows, threads_of(2), NULL), TADA_OK);
    return rows;
}

static void count(const test_plane *p, tada_plane_stats *stats)
{
    tada_plane_get_stats(p->plane, stats);
}

/* Saved rows give the same rows, however many at once come back: a tile has its own codes again, and its own
 * refinement if it had one. */
static void restored(void **state)
{
    (void)state;
    float *x = malloc(sizeof *x * TOTAL * WIDTH);
    tada_pool *pool = tada_pool_create();
    for (int run = 0; run < N_SPECS * DATA_KINDS * 4; run++) {
        if (in_haste() || (!getenv("TADA_LONG") && run % 4 != random_below(4))) {
            continue;
        }
        int data = run / 4 % DATA_KINDS, kind = run % 2;
        int64_t n = CELLS - random_below(200);
        char spec[120];
        snprintf(spec, sizeof spec, "%s:window=%d:window_bits=8", specs[run / 4 / DATA_KINDS],
                 64 + random_below(2) * 128);
        select_tier();
        test_plane p = plane_of(spec, (enum tada_kind)kind, WIDTH, CELLS, STREAMS, HEAD);
        random_rows(x, data);
        for (int64_t s = 0; s < STREAMS; s++) {
            write_rows(p.plane, pool, x + s * CELLS * WIDTH, TADA_F32, WIDTH, s * CELLS, n,
                       1 + random_below(100));
        }
        uint16_t *was = rows_of(&p);
        tada_plane_stats before, after;
        count(&p, &before);
        assert_true(before.refined > 0 && before.cold >= before.refined);
        for (int pass = 0; pass < 2; pass++) {
            select_tier();
            tada_plane_clear(p.plane);
            int64_t batch = pass ? CELLS : 1 + random_below(150);
            for (int64_t s = 0; s < STREAMS; s++) {
                write_rows(p.plane, pool, was + s * CELLS * WIDTH, TADA_F16, WIDTH, s * CELLS, n, batch);
            }
            uint16_t *is = rows_of(&p);
            count(&p, &after);
            for (int64_t i = 0; i < (int64_t)TOTAL * WIDTH; i++) {
                if (was[i] != is[i]) {
                    fail_msg(
                        "%s of kind %d, data %d, %lld rows, %lld at once: cell %lld, column %d was %g, is %g",
                        spec, kind, data, (long long)n, (long long)batch, (long long)(i / WIDTH),
                        (int)(i % WIDTH), half_value(was[i]), half_value(is[i]));
                }
            }
            assert_int_equal(after.hot, before.hot);
            assert_int_equal(after.refined, before.refined);
            assert_int_equal(after.cold, before.cold);
            free(is);
        }
        free(was);
        plane_done(&p);
    }
    tada_pool_free(pool);
    free(x);
}

/* A refined tile that is opened, with a row that it has, or with another that goes again, is as it was. */
static void opened(void **state)
{
    (void)state;
    float *x = malloc(sizeof *x * TOTAL * WIDTH);
    tada_pool *pool = tada_pool_create();
    for (int run = 0; run < 2 * N_SPECS; run++) {
        char spec[120];
        snprintf(spec, sizeof spec, "%s:window=64:window_bits=8", specs[run / 2]);
        test_plane p = plane_of(spec, (enum tada_kind)(run % 2), WIDTH, CELLS, STREAMS, HEAD);
        random_rows(x, run % DATA_KINDS);
        write_rows(p.plane, pool, x, TADA_F32, WIDTH, 0, 64 * 3 + 3, 17);
        uint16_t *was = rows_of(&p);
        int64_t cell = 64 * 2 + random_below(64);
        tada_plane_stats stats;
        count(&p, &stats);
        int64_t reopens = stats.reopens;
        write_rows(p.plane, pool, was + cell * WIDTH, TADA_F16, WIDTH, cell, 1, 1);
        count(&p, &stats);
        assert_int_equal(stats.reopens, reopens + 1);
        assert_int_equal(stats.hot, 1);
        /* A row that was there already changes nothing: the open tile keeps its slots, and all others theirs.
         */
        assert_true(stats.refined == 3 || stats.layered > 0);
        /* And what was hot before is written again, so that both change places. */
        write_rows(p.plane, pool, was + 64 * 3 * WIDTH, TADA_F16, WIDTH, 64 * 3, 3, 3);
        uint16_t *is = rows_of(&p);
        assert_memory_equal(was + cell / 64 * 64 * WIDTH, is + cell / 64 * 64 * WIDTH, 64 * WIDTH * 2);
        /* Rows that differ much in size need more slots, which others may have lost. */
        assert_true(stats.layered > 0 || memcmp(was, is, 64 * 2 * WIDTH * 2) == 0);
        free(was);
        free(is);
        plane_done(&p);
    }
    tada_pool_free(pool);
    free(x);
}

/* What the window takes and what it saves, in a long plane. */
static void memory(void **state)
{
    (void)state;
    const tada_shape shape = {TADA_K, WIDTH, 4096, 1, HEAD};
    tada_spec spec = spec_of("tada:window=64:window_bits=16"), cold = spec_of("tada:window=64:window_bits=8"),
              wide = spec_of("tada:8:window=64:window_bits=8"), exact = spec_of("tada:16:window_bits=8"),
              none = cold, wider = cold;
    /* A tile of f16 less for two slots more: one for its codes, one for their refinement. Slots have 4 bits a
     * value, words of 2 bytes a channel, and half a byte for each 8 channels of a head. */
    const size_t slot = 64 * WIDTH / 2 + 2 * WIDTH + WIDTH / 16, tile = 64 * WIDTH * 2, flags = 64;
    size_t saved = tada_plane_bytes(&spec, &shape) - tada_plane_bytes(&cold, &shape);
    assert_in_range(saved, tile - 2 * slot - flags, tile - 2 * slot + flags);
    wider.window = 128;
    size_t more = tada_plane_bytes(&wider, &shape) - tada_plane_bytes(&cold, &shape);
    assert_in_range(more, slot, slot + flags);
    none.window = 0;
    more = tada_plane_bytes(&cold, &shape) - tada_plane_bytes(&none, &shape);
    assert_in_range(more, slot, slot + flags);
    /* 63 tiles that may be cold, and the window's refinement. */
    tada_plane_parts parts;
    assert_true(tada_plane_measure(&cold, &shape, &parts));
    assert_int_equal(parts.codes, 64 * slot);
    assert_int_equal(parts.window, tile);
    /* A tile, and room for as many second layers as half of the tiles have, and two. */
    assert_in_range(parts.table, 64 * 56 + 34 * 24, 64 * 58 + 34 * 24 + flags);
    /* Where codes have 8 bits anyway, or none, it makes no difference. */
    tada_spec other = wide;
    none = exact;
    other.window_bits = none.window_bits = 16;
    assert_int_equal(tada_plane_bytes(&wide, &shape), tada_plane_bytes(&other, &shape));
    assert_int_equal(tada_plane_bytes(&exact, &shape), tada_plane_bytes(&none, &shape));
    other.window_bits = 0;
    assert_int_equal(tada_plane_bytes(&wide, &shape), tada_plane_bytes(&other, &shape));
    other.window_bits = 4;
    assert_int_equal(tada_plane_bytes(&other, &shape), 0);
}

/* Address space from now on; 0: what there was at first. */
static void limit_memory(size_t more)
{
    static struct rlimit first;
    if (first.rlim_max == 0) {
        assert_int_equal(getrlimit(RLIMIT_AS, &first), 0);
    }
    struct rlimit now = first;
    if (more > 0) {
        FILE *file = fopen("/proc/self/statm", "r");
        unsigned long pages = 0;
        assert_non_null(file);
        assert_int_equal(fscanf(file, "%lu", &pages), 1);
        fclose(file);
        now.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + more;
    }
    assert_int_equal(setrlimit(RLIMIT_AS, &now), 0);
}

/* A write into more tiles than there is memory for changes no row, and what it had opened closes again. */
static void short_of_memory(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    if (quick() > 1) {
        skip(); /* emulators do not keep limits */
    }
    enum { WIDE = 8192, N_TILES = 60, N = N_TILES * 64 };
    /* Else what has been freed could be had again in spite of the limit. */
    mallopt(M_MMAP_THRESHOLD, 1 << 16);
    for (int run = 0; run < 4; run++) {
        test_plane p =
            plane_of(run / 2 ? "tada:4/3:window=128:window_bits=8" : "tada:4/3:window=64:window_bits=16",
                     (enum tada_kind)(run % 2), WIDE, N, 1, 64);
        tada_pool *pool = tada_pool_create();
        float *x = malloc(sizeof *x * 64 * WIDE);
        uint16_t *was = malloc(sizeof *was * N * WIDE), *is = malloc(sizeof *is * N * WIDE);
        fill(x, 64, WIDE, 0);
        for (int64_t at = 0; at < N; at += 64) {
            write_rows(p.plane, pool, x, TADA_F32, WIDE, at, 64, 64);
        }
        assert_int_equal(tada_plane_read(p.plane, 0, N, was, threads_of(1), NULL), TADA_OK);
        tada_plane_stats before, after;
        count(&p, &before);
        int64_t cells[N_TILES];
        for (int64_t i = 0; i < N_TILES; i++) {
            cells[i] = i * 64 + 7;
        }
        tada_error error = {""};
        limit_memory((size_t)20 * 64 * WIDE * 2);
        enum tada_status status =
            tada_plane_write(p.plane, pool, x, TADA_F32, WIDE * 4, cells, N_TILES, &error);
        enum tada_status settled = tada_plane_settle(p.plane, threads_of(1), NULL);
        limit_memory(0);
        assert_int_equal(status, TADA_E_MEMORY);
        assert_true(strlen(error.text) > 10);
        assert_true(settled == TADA_OK || settled == TADA_E_MEMORY);
        assert_int_equal(tada_plane_read(p.plane, 0, N, is, threads_of(1), NULL), TADA_OK);
        assert_memory_equal(was, is, sizeof *was * N * WIDE);
        assert_int_equal(tada_plane_settle(p.plane, threads_of(2), NULL), TADA_OK);
        assert_int_equal(tada_plane_read(p.plane, 0, N, is, threads_of(1), NULL), TADA_OK);
        assert_memory_equal(was, is, sizeof *was * N * WIDE);
        count(&p, &after);
        assert_true(after.reopens > before.reopens);
        assert_int_equal(after.hot, before.hot);
        assert_int_equal(after.refined, before.refined);
        assert_int_equal(after.cold, before.cold);
        /* With memory it works. */
        assert_int_equal(tada_plane_write(p.plane, pool, x, TADA_F32, WIDE * 4, cells, N_TILES, &error),
                         TADA_OK);
        assert_int_equal(tada_plane_settle(p.plane, threads_of(2), NULL), TADA_OK);
        count(&p, &after);
        assert_int_equal(after.hot + after.cold, N_TILES);
        free(x);
        free(was);
        free(is);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

TEST_MAIN(cmocka_unit_test(restored), cmocka_unit_test(opened), cmocka_unit_test(memory),
          cmocka_unit_test(short_of_memory))
