/*
 * Sums over packed codes: `fold` and `codes_dot` together, as what lies between them is of each set's own.
 *
 * With u a 32000th of a row's largest |x * scale| (a 256th of n times as much for sums over n codes, more
 * than 256), every product is off by at most half of u times the code, and a little for the arithmetic in
 * float; what the sum of x times offset adds is the rounding of its sum.
 */
#include "guard.h"
#include "numbers.h"
#include "sets.h"
#include "tests.h"

enum { CELLS = TADA_TILE_CELLS, MOST_TILES = 16 };

#define ROUNDING 0x1p-24

static const int widths[] = {2, 3, 4, 5, 6, 8};

/* Tiles of one head as the library reads them: see codes.c. */
typedef struct head_case {
    enum tada_kind kind;
    enum tada_axis axis;
    int bits, dim, group, number; /* number: of the group */
    int n_tiles, m;
    int x_kind, scale_kind;
    bool saturated; /* all codes as large as they can be */
    bool forbidden; /* the codes that come next cannot be read */
    int bad_row;    /* of all tiles, or -1 */
    /* Vectors from anywhere in the head, unless n_fours is 0: then as kind, axis and group have them. */
    int first, step, n_fours, n_vectors;
} head_case;

typedef struct product {
    bool folded; /* scales belong to what is summed over */
    int first, step, inner, outer;
    size_t ldx, x_tile, factors_tile, ldf, ldo;
    uint8_t *low[MOST_TILES], *high[MOST_TILES];
    float *x, *scale, *offset, *inverse, *bias, *out, *before;
    int16_t *integers;
} product;

static bool sums_over_channels(const head_case *c)
{
    return c->kind == TADA_K;
}

/* As doc/reference/format.md has it. */
static unsigned code_of(const head_case *c, const product *p, int tile, int v, int place)
{
    int low = c->bits == 8 ? 8 : c->bits >= 4 ? 4 : 2, high = c->bits - low;
    unsigned code = p->low[tile][v * low / 8 * 64 + place] >> v * low % 8 & ((1u << low) - 1);
    if (high) {
        code |= (p->high[tile][v * high / 8 * 64 + place] >> v * high % 8 & ((1u << high) - 1)) << low;
    }
    return code;
}

static float scale_of(int kind)
{
    switch (kind) {
    case 1: /* one of the format's, anywhere */
        return ldexpf((float)(4 + random_below(4)), random_below(32) - 18);
    case 2:
        return 57344.0f;
    case 3:
        return 0x1p-16f;
    default:
        return ldexpf((float)(4 + random_below(4)), random_below(4) - 6);
    }
}

static uint8_t *random_plane(size_t bytes, bool saturated)
{
    uint8_t *plane = guard_take(bytes, 1);
    for (size_t i = 0; i < bytes; i++) {
        plane[i] = saturated ? 0xff : (uint8_t)random_bits();
    }
    return plane;
}

