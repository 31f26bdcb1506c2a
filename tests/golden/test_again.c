/*
 * Tiles encode to themselves: the rows that one decodes to, with its refinement and without, give the same
 * codes, and the former the same refinement. So does any tile, however hostile its rows, unless a rotation
 * takes them beyond the range of f16. The codes do not depend on whether the refinement is asked for.
 */
#include "golden.h"
#include "common/half.h"
#include "rows.h"

#include <stdio.h>

static const char *const recipes[] = {
    "tada",
    "tada:compact",
    "tada:4",
    "tada:2:widths=equal",
    "tada:2.25/3:k.widths=adaptive",
    "tada:5.5/6:k.widths=adaptive:k.rotate=hadamard",
    "tada:3:axis=token:rotate=none:scale=8:group=32",
    "tada:5:axis=token:rotate=hadamard:scale=8",
    "tada:2:axis=token:rotate=hadamard:group=16:search=minmax",
    "tada:4:axis=channel:rotate=hadamard:group=32",
    "tada:6:axis=channel:rotate=none:group=16:search=minmax",
};

enum sort {
    NORMAL,
    OFFSETS,  /* far from zero: f16 hardly tells the steps of the refinement */
    FEW,      /* of one to four cells */
    TWO,      /* two values a column */
    CONSTANT, /* one value a column */
    OUTLIERS,
    ZEROS, /* cells and columns of zeros */
    GOLDEN,
    NONFINITE,
    SORTS
};

enum { TILES = 6 };

/* A draw from a bell of deviation 1. */
static double draw_normal(void)
{
    return draw_bell() / 209.0;
}

/* Far from the end of the range, so that no rotation leaves it. */
static uint16_t draw_sort(enum sort sort, double size, double mean, int t, int d)
{
    double v = draw_normal();
    switch (sort) {
    case OFFSETS:
        return tada_half_from_float((float)(size * (v + 40 * mean)));
    case TWO:
        return tada_half_from_float((float)(size * (draw(2) ? 1 : 1.37 + mean)));
    case CONSTANT:
        return tada_half_from_float((float)(size * mean));
    case OUTLIERS:
        return tada_half_from_float((float)(size * (draw(40) ? v : 60 * v)));
    case ZEROS:
        return t % 5 == 2 || d % 11 == 3 ? 0 : tada_half_from_float((float)(size * v));
    default:
        return tada_half_from_float((float)(size * (v + mean)));
    }
}

static uint64_t draw_rows(const tada_codec *c, enum sort sort, int tile, uint16_t *rows)
{
    int width = c->layout.width;
    uint64_t mask = UINT64_MAX;
    if (sort == GOLDEN || sort == NONFINITE) {
        make_rows(c, 300 + (uint64_t)tile, rows);
    } else {
        for (int d = 0; d < width; d++) {
            double size = (1 + draw(40)) * 0.01, mean = draw_normal();
            for (int t = 0; t < CELLS; t++) {
                rows[t * width + d] = draw_sort(sort, size, mean, t, d);
            }
        }
    }
    /* Values at the end of f16 stay in its range where nothing mixes them. */
    if (sort == NONFINITE && c->layout.rotation == 1) {
        spoil_rows(c, rows);
    } else if (sort == NONFINITE) {
        for (int i = 0; i < CELLS * width; i++) {
            rows[i] = draw(30) ? rows[i] : (uint16_t)(0x7c00 | draw(2) << 15 | draw(2) << 9);
        }
    }
    for (int t = 0; t < CELLS && (sort == FEW || tile % 3 == 2); t++) {
        mask &= ~((uint64_t)(draw(2) || sort == FEW) << t);
    }
    for (int i = 0; sort == FEW && i <= tile % 4; i++) {
        mask |= (uint64_t)1 << draw(CELLS);
    }
    return mask ? mask : 1;
}

static void same(const char *recipe, enum sort sort, int tile, const char *what, const void *a, const void *b,
                 size_t n)
{
    if (memcmp(a, b, n) != 0) {
        fail_msg("%s, rows of sort %d, tile %d: another %s", recipe, (int)sort, tile, what);
    }
}

static void check(const char *recipe, const tada_codec *c, enum sort sort, int tile)
{
    golden f = golden_alloc(c), again = golden_alloc(c);
    uint8_t *fine = f.fine_bytes ? f.fine : NULL, *fine_again = f.fine_bytes ? again.fine : NULL;
    uint64_t written = draw_rows(c, sort, tile, f.rows), mask = encode(&f, f.rows, written, f.tile, fine);
    assert_int_equal(encode(&f, f.rows, written, again.tile, NULL), mask);
    same(recipe, sort, tile, "tile without a refinement", f.tile, again.tile, f.tile_bytes);
    decode(&f, f.tile, NULL, mask, f.decoded);
    assert_int_equal(encode(&f, f.decoded, mask, again.tile, fine_again), mask);
    same(recipe, sort, tile, "tile of rows decoded without the refinement", f.tile, again.tile, f.tile_bytes);
    if (fine) {
        /* What has come back without its refinement stays as it is when it gets one. */
        decode(&f, f.tile, again.fine, mask, again.refined);
        same(recipe, sort, tile, "row of a refinement in the middle", f.decoded, again.refined, f.row_bytes);
        decode(&f, f.tile, fine, mask, f.refined);
        assert_int_equal(encode(&f, f.refined, mask, again.tile, again.fine), mask);
        same(recipe, sort, tile, "tile of rows decoded with the refinement", f.tile, again.tile,
             f.tile_bytes);
        same(recipe, sort, tile, "refinement", fine, again.fine, f.fine_bytes);
    }
    free(f.memory);
    free(again.memory);
}

static void again(void **unused)
{
    static const int dims[] = {64, 128, 16, 80};
    (void)unused;
    state = 1;
    for (size_t r = 0; r < sizeof recipes / sizeof *recipes; r++) {
        tada_spec spec;
        assert_int_equal(tada_spec_parse(recipes[r], &spec, NULL), TADA_OK);
        for (int i = 0; i < 2 * SORTS * TILES; i++) {
            tada_codec c = {.kind = i % 2 ? TADA_V : TADA_K, .recipe = i % 2 ? spec.v : spec.k};
            int dim = dims[i / 2 % 4];
            c.layout = tada_layout_make(&c.recipe, dim * (dim > 64 ? 1 : 2), dim);
            check(recipes[r], &c, (enum sort)(i / 2 / TILES), i / 2 % TILES);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
