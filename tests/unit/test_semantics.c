/* A plane against a plain f16 array under every kind of write that an engine does. */
#include "support.h"

enum { WIDTH = 64, CELLS = 500, STREAMS = 3, TOTAL = CELLS * STREAMS, MOST = 200 };

/* What the plane ought to hold; touched: how often a cell's tile may have been compressed since the cell was
 * written. */
typedef struct model {
    uint16_t rows[TOTAL][WIDTH];
    int touched[TOTAL];
} model;

static void touch_tile(model *m, int64_t cell)
{
    int64_t stream = cell / CELLS, begin = stream * CELLS + cell % CELLS / 64 * 64;
    for (int64_t c = begin; c < begin + 64 && c < (stream + 1) * CELLS; c++) {
        m->touched[c]++;
    }
}

static void model_write(model *m, int64_t cell, const uint16_t *row)
{
    bool zero = true;
    for (int d = 0; d < WIDTH; d++) {
        zero = zero && (row[d] & 0x7fff) == 0;
    }
    touch_tile(m, cell);
    m->touched[cell] = 1;
    memcpy(m->rows[cell], row, sizeof m->rows[cell]);
    if (zero) {
        memset(m->rows[cell], 0, sizeof m->rows[cell]);
    }
}

static bool is_zero(const uint16_t *row)
{
    for (int d = 0; d < WIDTH; d++) {
        if (row[d]) {
            return false;
        }
    }
    return true;
}

/* Uniform in [-1, 1], a magnitude per row, some rows of zeros; as f32 that f16 has to round. */
static void random_rows(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float size = random_below(10) == 0 ? 0.0f : random_below(3) == 0 ? 0.1f : 1.0f;
        for (int d = 0; d < WIDTH; d++) {
            x[i * WIDTH + d] = size * ((float)random_below(20001) * 1e-4f - 1.0f);
        }
    }
}

/* The cells of one batch, as an engine chooses them. */
static int64_t random_cells(int64_t *cells, int64_t *ring)
{
    int64_t n = random_below(8) ? 1 + random_below(20) : 1 + random_below(MOST),
            stream = random_below(STREAMS);
    int64_t start = random_below(CELLS);
    int pattern = random_below(5);
    for (int64_t i = 0; i < n; i++) {
        switch (pattern) {
        case 0: /* anywhere */
            cells[i] = random_below(TOTAL);
            break;
        case 1: /* streams interleaved */
            cells[i] = i % STREAMS * CELLS + (start + i / STREAMS) % CELLS;
            break;
        case 2: /* a ring that goes on where it stopped */
            cells[i] = stream * CELLS + (ring[stream]++) % CELLS;
            break;
        case 3: /* two sequences, cell by cell */
            cells[i] = stream * CELLS + (start + (i % 2) * 130 + i / 2) % CELLS;
            break;
        default: /* in order, twice the same cell now and then */
            cells[i] = stream * CELLS + (start + i - (random_below(9) == 0 && i > 0)) % CELLS;
        }
    }
    return n;
}

/* Largest error of one head's 64 values after `times` codings; of V, that of one, or of all where a
 * refinement may go between two. */
static double bound(const char *spec, enum tada_kind kind, const uint16_t *row, int times)
{
    bool refined = strstr(spec, "window_bits=8");
    int bits = atoi(spec + strlen("tada:"));
    double levels = (1 << bits) - 1;
    if (bits == 16) {
        return 0;
    }
    if (kind == TADA_K) {
        /* By channel: a new row moves the scale of all cells. Range 2, 255 levels, a step up to 1.25^2
         * coarser, and one level may be cut off at an end where that serves the others. */
        return times * (2.1 / levels) * 1.5625 + 0x1p-10;
    }
    /* By token: other rows change nothing, so one coding counts. Rotated: the error's norm stays. */
    double norm = 0;
    for (int d = 0; d < WIDTH; d++) {
        norm += half_value(row[d]) * half_value(row[d]);
    }
    norm = sqrt(norm);
    return (refined ? times : 1) * sqrt(WIDTH) * 0.5 * (2 * norm / levels) * 1.5625 + 0x1p-10;
}

