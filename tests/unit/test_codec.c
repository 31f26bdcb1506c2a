/* Encoding and decoding of tiles, through planes without window or sinks. */
#include "support.h"

enum { WIDTH = 192, HEAD = 64, CELLS = 256 };

static const int widths[] = {2, 3, 4, 5, 6, 8};

/* Decoded rows of `rows` after a pass through a plane; only whole cold tiles are in `out`. */
static void pass(const char *spec, enum tada_kind kind, const void *rows, enum tada_type type, uint16_t *out)
{
    test_plane p = plane_of(spec, kind, WIDTH, CELLS + 64, 1, HEAD);
    tada_pool *pool = tada_pool_create();
    float *last = calloc(64 * WIDTH, sizeof *last);
    last[0] = 1;
    write_rows(p.plane, pool, rows, type, WIDTH, 0, CELLS, CELLS);
    /* Something later takes the only hot tile. */
    write_rows(p.plane, pool, last, TADA_F32, WIDTH, CELLS, 64, 64);
    tada_plane_stats stats;
    tada_plane_get_stats(p.plane, &stats);
    if (stats.cold != CELLS / 64) {
        fail_msg("%s: %d cold tiles", spec, (int)stats.cold);
    }
    assert_int_equal(tada_plane_read(p.plane, 0, CELLS, out, threads_of(2), NULL), TADA_OK);
    free(last);
    tada_pool_free(pool);
    plane_done(&p);
}

static double range_of(const float *x, int n, size_t stride)
{
    double low = x[0], high = x[0];
    for (int i = 1; i < n; i++) {
        low = fmin(low, x[(size_t)i * stride]);
        high = fmax(high, x[(size_t)i * stride]);
    }
    return high - low;
}

/*
 * K by channel with min-max scales: a step is at most 1.25^2 of range / levels (a scale of 2 mantissa bits,
 * one notch above), an error half a step, but for a zero point that must reach from zero (9 bits), and the
 * rounding to f16 on both sides.
 */
static void error_bound(void **state)
{
    (void)state;
    float *x = malloc(sizeof *x * CELLS * WIDTH);
    uint16_t *y = malloc(sizeof *y * CELLS * WIDTH);
    for (int kind = 0; kind < DATA_KINDS; kind++) {
        fill(x, CELLS, WIDTH, kind);
        for (int b = 0; b < 6; b++) {
            if (in_haste()) {
                continue;
            }
            char spec[80];
            snprintf(spec, sizeof spec, "tada:%d:window=0:sinks=0:search=minmax:widths=equal", widths[b]);
            pass(spec, TADA_K, x, TADA_F32, y);
            int levels = (1 << widths[b]) - 1;
            for (int tile = 0; tile < CELLS / 64; tile++) {
                for (int d = 0; d < WIDTH; d++) {
                    const float *column = x + (size_t)tile * 64 * WIDTH + d;
                    double size = 0;
                    for (int t = 0; t < 64; t++) {
                        size = fmax(size, fabs(column[t * WIDTH]));
                    }
                    double step = fmax(fmax(range_of(column, 64, WIDTH) / levels, size / 255), 0x1p-16);
                    double bound = 0.5 * step * 1.5 * 1.25 + step * 0.02 + size * 0x1p-9 + 0x1p-23;
                    for (int t = 0; t < 64; t++) {
                        double error =
                            fabs(half_value(y[((size_t)tile * 64 + t) * WIDTH + d]) - column[t * WIDTH]);
                        if (!(error <= bound)) {
                            fail_msg("data %d, %s, channel %d: error %g above %g", kind, spec, d, error,
                                     bound);
                        }
                    }
                }
            }
        }
    }
    free(x);
    free(y);
}

static double total_error(const float *x, const uint16_t *y)
{
    double sum = 0;
    for (int i = 0; i < CELLS * WIDTH; i++) {
        double d = half_value(y[i]) - x[i];
        sum += d * d;
    }
    return sum;
}