static void product_make(const head_case *c, product *p)
{
    bool channels = sums_over_channels(c);
    int all_inner = channels ? c->dim : CELLS, all_outer = channels ? CELLS : c->dim,
        total = c->n_tiles * c->m;
    /* K by channel and V by token: a group is a range of columns of the result. */
    p->folded = channels == (c->axis == TADA_AXIS_CHANNEL);
    p->step = all_outer / 16;
    p->inner = p->folded ? all_inner : c->group;
    p->outer = p->folded ? c->group : all_outer;
    p->first = p->folded ? c->number * c->group / 16 : c->number * c->group / 4 * p->step;
    if (c->n_fours) {
        p->step = c->step;
        p->inner = 4 * c->n_fours;
        p->outer = 16 * c->n_vectors;
        p->first = c->first;
    }
    int low = c->bits == 8 ? 8 : c->bits >= 4 ? 4 : 2;
    for (int j = 0; j < c->n_tiles; j++) {
        p->low[j] = random_plane((size_t)(c->dim * 8 * low), c->saturated);
        p->high[j] =
            c->bits > low ? random_plane((size_t)(c->dim * 8 * (c->bits - low)), c->saturated) : NULL;
    }
    p->ldx = (size_t)p->inner + (size_t)(random_below(2) ? random_below(40) : 0);
    /* The same rows for all tiles, as with queries, or others for each. */
    p->x_tile = random_below(2) ? 0 : p->ldx * (size_t)c->m + (size_t)random_below(10);
    p->x = guard_take(p->x_tile * (size_t)(c->n_tiles - 1) + rows_size(c->m, p->ldx, p->inner), sizeof *p->x);
    for (int j = 0; j < c->n_tiles; j++) {
        numbers_fill(p->x + (size_t)j * p->x_tile, c->m, p->ldx, p->inner, c->x_kind);
    }
    if (c->bad_row >= 0) {
        size_t at = (size_t)(c->bad_row / c->m) * p->x_tile + (size_t)(c->bad_row % c->m) * p->ldx;
        p->x[at + (size_t)random_below(p->inner)] = random_below(2)   ? NAN
                                                    : random_below(2) ? INFINITY
                                                                      : -INFINITY;
    }
    int factors = p->folded ? p->inner : p->outer;
    p->factors_tile = (size_t)factors + (size_t)random_below(20);
    p->scale = guard_take(rows_size(c->n_tiles, p->factors_tile, factors), sizeof *p->scale);
    p->offset = guard_take(rows_size(c->n_tiles, p->factors_tile, factors), sizeof *p->offset);
    for (int j = 0; j < c->n_tiles; j++) {
        for (int i = 0; i < factors; i++) {
            size_t at = (size_t)j * p->factors_tile + (size_t)i;
            p->scale[at] = scale_of(c->scale_kind);
            p->offset[at] = p->scale[at] * (float)(random_below(512) - 256);
        }
    }
    p->ldf = (size_t)p->inner + (size_t)(random_below(2) ? random_below(40) : 0);
    p->integers = guard_take(rows_size(total, p->ldf, p->inner), sizeof *p->integers);
    p->inverse = guard_take((size_t)total, sizeof *p->inverse);
    p->bias = guard_take((size_t)total, sizeof *p->bias);
    p->ldo = (size_t)p->outer + (size_t)(random_below(2) ? random_below(40) : 0);
    p->out = guard_take(rows_size(total, p->ldo, p->outer), sizeof *p->out);
    p->before = guard_take((size_t)(total * p->outer), sizeof *p->before);
    numbers_fill(p->before, total, (size_t)p->outer, p->outer,
                 random_below(2) ? NUMBERS_ZERO : NUMBERS_NORMAL);
    for (int r = 0; r < total; r++) {
        memcpy(p->out + (size_t)r * p->ldo, p->before + r * p->outer, (size_t)p->outer * sizeof *p->out);
    }
}

static void product_run(const tada_kernels *k, const head_case *c, const product *p)
{
    tada_fold fold = {.x = p->x,
                      .ldx = p->ldx,
                      .x_tile = p->x_tile,
                      .factors_tile = p->factors_tile,
                      .n_tiles = c->n_tiles,
                      .m = c->m,
                      .n = p->inner,
                      .scale = p->folded ? p->scale : NULL,
                      .offset = p->folded ? p->offset : NULL,
                      .folded = p->integers,
                      .ldf = p->ldf,
                      .inverse = p->inverse,
                      .bias = p->bias};
    k->fold(&fold);
    for (int j = 0; j < c->n_tiles; j++) {
        size_t row = (size_t)(j * c->m), factors = (size_t)j * p->factors_tile;
        tada_dot dot = {.low = p->low[j],
                        .high = p->high[j],
                        .bits = c->bits,
                        .first = p->first,
                        .step = p->step,
                        .n_fours = p->inner / 4,
                        .n_vectors = p->outer / 16,
                        .m = c->m,
                        .x = p->integers + row * p->ldf,
                        .ldx = p->ldf,
                        .inverse = p->inverse + row,
                        .bias = p->bias + row,
                        .scale = p->folded ? NULL : p->scale + factors,
                        .offset = p->folded ? NULL : p->offset + factors,
                        .out = p->out + row * p->ldo,
                        .ldo = p->ldo,
                        .next = c->forbidden ? guard_forbidden() : p->low[(j + 1) % c->n_tiles]};
        dot.next_end = dot.next + random_below(3 * c->dim * 64);
        k->codes_dot(&dot);
    }
}