static void check_row(const char *spec, enum tada_kind kind, const model *m, int64_t cell,
                      const uint16_t *got)
{
    const uint16_t *want = m->rows[cell];
    if (memcmp(got, want, WIDTH * sizeof *got) == 0) {
        return;
    }
    bool exact = is_zero(want) || cell % CELLS < spec_of(spec).sinks;
    double most = exact ? 0 : bound(spec, kind, want, m->touched[cell]);
    for (int d = 0; d < WIDTH; d++) {
        double error = fabs(half_value(got[d]) - half_value(want[d]));
        if (!(error <= most) || (most == 0 && got[d] != want[d])) {
            fail_msg("%s of kind %d: cell %lld, column %d is %g instead of %g (allowed %g)", spec, kind,
                     (long long)cell, d, half_value(got[d]), half_value(want[d]), most);
        }
    }
}

static void compare(const char *spec, enum tada_kind kind, const tada_plane *plane, const model *m,
                    int64_t first, int64_t n)
{
    uint16_t *rows = malloc(sizeof *rows * (size_t)(n + 1) * WIDTH);
    rows[n * WIDTH] = 0x1234;
    assert_int_equal(tada_plane_read(plane, first, n, rows, threads_of(1 + random_below(3)), NULL), TADA_OK);
    assert_int_equal(rows[n * WIDTH], 0x1234);
    for (int64_t i = 0; i < n; i++) {
        check_row(spec, kind, m, first + i, rows + i * WIDTH);
    }
    free(rows);
}

/* The plane counts as it goes; here is what there is to count. */
static void compare_counts(const tada_plane *plane, tada_plane_stats *last)
{
    static uint16_t rows[TOTAL][WIDTH];
    assert_int_equal(tada_plane_read(plane, 0, TOTAL, rows[0], threads_of(2), NULL), TADA_OK);
    int64_t written = 0, tiles = 0;
    for (int64_t c = 0, in_tile = 0; c < TOTAL; c++) {
        written += !is_zero(rows[c]);
        in_tile += !is_zero(rows[c]);
        if (c % CELLS % 64 == 63 || c % CELLS == CELLS - 1) {
            tiles += in_tile > 0;
            in_tile = 0;
        }
    }
    tada_plane_stats now;
    tada_plane_get_stats(plane, &now);
    assert_int_equal(now.cells, TOTAL);
    assert_int_equal(now.written, written);
    assert_int_equal(now.hot + now.cold, tiles);
    assert_true(now.hot >= 0 && now.refined >= 0 && now.cold >= now.refined);
    assert_true(now.compressions >= last->compressions && now.reopens >= last->reopens);
    *last = now;
}

/* Some of the rows turn their signs, some go. */
typedef struct edit {
    const char *spec;
    enum tada_kind kind;
    model *m;
    bool go;
} edit;

static bool turn(void *context, int thread, const int64_t *cells, int n, uint16_t *rows)
{
    const edit *t = context;
    (void)thread;
    for (int i = 0; i < n; i++, rows += WIDTH) {
        check_row(t->spec, t->kind, t->m, cells[i], rows);
        for (int d = 0; d < WIDTH; d++) {
            rows[d] = t->go && cells[i] % 3 ? 0 : rows[d] ? rows[d] ^ 0x8000 : 0;
        }
        memcpy(t->m->rows[cells[i]], rows, sizeof t->m->rows[0]);
    }
    return true;
}