/* Every axis of the recipe; more bits are better, and so is the search. */
static void every_recipe(void **state)
{
    (void)state;
    static const char *const options[] = {"",
                                          ":rotate=hadamard",
                                          ":rotate=none",
                                          ":axis=channel",
                                          ":axis=token",
                                          ":axis=channel:group=32:scale=32",
                                          ":axis=channel:group=16",
                                          ":axis=token:group=32",
                                          ":axis=token:group=128",
                                          ":scale=32",
                                          ":centre=tokens",
                                          ":centre=heads16",
                                          ":centre=heads8",
                                          ":centre=heads8:rotate=hadamard:axis=token",
                                          ":centre=tokens:axis=token"};
    float *x = malloc(sizeof *x * CELLS * WIDTH);
    uint16_t *y = malloc(sizeof *y * CELLS * WIDTH);
    fill(x, CELLS, WIDTH, 0);
    double energy = 0;
    for (int i = 0; i < CELLS * WIDTH; i++) {
        energy += x[i] * x[i];
    }
    for (size_t o = 0; o < sizeof options / sizeof options[0]; o++) {
        for (int kind = 0; kind < 2; kind++) {
            if (in_haste()) {
                continue;
            }
            double last = energy;
            for (int b = 0; b < 6; b++) {
                char spec[120];
                /* The memory for means in 16 bits allows for heads of half a row: from 5 bits on f16 is about
                 * as small. */
                if (widths[b] >= 5 && strstr(options[o], "heads16")) {
                    continue;
                }
                snprintf(spec, sizeof spec, "tada:%d:window=0:sinks=0%s", widths[b], options[o]);
                pass(spec, (enum tada_kind)kind, x, TADA_F32, y);
                double error = total_error(x, y);
                if (!(error < 0.75 * last)) {
                    fail_msg("%s: %g after %g", spec, error / energy, last / energy);
                }
                last = error;
                strcat(spec, ":search=minmax");
                pass(spec, (enum tada_kind)kind, x, TADA_F32, y);
                if (widths[b] < 8 && !(error <= total_error(x, y) * 1.02)) {
                    fail_msg("%s is better without the search", spec);
                }
            }
            assert_true(last < 2e-3 * energy || strstr(options[o], "heads16"));
        }
    }
    free(x);
    free(y);
}

/* Decoded rows encode to the same codes again and again, and on every kernel set. */
static void reencoding(void **state)
{
    (void)state;
    static const char *const options[] = {"",
                                          ":rotate=hadamard",
                                          ":rotate=none",
                                          ":axis=token",
                                          ":axis=channel",
                                          ":search=minmax",
                                          ":axis=channel:group=32",
                                          ":axis=token:rotate=hadamard:group=32"};
    float *x = malloc(sizeof *x * CELLS * WIDTH);
    uint16_t *y = malloc(sizeof *y * CELLS * WIDTH), *z = malloc(sizeof *z * CELLS * WIDTH);
    for (int data = 0; data < DATA_KINDS; data++) {
        fill(x, CELLS, WIDTH, data);
        /* Cells that were never written. */
        for (int t = 64; t < 128; t++) {
            if (random_below(8)) {
                memset(x + t * WIDTH, 0, WIDTH * sizeof *x);
            }
        }
        x[64 * WIDTH] = 1;
        for (size_t o = 0; o < sizeof options / sizeof options[0]; o++) {
            for (int b = 0; b < 6; b++) {
                for (int kind = 0; kind < 2; kind++) {
                    if (in_haste()) {
                        continue;
                    }
                    char spec[120];
                    snprintf(spec, sizeof spec, "tada:%d:window=0:sinks=0%s", widths[b], options[o]);
                    tada_kernels_select("scalar");
                    pass(spec, (enum tada_kind)kind, x, TADA_F32, y);
                    for (int i = 0; i < N_TIERS; i++) {
                        if (tada_kernels_select(tiers[i]) != TADA_OK) {
                            continue;
                        }
                        pass(spec, (enum tada_kind)kind, y, TADA_F16, z);
                        if (memcmp(y, z, sizeof *y * CELLS * WIDTH) != 0) {
                            int at = 0;
                            while (y[at] == z[at]) {
                                at++;
                            }
                            fail_msg("%s of kind %d, data %d, %s: cell %d, column %d was %g, is %g", spec,
                                     kind, data, tiers[i], at / WIDTH, at % WIDTH, half_value(y[at]),
                                     half_value(z[at]));
                        }
                    }
                }
            }
        }
    }
    free(x);
    free(y);
    free(z);
}