/* The share of the bound that the worst error takes. */
static double check_row(const head_case *c, const product *p, int tile, int r)
{
    const float *x = p->x + (size_t)tile * p->x_tile + (size_t)r * p->ldx;
    const float *scale = p->scale + (size_t)tile * p->factors_tile;
    const float *offset = p->offset + (size_t)tile * p->factors_tile;
    int row = tile * c->m + r;
    double top = 0, worst = 0;
    for (int i = 0; i < p->inner; i++) {
        top = fmax(top, fabs((double)x[i] * (p->folded ? (double)scale[i] : 1)));
    }
    for (int j = 0; j < p->outer; j++) {
        double before = (double)p->before[row * p->outer + j],
               got = (double)p->out[(size_t)row * p->ldo + (size_t)j];
        double sum = 0, size = 0, codes = 0, bias = 0, bias_size = 0;
        for (int i = 0; i < p->inner; i++) {
            int v = p->first + i / 4 * p->step + j / 16;
            double code = code_of(c, p, tile, v, j % 16 * 4 + i % 4);
            double y = (double)x[i] * (double)(p->folded ? scale[i] : scale[j]) * code;
            double b = (double)x[i] * (double)(p->folded ? offset[i] : offset[j]);
            sum += y;
            size += fabs(y);
            codes += code;
            bias += b;
            bias_size += fabs(b);
        }
        double unit = top / 32000 * fmax(1, p->inner / 256.0) * (p->folded ? 1 : (double)scale[j]);
        double bound = 0.5 * unit * codes + 8 * ROUNDING * size +
                       ROUNDING * ((p->inner + 3) * bias_size + 4 * fabs(before)) + 1e-37;
        if (top < 32000 * 0x1p-120) {
            /* Too small to be divided by: such rows may count as zeros. */
            bound += size;
        }
        double want = before + sum + bias, share = fabs(got - want) / bound;
        if (!(share <= 1)) {
            fail_case("row %d, column %d is %.9g instead of %.9g, bound %.3g", row, j, got, want, bound);
        }
        worst = fmax(worst, top < 32000 * 0x1p-120 ? 0 : share);
    }
    return worst;
}

static double check_case(const tada_kernels *k, const head_case *c, enum guard_side side)
{
    product p;
    guard_start(side);
    product_make(c, &p);
    case_is(
        "fold and codes_dot: %c of %d bits, axis %s, head size %d, group %d number %d, %d tiles of %d rows, "
        "input %d, scales %d, saturated %d, bad row %d; %d values from vector %d on in steps of %d, "
        "%d columns; ldx %zu, ldf %zu, ldo %zu",
        c->kind == TADA_K ? 'K' : 'V', c->bits, c->axis == TADA_AXIS_CHANNEL ? "channel" : "token", c->dim,
        c->group, c->number, c->n_tiles, c->m, c->x_kind, c->scale_kind, c->saturated, c->bad_row, p.inner,
        p.first, p.step, p.outer, p.ldx, p.ldf, p.ldo);
    product_run(k, c, &p);
    guard_check();
    double worst = 0;
    for (int row = 0; row < c->n_tiles * c->m; row++) {
        const float *out = p.out + (size_t)row * p.ldo;
        /* Where all tiles share their rows, all of them have the bad one. */
        bool bad = c->bad_row >= 0 && (p.x_tile ? row == c->bad_row : row % c->m == c->bad_row % c->m);
        for (int j = 0; j < p.outer && bad; j++) {
            if (isfinite(out[j])) {
                fail_case("row %d, column %d is finite", row, j);
            }
        }
        for (size_t j = (size_t)p.outer; j < p.ldo && row + 1 < c->n_tiles * c->m; j++) {
            assert_true(isnan(out[j]));
        }
        if (!bad) {
            worst = fmax(worst, check_row(c, &p, row / c->m, row % c->m));
        }
    }
    return worst;
}

/* A group of the recipe that fits a head of this size. */
static int random_group(enum tada_axis axis, int dim)
{
    if (axis == TADA_AXIS_CHANNEL) {
        return 16 << random_below(3);
    }
    int group;
    do {
        group = 16 * (1 + random_below(dim / 16));
    } while (dim % group != 0);
    return group;
}