static void random_edit(const char *spec, enum tada_kind kind, tada_plane *plane, model *m)
{
    static uint8_t chosen[TOTAL];
    edit t = {spec, kind, m, random_below(3) == 0};
    int64_t first = random_below(TOTAL), n = random_below(TOTAL);
    memset(chosen, 0, sizeof chosen);
    for (int64_t c = first; c < first + n && c < TOTAL; c++) {
        chosen[c] = random_below(8) > 0;
    }
    assert_int_equal(tada_plane_edit(plane, chosen, turn, &t, threads_of(2), NULL), TADA_OK);
    for (int64_t c = 0; c < TOTAL; c++) {
        if (chosen[c]) {
            touch_tile(m, c);
        }
    }
    for (int64_t c = 0; c < TOTAL; c++) {
        if (chosen[c]) {
            m->touched[c] = 1;
        }
    }
}

/* A stream becomes a copy of another one, or of itself. */
static void random_copy(tada_plane *plane, tada_pool *pool, model *m)
{
    int64_t from = random_below(STREAMS), to = random_below(STREAMS);
    tada_error error = {""};
    assert_int_equal(tada_plane_copy_stream(plane, pool, from, to, threads_of(2), &error), TADA_OK);
    assert_false(tada_plane_unsettled(plane));
    if (from != to) {
        memcpy(m->rows[to * CELLS], m->rows[from * CELLS], sizeof m->rows[0] * CELLS);
        for (int64_t c = 0; c < CELLS; c++) {
            m->touched[to * CELLS + c] = ++m->touched[from * CELLS + c];
        }
    }
}

/* Rows are written, and read back exactly until the plane settles. */
static void random_write(tada_plane *plane, tada_pool *pool, model *m, int64_t ring[STREAMS])
{
    static float x[MOST * WIDTH];
    static uint16_t half[MOST * WIDTH];
    int64_t cells[MOST], n = random_cells(cells, ring);
    bool as_half = random_below(2);
    random_rows(x, n);
    for (int64_t i = 0; i < n * WIDTH; i++) {
        half[i] = half_round(x[i]);
    }
    assert_int_equal(tada_plane_write(plane, pool, as_half ? (void *)half : (void *)x,
                                      as_half ? TADA_F16 : TADA_F32, (as_half ? 2 : 4) * WIDTH, cells, n,
                                      NULL),
                     TADA_OK);
    for (int64_t i = 0; i < n; i++) {
        model_write(m, cells[i], half + i * WIDTH);
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t row[WIDTH];
        assert_int_equal(tada_plane_read(plane, cells[i], 1, row, threads_of(1), NULL), TADA_OK);
        assert_memory_equal(row, m->rows[cells[i]], sizeof row);
    }
}

static void random_operations(const char *spec, enum tada_kind kind, int steps)
{
    test_plane p = plane_of(spec, kind, WIDTH, CELLS, STREAMS, random_below(2) ? 0 : WIDTH);
    tada_pool *pool = tada_pool_create();
    model *m = calloc(1, sizeof *m);
    int64_t ring[STREAMS] = {0};
    tada_plane_stats stats = {0};
    for (int step = 0; step < steps; step++) {
        int what = random_below(40);
        if (what == 0 && step > steps / 4) {
            random_copy(p.plane, pool, m);
        } else if (what == 2) {
            random_edit(spec, kind, p.plane, m);
        } else if (what == 1 && random_below(4) == 0) {
            tada_plane_clear(p.plane);
            memset(m, 0, sizeof *m);
        } else {
            random_write(p.plane, pool, m, ring);
        }
        if (random_below(3)) {
            assert_int_equal(tada_plane_settle(p.plane, threads_of(1 + random_below(3)), NULL), TADA_OK);
            assert_false(tada_plane_unsettled(p.plane));
        }
        int64_t first = random_below(TOTAL);
        int64_t n = random_below(8) ? random_below(150) : TOTAL;
        compare(spec, kind, p.plane, m, first, n < TOTAL - first ? n : TOTAL - first);
        if (step % 10 == 9) {
            compare_counts(p.plane, &stats);
        }
    }
    assert_int_equal(tada_plane_settle(p.plane, threads_of(2), NULL), TADA_OK);
    compare(spec, kind, p.plane, m, 0, TOTAL);
    compare_counts(p.plane, &stats);
    if (strstr(spec, "tada:8:window")) {
        assert_true(stats.compressions > 0);
    }
    assert_true(strstr(spec, "window_bits=8") ? stats.refined > 0 : stats.refined == 0);
    plane_done(&p);
    tada_pool_free(pool);
    free(m);
}