/* Values that are not finite stay in their row or channel, and nothing crashes. */
static void not_finite(void **state)
{
    (void)state;
    float *x = malloc(sizeof *x * CELLS * WIDTH);
    uint16_t *y = malloc(sizeof *y * CELLS * WIDTH);
    fill(x, CELLS, WIDTH, 0);
    x[5 * WIDTH + 7] = NAN;
    x[70 * WIDTH + 9] = INFINITY;
    x[130 * WIDTH + 11] = -INFINITY;
    pass("tada:4:window=0:sinks=0:search=minmax:widths=equal", TADA_K, x, TADA_F32, y);
    for (int t = 0; t < CELLS; t++) {
        for (int d = 0; d < WIDTH; d++) {
            if (d != 7 && d != 9 && d != 11) {
                assert_true(fabs(half_value(y[t * WIDTH + d]) - x[t * WIDTH + d]) < 0.6);
            }
        }
    }
    free(x);
    free(y);
}

/* Finite rows that nearly fill the range of f16 must not come back as infinities. */
static void end_of_range(void **state)
{
    (void)state;
    uint16_t *x = malloc(sizeof *x * CELLS * WIDTH), *y = malloc(sizeof *y * CELLS * WIDTH);
    const char *specs[] = {"tada:4:window=0:sinks=0", "tada:4:window=0:sinks=0:rotate=hadamard"};
    for (int s = 0; s < 2; s++) {
        for (int kind = 0; kind < 2; kind++) {
            for (int i = 0; i < CELLS * WIDTH; i++) {
                x[i] = i % 2 ? (i / WIDTH % 3 == 2 ? 0xfbff : 0x7bff) : 0x0000;
            }
            pass(specs[s], kind ? TADA_V : TADA_K, x, TADA_F16, y);
            for (int i = 0; i < CELLS * WIDTH; i++) {
                assert_true((y[i] & 0x7c00) != 0x7c00);
            }
        }
    }
    free(x);
    free(y);
}

/* Channels of very different size: bits go to where they are needed, and a second encoding changes nothing.
 */
static void adaptive_widths(void **state)
{
    (void)state;
    float *x = malloc(sizeof *x * CELLS * WIDTH);
    uint16_t *y = malloc(sizeof *y * CELLS * WIDTH), *z = malloc(sizeof *z * CELLS * WIDTH);
    for (int i = 0; i < CELLS * WIDTH; i++) {
        x[i] = random_normal() * exp2f((float)(i % WIDTH / 8 % 5));
    }
    for (int bits = 3; bits <= 5; bits++) {
        char spec[80];
        double error[2];
        for (int adaptive = 0; adaptive < 2; adaptive++) {
            snprintf(spec, sizeof spec, "tada:%d:window=0:sinks=0:k.widths=%s", bits,
                     adaptive ? "adaptive" : "equal");
            pass(spec, TADA_K, x, TADA_F32, y);
            error[adaptive] = total_error(x, y);
        }
        if (!(error[1] < 0.75 * error[0])) {
            fail_msg("%d bits: error %g with adaptive widths, %g with equal ones", bits, error[1], error[0]);
        }
        pass(spec, TADA_K, y, TADA_F16, z);
        assert_memory_equal(y, z, sizeof *y * CELLS * WIDTH);
    }
    /* Rows too small for the scales decode to zeros, and so come back as cells that were never written. */
    for (int i = 0; i < CELLS * WIDTH; i++) {
        bool large = i / WIDTH % 8 == 0, far = i % WIDTH / 8 % 2;
        x[i] = !large ? (float)(i % WIDTH == 0)
               : far  ? 30000 + random_normal() * 500
                      : random_normal() * 5000;
    }
    for (int bits = 2; bits <= 5; bits++) {
        char spec[80];
        snprintf(spec, sizeof spec, "tada:%d:window=0:sinks=0", bits);
        pass(spec, TADA_K, x, TADA_F32, y);
        pass(spec, TADA_K, y, TADA_F16, z);
        assert_memory_equal(y, z, sizeof *y * CELLS * WIDTH);
    }
    free(x);
    free(y);
    free(z);
}

