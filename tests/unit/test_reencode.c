/* Decoded rows that are written again encode to the same codes: no drift, however often a tile is reopened.
 */
#include "support.h"

enum { WIDTH = 192, HEAD = 64, CELLS = 192, LAST = CELLS, TOTAL = CELLS + 64 };

static const int widths[] = {2, 3, 4, 5, 6, 8};
static const char *const options[] = {
    "",
    ":search=minmax",
    ":axis=channel:rotate=none",
    ":axis=channel:rotate=hadamard",
    ":axis=token:rotate=none",
    ":axis=token:rotate=hadamard",
    ":axis=channel:rotate=none:group=16",
    ":axis=channel:rotate=hadamard:group=32:search=minmax",
    ":axis=token:rotate=hadamard:group=16",
    ":axis=token:rotate=none:group=192",
    ":axis=token:rotate=hadamard:group=192:search=minmax",
    ":axis=token:rotate=hadamard:scale=8",
    ":axis=token:rotate=none:scale=8:group=32",
    ":axis=token:rotate=hadamard:scale=8:group=192:search=minmax",
};
enum { OPTIONS = sizeof options / sizeof options[0] };

/* All cases take a minute: TADA_LONG=1 in the environment runs them, else one in six. */
static bool left_out(void)
{
    static int all = -1;
    all = all < 0 ? getenv("TADA_LONG") != NULL : all;
    return !all && random_below(6 * quick()) > 0;
}

/* A range that starts well above zero: with 8 bits, multiples of the scale up to 511. */
static void fill_far(float *x)
{
    for (int i = 0; i < CELLS * WIDTH; i++) {
        x[i] = (float)(i % WIDTH + 1) * (1.0f + (float)random_below(10000) * 1e-4f);
    }
}

/* Mixtures of what fill() makes, with the magnitude of each row its own. */
static void random_data(float *x, int data)
{
    fill(x, CELLS, WIDTH, data % DATA_KINDS);
    if (data == 2 * DATA_KINDS) {
        fill_far(x);
    }
    for (int t = 0; t < CELLS; t++) {
        float size = data % 2 ? 1.0f : ldexpf(1.0f, -random_below(6));
        for (int d = 0; d < WIDTH; d++) {
            x[t * WIDTH + d] *= size;
        }
    }
    /* Of the second tile every third cell is written, of the third one only two. */
    for (int t = 64; t < CELLS; t++) {
        bool written = t < 128 ? random_below(3) == 0 : t == 130 || t == 190;
        if (!written) {
            memset(x + t * WIDTH, 0, WIDTH * sizeof *x);
        }
    }
    x[64 * WIDTH] = 0.25f;
    x[130 * WIDTH + 1] = 1e-3f;
    x[190 * WIDTH + 2] = 1;
}

/* Writes something into a tile that no test looks at, so that it takes the only hot tile. */
static void freeze(tada_plane *plane, tada_pool *pool)
{
    static const float row[WIDTH] = {1};
    int64_t cell = LAST;
    assert_int_equal(tada_plane_write(plane, pool, row, TADA_F32, sizeof row, &cell, 1, NULL), TADA_OK);
    assert_int_equal(tada_plane_settle(plane, threads_of(2), NULL), TADA_OK);
    tada_plane_stats stats;
    tada_plane_get_stats(plane, &stats);
    assert_int_equal(stats.hot, 1);
    assert_int_equal(stats.cold, CELLS / 64);
}

static void read_all(const tada_plane *plane, uint16_t *rows)
{
    assert_int_equal(tada_plane_read(plane, 0, CELLS, rows, threads_of(2), NULL), TADA_OK);
}

static int complaints;

static int differences(const uint16_t *a, const uint16_t *b, int *first)
{
    int n = 0;
    for (int i = CELLS * WIDTH - 1; i >= 0; i--) {
        if (a[i] != b[i]) {
            *first = i;
            n++;
        }
    }
    return n;
}

static void complain(const char *what, const char *spec, int kind, int data, const uint16_t *was,
                     const uint16_t *is)
{
    int at = 0, n = differences(was, is, &at);
    if (n && complaints++ < 8) {
        print_error(
            "%s: %s of kind %d, data %d, %s: %d values differ, first cell %d, column %d: was %g, is %g\n",
            what, spec, kind, data, tada_kernels_name(), n, at / WIDTH, at % WIDTH, half_value(was[at]),
            half_value(is[at]));
    }
}

/* One case: rows x of some sort, and a spec for them. */
typedef struct scene {
    char spec[120];
    int kind, bits, data;
    tada_pool *pool;
    float *x;
    uint16_t *was, *is; /* room for what is read */
} scene;

/* Runs a check with every sort of rows, options and bits, but for those that are left out. */
static void each_scene(void (*check)(const scene *s))
{
    complaints = 0;
    scene s = {.pool = tada_pool_create(),
               .x = malloc(sizeof *s.x * CELLS * WIDTH),
               .was = malloc(sizeof *s.was * CELLS * WIDTH),
               .is = malloc(sizeof *s.is * CELLS * WIDTH)};
    for (s.data = 0; s.data <= 2 * DATA_KINDS; s.data++) {
        for (size_t o = 0; o < OPTIONS; o++) {
            for (int b = 0; b < 6; b++) {
                if (left_out()) {
                    continue;
                }
                s.kind = random_below(2);
                s.bits = widths[b];
                snprintf(s.spec, sizeof s.spec, "tada:%d:window=0:sinks=0%s", s.bits, options[o]);
                random_data(s.x, s.data);
                check(&s);
            }
        }
    }
    tada_pool_free(s.pool);
    free(s.x);
    free(s.was);
    free(s.is);
    assert_int_equal(complaints, 0);
}