static void against_model(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "tada:16",
        "tada:8",
        "tada:8:window=0:sinks=0:search=minmax",
        "tada:8:window=64:search=minmax",
        "tada:16:window=0",
        "tada:8:window=0:sinks=5:search=minmax",
        "tada:8:window=64:sinks=64:search=minmax",
        "tada:6:window=64:window_bits=8:k.widths=equal:search=minmax",
        "tada:5:window=192:window_bits=8:k.widths=equal:sinks=5:search=minmax"};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        for (int kind = 0; kind < 2; kind++) {
            for (int run = 0; run < 2; run++) {
                random_operations(specs[i], (enum tada_kind)kind, quick() > 1 ? 60 : 200);
            }
        }
    }
}

/* Refined, 3 bits are 6: of normal values, which are within 5 of zero, a step is 0.16 or less, rotated or
 * not.
 */
static void check_near(const uint16_t *got, const uint16_t *want, int64_t n)
{
    double error = 0;
    for (int64_t i = 0; i < n * WIDTH; i++) {
        double d = half_value(got[i]) - half_value(want[i]);
        error += d * d;
    }
    assert_true(error <= 0.16 * 0.16 / 12 * 1.5 * (double)(n * WIDTH));
}

/* Tokens one after another: the window and the sinks stay exact, or nearly, the rest is compressed. */
static void window_and_sinks(void **state)
{
    (void)state;
    float x[MOST * WIDTH];
    for (int run = 0; run < 40; run++) {
        int window = 64 * random_below(4), sinks = (const int[]){0, 1, 4, 5, 64}[random_below(5)];
        int window_bits = random_below(2) ? 8 : 16;
        char spec[80];
        snprintf(spec, sizeof spec, "tada:3:window=%d:window_bits=%d:sinks=%d", window, window_bits, sinks);
        test_plane p = plane_of(spec, (enum tada_kind)(run % 2), WIDTH, CELLS, 1, WIDTH);
        tada_pool *pool = tada_pool_create();
        uint16_t(*rows)[WIDTH] = calloc(CELLS, sizeof *rows), (*got)[WIDTH] = calloc(CELLS, sizeof *got);
        int64_t n = 0;
        while (n < CELLS) {
            int64_t batch = random_below(2) ? 1 : 1 + random_below(90);
            batch = batch < CELLS - n ? batch : CELLS - n;
            for (int64_t i = 0; i < batch * WIDTH; i++) {
                x[i] = random_normal();
                rows[n + i / WIDTH][i % WIDTH] = half_round(x[i]);
            }
            write_rows(p.plane, pool, x, TADA_F32, WIDTH, n, batch, batch);
            n += batch;
            assert_int_equal(tada_plane_read(p.plane, 0, CELLS, got[0], threads_of(2), NULL), TADA_OK);
            int64_t exact = n > window ? n - window : 0;
            if (window_bits == 8) {
                check_near(got[exact], rows[exact], n - exact);
                exact = (n - 1) / 64 * 64;
            }
            assert_memory_equal(got[exact], rows[exact], (size_t)(n - exact) * sizeof *got);
            assert_memory_equal(got, rows, (size_t)(n < sinks ? n : sinks) * sizeof *got);
            for (int64_t i = n; i < CELLS; i++) {
                assert_true(is_zero(got[i]));
            }
        }
        tada_plane_stats stats;
        tada_plane_get_stats(p.plane, &stats);
        assert_int_equal(stats.hot + stats.cold, stats.tiles);
        if (window < 192) {
            /* The window and the tile being written: nothing else is hot. */
            assert_int_equal(stats.hot, window_bits == 8 ? 1 : window / 64 + 1);
            assert_int_equal(stats.refined, window_bits == 8 ? window / 64 : 0);
            /* Each once. */
            assert_int_equal(stats.compressions, stats.cold);
            for (int t = sinks; t < 64; t++) {
                assert_memory_not_equal(got[t], rows[t], sizeof *got);
            }
        }
        assert_int_equal(stats.reopens, 0);
        plane_done(&p);
        tada_pool_free(pool);
        free(rows);
        free(got);
    }
}