static head_case random_case(int kind, int axis, int bits, int dim, int m)
{
    head_case c = {
        .kind = (enum tada_kind)kind, .axis = (enum tada_axis)axis, .bits = bits, .dim = dim, .m = m};
    c.group = random_group(c.axis, dim);
    c.number = random_below((axis == TADA_AXIS_CHANNEL ? CELLS : dim) / c.group);
    c.n_tiles = 1 + random_below(TADA_ROWS / m < MOST_TILES ? TADA_ROWS / m : MOST_TILES);
    c.x_kind = random_below(2) ? NUMBERS_NORMAL : random_below(NUMBERS_FINITE);
    c.scale_kind = random_below(2) ? 0 : random_below(4);
    c.saturated = !random_below(8);
    c.forbidden = random_below(2);
    c.bad_row = -1;
    return c;
}

void test_codes(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    double worst = 0;
    for (int kind = TADA_K; kind <= TADA_V; kind++) {
        for (int axis = TADA_AXIS_CHANNEL; axis <= TADA_AXIS_TOKEN; axis++) {
            for (size_t b = 0; b < sizeof widths / sizeof widths[0]; b++) {
                for (int dim = 16; dim <= TADA_CODES_DIM; dim = next_dim(dim)) {
                    head_case c = random_case(kind, axis, widths[b], dim, 1 + random_below(8));
                    for (enum guard_side side = 0; side < GUARD_SIDES; side++) {
                        worst = fmax(worst, check_case(k, &c, side));
                    }
                }
                for (int m = 1; m <= TADA_ROWS; m++) {
                    head_case c =
                        random_case(kind, axis, widths[b], 16 * (1 + random_below(m > 8 ? 6 : 16)), m);
                    worst = fmax(worst, check_case(k, &c, (enum guard_side)random_below(GUARD_SIDES)));
                }
            }
        }
    }
    print_message("worst error: %.3f of its bound\n", worst);
}

/* What kernels.h allows beyond what the library asks for today: vectors from anywhere. */
void test_codes_anywhere(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (size_t b = 0; b < sizeof widths / sizeof widths[0]; b++) {
        for (int again = 0; again < 200; again++) {
            head_case c = random_case(random_below(2), random_below(2), widths[b], 256, 1 + random_below(12));
            c.step = 1 + random_below(16);
            c.n_vectors = 1 + random_below(c.step);
            c.n_fours = 4 * (1 + random_below(c.step > 4 ? c.dim / 4 / c.step : 16));
            c.first = random_below(c.dim - (c.n_fours - 1) * c.step - c.n_vectors + 1);
            check_case(k, &c, (enum guard_side)random_below(GUARD_SIDES));
        }
    }
}

/* Every sum that 32 bits must hold, at its largest. */
void test_codes_largest(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int kind = TADA_K; kind <= TADA_V; kind++) {
        for (size_t b = 0; b < sizeof widths / sizeof widths[0]; b++) {
            for (int m = 1; m <= 16; m++) {
                head_case c = {.kind = (enum tada_kind)kind,
                               .axis = kind == TADA_K ? TADA_AXIS_CHANNEL : TADA_AXIS_TOKEN,
                               .bits = widths[b],
                               .dim = m % 2 ? 256 : TADA_CODES_DIM,
                               .group = 64,
                               .number = 0,
                               .n_tiles = 1,
                               .m = (m + 1) / 2,
                               .x_kind = NUMBERS_CONSTANT,
                               .scale_kind = 2,
                               .saturated = true,
                               .bad_row = -1};
                check_case(k, &c, GUARD_AFTER);
            }
        }
    }
}

void test_codes_not_finite(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int again = 0; again < 600; again++) {
        head_case c = random_case(random_below(2), random_below(2), widths[random_below(6)],
                                  16 * (1 + random_below(8)), 1 + random_below(12));
        c.x_kind = NUMBERS_NORMAL;
        c.bad_row = random_below(c.m * c.n_tiles);
        check_case(k, &c, (enum guard_side)random_below(GUARD_SIDES));
    }
}