/* A plane with the rows, all of them compressed; s->was is what it reads as. */
static test_plane frozen_plane(const scene *s)
{
    test_plane p = plane_of(s->spec, (enum tada_kind)s->kind, WIDTH, TOTAL, 1, HEAD);
    write_rows(p.plane, s->pool, s->x, TADA_F32, WIDTH, 0, CELLS, CELLS);
    freeze(p.plane, s->pool);
    read_all(p.plane, s->was);
    return p;
}

/* What the plane reads as now is what it read as before. */
static void same(const char *what, const test_plane *p, const scene *s)
{
    read_all(p->plane, s->is);
    complain(what, s->spec, s->kind, s->data, s->was, s->is);
}

static void check_restored(const scene *s)
{
    tada_kernels_select("scalar");
    test_plane p = frozen_plane(s);
    for (int i = 0; i < N_TIERS; i++) {
        if (tada_kernels_select(tiers[i]) == TADA_OK) {
            tada_plane_clear(p.plane);
            write_rows(p.plane, s->pool, s->was, TADA_F16, WIDTH, 0, CELLS, CELLS);
            freeze(p.plane, s->pool);
            same("restored", &p, s);
        }
    }
    plane_done(&p);
}

/* Cleared and restored, as when a session is saved and loaded, on every kernel set. */
static void restored(void **state)
{
    (void)state;
    each_scene(check_restored);
}

/* Another row for a cell that reads as `old`. With scale words of 8 bits: where a scale of a head is far
 * larger than those of the others, these lose bits. A group of one value and zeros has that value as its
 * scale. */
static void other_row(const scene *s, const uint16_t *old, bool narrow, float row[WIDTH])
{
    fill(row, 1, WIDTH, random_below(DATA_KINDS));
    for (int d = 0; narrow && d < WIDTH; d++) {
        row[d] = 0.4f * half_value(old[d / HEAD * HEAD + HEAD - 1 - d % HEAD]);
        row[d] /= (float)(1 << s->bits);
    }
}

static void check_reopened(const scene *s)
{
    bool tokens = strstr(s->spec, "token") || (s->kind == TADA_V && !strstr(s->spec, "channel"));
    bool narrow = tokens && (s->kind == TADA_V || strstr(s->spec, "scale=8"));
    test_plane p = frozen_plane(s);
    for (int i = 0; i < 4; i++) {
        int64_t cell = random_below(128);
        uint16_t *old = s->was + cell * WIDTH;
        float row[WIDTH];
        assert_int_equal(tada_plane_write(p.plane, s->pool, old, TADA_F16, WIDTH * 2, &cell, 1, NULL),
                         TADA_OK);
        same("reopened", &p, s);
        freeze(p.plane, s->pool);
        same("same row", &p, s);
        if (tokens) {
            other_row(s, old, narrow, row);
            assert_int_equal(tada_plane_write(p.plane, s->pool, row, TADA_F32, WIDTH * 4, &cell, 1, NULL),
                             TADA_OK);
            freeze(p.plane, s->pool);
            read_all(p.plane, s->is);
            memcpy(old, s->is + cell * WIDTH, WIDTH * sizeof *old);
            same("other row", &p, s);
        }
    }
    assert_true(stats_of(p.plane).reopens > 0);
    plane_done(&p);
}

/* A row written into a cold tile: the same row changes nothing; another one, with a scale per token, nothing
 * else. */
static void reopened(void **state)
{
    (void)state;
    each_scene(check_reopened);
}

/* Encoding is the same bit for bit on every kernel set and by any number of threads, for every recipe. */
static void same_on_every_set(void **state)
{
    (void)state;
    complaints = 0;
    static const char *const more[] = {":scale=32", ":centre=tokens", ":centre=heads16",
                                       ":centre=heads8:rotate=hadamard",
                                       ":scale=32:search=minmax:axis=token:group=64"};
    float *x = malloc(sizeof *x * CELLS * WIDTH);
    uint16_t *was = malloc(sizeof *was * CELLS * WIDTH), *is = malloc(sizeof *is * CELLS * WIDTH);
    tada_pool *pool = tada_pool_create();
    for (int data = 0; data <= 2 * DATA_KINDS; data++) {
        for (size_t o = 0; o < OPTIONS + sizeof more / sizeof more[0]; o++) {
            if (in_haste()) {
                continue;
            }
            /* With more bits, the memory for means leaves too little to gain. */
            int kind = random_below(2), bits = o < OPTIONS ? widths[random_below(6)] : 2 + random_below(3);
            char spec[120];
            snprintf(spec, sizeof spec, "tada:%d:window=0:sinks=0%s", bits,
                     o < OPTIONS ? options[o] : more[o - OPTIONS]);
            random_data(x, data);
            for (int i = 0; i < N_TIERS; i++) {
                if (tada_kernels_select(tiers[i]) != TADA_OK) {
                    continue;
                }
                test_plane p = plane_of(spec, (enum tada_kind)kind, WIDTH, 4 * TOTAL, 1, HEAD);
                write_rows(p.plane, pool, x, TADA_F32, WIDTH, 0, CELLS, CELLS);
                freeze(p.plane, pool);
                read_all(p.plane, i ? is : was);
                if (i) {
                    complain("encoded", spec, kind, data, was, is);
                }
                plane_done(&p);
            }
        }
    }
    tada_pool_free(pool);
    free(x);
    free(was);
    free(is);
    assert_int_equal(complaints, 0);
}

TEST_MAIN(cmocka_unit_test(same_on_every_set), cmocka_unit_test(reopened), cmocka_unit_test(restored))