/* Rows that came and went leave no trace in what is compressed afterwards. */
static void stale_rows(void **state)
{
    (void)state;
    static const char *const options[] = {
        "",          ":axis=token",    ":axis=channel:rotate=hadamard",       ":centre=tokens",
        ":scale=32", ":centre=heads8", ":axis=channel:group=16:search=minmax"};
    for (size_t o = 0; o < sizeof options / sizeof options[0]; o++) {
        for (int kind = 0; kind < 2; kind++) {
            char spec[120];
            snprintf(spec, sizeof spec, "tada:4:window=0:sinks=0%s", options[o]);
            float x[64 * WIDTH], huge[3 * WIDTH];
            uint16_t got[2][64 * WIDTH];
            const int64_t cells[3] = {7, 20, 21};
            fill(x, 64, WIDTH, 0);
            memset(x + 20 * WIDTH, 0, 2 * WIDTH * sizeof *x);
            for (int i = 0; i < 3 * WIDTH; i++) {
                huge[i] = 30000.0f;
            }
            for (int pass = 0; pass < 2; pass++) {
                test_plane p = plane_of(spec, (enum tada_kind)kind, WIDTH, CELLS, 1, 32);
                tada_pool *pool = tada_pool_create();
                if (pass) {
                    assert_int_equal(
                        tada_plane_write(p.plane, pool, huge, TADA_F32, WIDTH * 4, cells, 3, NULL), TADA_OK);
                }
                write_rows(p.plane, pool, x, TADA_F32, WIDTH, 0, 64, 64);
                /* Takes the only hot tile. */
                write_rows(p.plane, pool, huge, TADA_F32, WIDTH, 128, 3, 3);
                tada_plane_stats stats;
                tada_plane_get_stats(p.plane, &stats);
                assert_int_equal(stats.cold, 1);
                assert_int_equal(tada_plane_read(p.plane, 0, 64, got[pass], threads_of(1), NULL), TADA_OK);
                assert_true(is_zero(got[pass] + 20 * WIDTH));
                plane_done(&p);
                tada_pool_free(pool);
            }
            if (memcmp(got[0], got[1], sizeof got[0]) != 0) {
                fail_msg("%s of kind %d: a stale row changed its neighbours", spec, kind);
            }
        }
    }
}