/* Words of 8 bits: tokens of all sizes and means keep an error of at most a few steps of their own scale, or
 * of the least one that the largest token of the tile leaves; with few bits and rotation they are no worse
 * than words of 16 bits. */
static void narrow_words(void **state)
{
    (void)state;
    float *x = malloc(sizeof *x * CELLS * WIDTH);
    uint16_t *y = malloc(sizeof *y * CELLS * WIDTH), *z = malloc(sizeof *z * CELLS * WIDTH);
    for (int i = 0; i < CELLS * WIDTH; i++) {
        x[i] = random_normal();
    }
    for (int bits = 2; bits <= 4; bits++) {
        double error[2];
        for (int narrow = 0; narrow < 2; narrow++) {
            char spec[80];
            snprintf(spec, sizeof spec, "tada:%d:window=0:sinks=0:v.scale=%d", bits, narrow ? 8 : 16);
            pass(spec, TADA_V, x, TADA_F32, y);
            error[narrow] = total_error(x, y);
        }
        if (!(error[1] < error[0])) {
            fail_msg("%d bits: error %g with words of 8 bits, %g with 16", bits, error[1], error[0]);
        }
    }
    /* Sizes from 2^-12 to 2^8, means of up to eight deviations, outliers, constants, zeros. */
    for (int t = 0; t < CELLS; t++) {
        float size = ldexpf(1, random_below(21) - 12), mean = (float)(random_below(17) - 8);
        for (int d = 0; d < WIDTH; d++) {
            float v = t % 8 == 5 ? 0 : random_normal() + (t % 3 ? 0 : mean);
            x[t * WIDTH + d] = size * (t % 8 == 6 ? 1 : t % 8 == 7 && d % 50 == 7 ? 20 * v : v);
        }
    }
    for (int bits = 2; bits <= 8; bits += bits == 6 ? 2 : 1) {
        char spec[120];
        snprintf(spec, sizeof spec, "tada:%d:window=0:sinks=0:v.scale=8:v.rotate=none:search=minmax", bits);
        pass(spec, TADA_V, x, TADA_F32, y);
        pass(spec, TADA_V, y, TADA_F16, z);
        assert_memory_equal(y, z, sizeof *y * CELLS * WIDTH);
        for (int tile = 0; tile < CELLS; tile += 64) {
            /* The plane knows no heads, so that all groups of a tile share a base. */
            float most = 0;
            for (int i = 0; i < 64 * WIDTH; i++) {
                most = fmaxf(most, fabsf(x[tile * WIDTH + i]));
            }
            for (int first = 0; first < WIDTH; first += 64) {
                for (int t = tile; t < tile + 64; t++) {
                    float own = 0;
                    for (int d = first; d < first + 64; d++) {
                        own = fmaxf(own, fabsf(x[t * WIDTH + d]));
                    }
                    /* A scale is at most twice the size over a quarter of the codes; or 31 steps below the
                     * base, which is as large as the largest value where that is all that there is in its
                     * group. */
                    float step = fmaxf(fmaxf(own, most * 0x1p-7f) * 8 / (float)(1 << bits), most * 0x1p-7f);
                    for (int d = first; d < first + 64; d++) {
                        float got = half_value(y[t * WIDTH + d]);
                        if (!(fabsf(got - x[t * WIDTH + d]) <= step)) {
                            fail_msg("%s: cell %d, column %d is %g instead of %g", spec, t, d, (double)got,
                                     (double)x[t * WIDTH + d]);
                        }
                    }
                }
            }
        }
    }
    free(x);
    free(y);
    free(z);
}

TEST_MAIN(cmocka_unit_test(error_bound), cmocka_unit_test(every_recipe), cmocka_unit_test(reencoding),
          cmocka_unit_test(not_finite), cmocka_unit_test(end_of_range), cmocka_unit_test(adaptive_widths),
          cmocka_unit_test(narrow_words))