/* A copy and any number of threads give the same bits. */
static void copies_and_threads(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        uint16_t *got[3];
        float *x = malloc(sizeof *x * CELLS * WIDTH);
        fill(x, CELLS, WIDTH, 1);
        for (int threads = 1; threads <= 3; threads++) {
            test_plane p = plane_of(kind < 2 ? "tada:4/3:window_bits=16" : "tada:4/3:window_bits=8",
                                    (enum tada_kind)(kind % 2), WIDTH, CELLS, 2, 32);
            tada_pool *pool = tada_pool_create();
            int64_t cells[CELLS];
            for (int i = 0; i < CELLS; i++) {
                cells[i] = i;
            }
            assert_int_equal(tada_plane_write(p.plane, pool, x, TADA_F32, WIDTH * 4, cells, CELLS, NULL),
                             TADA_OK);
            assert_true(tada_plane_unsettled(p.plane));
            assert_int_equal(tada_plane_settle(p.plane, threads_of(threads), NULL), TADA_OK);
            got[threads - 1] = malloc(sizeof(uint16_t) * 2 * CELLS * WIDTH);
            assert_int_equal(
                tada_plane_read(p.plane, 0, 2 * CELLS, got[threads - 1], threads_of(threads), NULL), TADA_OK);
            assert_memory_equal(got[threads - 1], got[0], sizeof(uint16_t) * 2 * CELLS * WIDTH);
            assert_int_equal(tada_plane_copy_stream(p.plane, pool, 0, 1, threads_of(threads), NULL), TADA_OK);
            uint16_t *copy = malloc(sizeof *copy * CELLS * WIDTH), *cold = got[threads - 1];
            assert_int_equal(tada_plane_read(p.plane, CELLS, CELLS, copy, threads_of(threads), NULL),
                             TADA_OK);
            /* Two tiles that were cold: six others fit into the windows of two streams. */
            assert_memory_equal(copy, cold, sizeof *copy * 128 * WIDTH);
            free(copy);
            plane_done(&p);
            tada_pool_free(pool);
        }
        for (int i = 0; i < 3; i++) {
            free(got[i]);
        }
        free(x);
    }
}

/* Bad arguments are refused with a text, and change nothing. */
static void refuses(void **state)
{
    (void)state;
    test_plane p = plane_of("tada", TADA_K, WIDTH, CELLS, 2, 0);
    tada_pool *pool = tada_pool_create();
    float x[2 * WIDTH];
    fill(x, 2, WIDTH, 0);
    const int64_t bad[][2] = {{3, -1}, {3, 2 * CELLS}, {3, INT64_MAX}, {INT64_MIN, 3}};
    uint16_t row[2 * WIDTH];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tada_error error = {""};
        assert_int_equal(tada_plane_write(p.plane, pool, x, TADA_F32, WIDTH * 4, bad[i], 2, &error),
                         TADA_E_ARGUMENT);
        assert_true(strlen(error.text) > 10);
        assert_int_equal(tada_plane_read(p.plane, 3, 1, row, threads_of(1), NULL), TADA_OK);
        assert_true(is_zero(row));
    }
    assert_int_equal(tada_plane_read(p.plane, 2 * CELLS - 1, 2, row, threads_of(1), NULL), TADA_E_ARGUMENT);
    assert_int_equal(tada_plane_read(p.plane, -1, 1, row, threads_of(1), NULL), TADA_E_ARGUMENT);
    assert_int_equal(tada_plane_read(p.plane, 0, INT64_MAX, row, threads_of(1), NULL), TADA_E_ARGUMENT);
    tada_error error = {""};
    assert_int_equal(tada_plane_read(p.plane, INT64_MAX, INT64_MAX, row, threads_of(1), &error),
                     TADA_E_ARGUMENT);
    assert_true(strlen(error.text) > 10);
    assert_int_equal(tada_plane_read(p.plane, 2 * CELLS, 0, row, threads_of(1), NULL), TADA_OK);
    assert_int_equal(tada_plane_copy_stream(p.plane, pool, 0, 2, threads_of(1), NULL), TADA_E_ARGUMENT);
    assert_int_equal(tada_plane_copy_stream(p.plane, pool, -1, 0, threads_of(1), NULL), TADA_E_ARGUMENT);
    assert_int_equal(tada_plane_set_head_dim(p.plane, 48), TADA_E_UNSUPPORTED);
    assert_int_equal(tada_plane_set_head_dim(p.plane, 0), TADA_E_UNSUPPORTED);
    assert_int_equal(tada_plane_write(p.plane, pool, x, TADA_F32, WIDTH * 4, bad[0], 0, NULL), TADA_OK);

    tada_spec spec = spec_of("tada");
    const tada_shape shapes[] = {{TADA_K, 0, 64, 1, 0},     {TADA_K, 64, 0, 1, 0},
                                 {TADA_V, 64, 64, 0, 0},    {TADA_V, -64, 64, 1, 0},
                                 {TADA_K, 192, 64, 1, -64}, {TADA_K, 192, 64, 1, 128},
                                 {TADA_V, 192, 64, 1, 24}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        assert_int_equal(tada_plane_bytes(&spec, &shapes[i]), 0);
    }
    tada_plane *other = NULL;
    const tada_shape sound = {TADA_K, WIDTH, CELLS, 2, 0};
    size_t bytes = tada_plane_bytes(&spec, &sound);
    assert_int_equal(tada_plane_create(&spec, &sound, p.memory, bytes - 1, &other, NULL), TADA_E_ARGUMENT);
    assert_int_equal(tada_plane_create(&spec, &sound, (char *)p.memory + 4, bytes, &other, NULL),
                     TADA_E_ARGUMENT);
    assert_null(other);
    plane_done(&p);
    tada_pool_free(pool);
    tada_plane_free(NULL);
    tada_pool_free(NULL);
}

/* A stream holds the same rows whatever is written to the others beside it, also when that is nothing. */
static void streams_apart(void **state)
{
    (void)state;
    enum { LENGTH = 450, FIRST = 300 };
    static float x[STREAMS][LENGTH * WIDTH];
    static uint16_t alone[CELLS * WIDTH], beside[CELLS * WIDTH];
    tada_pool *pool = tada_pool_create();
    test_plane single = plane_of("tada:4:window=64", TADA_K, WIDTH, CELLS, 1, 0);
    test_plane all = plane_of("tada:4:window=64", TADA_K, WIDTH, CELLS, STREAMS, 0);
    int written[STREAMS] = {0};
    for (int s = 0; s < STREAMS; s++) {
        random_rows(x[s], LENGTH);
    }
    write_rows(single.plane, pool, x[0], TADA_F32, WIDTH, 0, FIRST, 1);
    write_rows(all.plane, pool, x[0], TADA_F32, WIDTH, 0, FIRST, 1);
    written[0] = FIRST;
    tada_plane_read(single.plane, 0, CELLS, alone, threads_of(1), NULL);
    tada_plane_read(all.plane, 0, CELLS, beside, threads_of(1), NULL);
    assert_memory_equal(alone, beside, sizeof alone);
    plane_done(&single);
    for (;;) {
        int s = random_below(STREAMS), left = LENGTH - written[s];
        int n = left < 1 ? 0 : 1 + random_below(left < 40 ? left : 40);
        int64_t first = (int64_t)s * CELLS + written[s];
        write_rows(all.plane, pool, x[s] + (size_t)written[s] * WIDTH, TADA_F32, WIDTH, first, n, 1);
        written[s] += n;
        int total = 0;
        for (int i = 0; i < STREAMS; i++) {
            total += written[i];
        }
        /* The others stop somewhere. */
        if (written[1] == LENGTH || total == STREAMS * LENGTH) {
            break;
        }
    }
    for (int s = 0; s < STREAMS; s++) {
        test_plane one = plane_of("tada:4:window=64", TADA_K, WIDTH, CELLS, 1, 0);
        write_rows(one.plane, pool, x[s], TADA_F32, WIDTH, 0, written[s], 1);
        tada_plane_read(one.plane, 0, CELLS, alone, threads_of(1), NULL);
        tada_plane_read(all.plane, (int64_t)s * CELLS, CELLS, beside, threads_of(1), NULL);
        assert_memory_equal(alone, beside, sizeof alone);
        plane_done(&one);
    }
    plane_done(&all);
    tada_pool_free(pool);
}

TEST_MAIN(cmocka_unit_test(against_model), cmocka_unit_test(window_and_sinks), cmocka_unit_test(stale_rows),
          cmocka_unit_test(copies_and_threads), cmocka_unit_test(refuses), cmocka_unit_test(streams_apart))
