/* Sums over the sections of a head: the same, but for rounding, as over one section after the other, or over
 * codes that are joined with their refinement before. */
#include "guard.h"
#include "numbers.h"
#include "sets.h"
#include "tests.h"
#include "codec/widths.h"

enum { CELLS = TADA_TILE_CELLS, SPAN = TADA_SPAN };

#define ROUNDING 0x1p-24

typedef struct section_case {
    int dim, m;
    int first, step, n_vectors, n_fours; /* as in a dot */
    int most_widths;                     /* that there are */
    int fine_bits;
    bool saturated, forbidden, row_bad;
} section_case;

static const int all_widths[] = {2, 3, 4, 5, 6, 8};

/* Random widths as half bytes, their sections in `s` and the codes of them all; checks that every section is
 * as doc/reference/format.md has it. */
static void sections_of(const section_case *c, tada_sections *s)
{
    int spans = c->dim / SPAN, bits = 0, at = 0, only = random_below(6);
    uint8_t *widths = guard_take((size_t)spans / 2, 1);
    memset(widths, 0, (size_t)spans / 2);
    for (int i = 0; i < spans; i++) {
        int width = all_widths[c->most_widths > 1 ? (random_below(c->most_widths) * 5 + i / 7) % 6 : only];
        widths[i / 2] = (uint8_t)(widths[i / 2] | width << i % 2 * 4);
        bits += width;
    }
    uint8_t *codes = guard_take((size_t)bits * 64, 1);
    for (int i = 0; i < bits * 64; i++) {
        codes[i] = c->saturated ? 0xff : (uint8_t)random_bits();
    }
    memset(s, 0x5a, sizeof *s);
    tada_sections_make(widths, c->dim, codes, s);
    /* Nothing goes where the structure is only padded. */
    for (size_t i = offsetof(tada_sections, order) + sizeof s->order; i < sizeof *s; i++) {
        assert_int_equal(((const uint8_t *)s)[i], 0x5a);
    }
    int n = 0;
    const uint8_t *place = codes;
    for (int w = 5; w >= 0; w--) {
        int first = at, low = all_widths[w] == 8 ? 8 : all_widths[w] >= 4 ? 4 : 2;
        for (int i = 0; i < spans; i++) {
            if (tada_width(widths, i) == all_widths[w]) {
                assert_int_equal(s->order[at++], i);
            }
        }
        if (at > first) {
            const tada_section *section = &s->of[n++];
            assert_int_equal(section->bits, all_widths[w]);
            assert_int_equal(section->n_spans, at - first);
            assert_ptr_equal(section->low, place);
            assert_ptr_equal(section->high,
                             all_widths[w] > low ? place + (size_t)(at - first) * 64 * (size_t)low : NULL);
            place += (size_t)(at - first) * 64 * (size_t)all_widths[w];
        }
    }
    assert_int_equal(s->n, n);
}

/* Adds the sums over codes alone, without bias, to `want`, and their magnitudes to `size`. */
static void add_sums(const tada_kernels *k, tada_dot dot, double *want, double *size)
{
    static const float nothing[TADA_ROWS];
    size_t n = (size_t)(16 * dot.n_vectors), all = (size_t)dot.m * n;
    float *sums = guard_take(all, sizeof *sums);
    memset(sums, 0, all * sizeof *sums);
    dot.bias = nothing;
    dot.out = sums;
    dot.ldo = n;
    dot.next = dot.next_end;
    k->codes_dot(&dot);
    for (size_t j = 0; j < all; j++) {
        want[j] += (double)sums[j];
        size[j] += fabs((double)sums[j]);
    }
}

/* want: before + bias * offset + every section's sum, and in `size` what their rounding may come from. */
static void sum_apart(const tada_kernels *k, const tada_dot *all, const tada_sections *s, double *want,
                      double *size)
{
    int16_t *x = guard_take((size_t)all->m * all->ldx, sizeof *x);
    const uint8_t *order = s->order;
    for (int i = 0; i < s->n; i++) {
        tada_dot one = *all;
        for (int r = 0; r < all->m; r++) {
            for (int j = 0; j < s->of[i].n_spans; j++) {
                memcpy(x + (size_t)r * all->ldx + j * SPAN, all->x + (size_t)r * all->ldx + order[j] * SPAN,
                       SPAN * sizeof *x);
            }
        }
        order += s->of[i].n_spans;
        one.x = x;
        one.bits = s->of[i].bits;
        one.low = s->of[i].low;
        one.high = s->of[i].high;
        one.n_fours = s->of[i].n_spans * 2;
        add_sums(k, one, want, size);
    }
}

/* The same over all codes as bytes, joined with a refinement. */
static void sum_joined(const tada_kernels *k, const tada_dot *all, const tada_sections *s,
                       const tada_fine *fine, int dim, double *want, double *size)
{
    uint8_t *bytes = guard_take((size_t)(dim * CELLS), 1);
    tada_dot one = *all;
    tada_kernels_scalar.unpack(s, fine, bytes);
    one.bits = 8;
    one.low = bytes;
    one.high = NULL;
    add_sums(k, one, want, size);
}

/* Random refinement of a head, no more bits than codes leave room for. */
static tada_fine fine_of(const section_case *c, const tada_sections *s)
{
    int bits = c->fine_bits, low = bits < 4 ? 2 : 4, at = 0;
    uint8_t *packed = guard_take((size_t)(c->dim * bits * 8), 1);
    memset(packed, 0, (size_t)(c->dim * bits * 8));
    uint8_t *high = bits == 3 ? packed + c->dim * low * 8 : NULL;
    for (int i = 0; bits > 0 && i < s->n; i++) {
        int used = bits < 8 - s->of[i].bits ? bits : 8 - s->of[i].bits;
        for (int j = 0; j < s->of[i].n_spans; j++, at++) {
            for (int p = 0; p < 8 * CELLS; p++) {
                int v = s->order[at] * 8 + p / 64;
                unsigned fine = c->saturated ? (1u << used) - 1 : (unsigned)random_below(1 << used);
                uint8_t *to = &packed[v * low / 8 * 64 + p % 64];
                *to = (uint8_t)(*to | (fine & ((1u << low) - 1)) << v * low % 8);
                if (high) {
                    high[v / 8 * 64 + p % 64] = (uint8_t)(high[v / 8 * 64 + p % 64] | fine >> low << v % 8);
                }
            }
        }
    }
    return (tada_fine){bits, packed, high};
}

/* Random rows of queries, folded by scales and offsets of the columns of K; x [m][ldx], inverse and bias [m]
 * are written. */
static void fold_queries(const tada_kernels *k, const section_case *c, int16_t *x, size_t ldx, float *inverse,
                         float *bias)
{
    size_t dim = (size_t)c->dim;
    float *q = guard_take((size_t)c->m * dim, sizeof *q);
    float *scale = guard_take(dim, sizeof *scale), *offset = guard_take(dim, sizeof *offset);
    numbers_fill(q, c->m, dim, c->dim, random_below(NUMBERS_FINITE));
    if (c->row_bad) {
        q[random_below(4 * c->n_fours)] = NAN;
    }
    for (size_t d = 0; d < dim; d++) {
        scale[d] = 0.25f * (float)(1 + random_below(9));
        offset[d] = scale[d] * (float)(random_below(64) - 32);
    }
    tada_fold fold = {.x = q,
                      .ldx = dim,
                      .n_tiles = 1,
                      .m = c->m,
                      .n = 4 * c->n_fours,
                      .scale = scale,
                      .offset = offset,
                      .folded = x,
                      .ldf = ldx,
                      .inverse = inverse,
                      .bias = bias};
    k->fold(&fold);
}

static void check_sections(const tada_kernels *k, const section_case *c, enum guard_side side)
{
    tada_sections s;
    guard_start(side);
    case_is("sections_dot, head size %d, %d rows, %d vectors from %d on in %d steps of %d, %d widths, "
            "refinement %d, saturated %d, bad %d",
            c->dim, c->m, c->n_vectors, c->first, c->n_fours, c->step, c->most_widths, c->fine_bits,
            c->saturated, c->row_bad);
    sections_of(c, &s);
    tada_fine fine = fine_of(c, &s);
    size_t dim = (size_t)c->dim, m = (size_t)c->m, group = (size_t)(16 * c->n_vectors);
    size_t ldx = dim + (size_t)random_below(2) * 24, ldo = group + (size_t)random_below(20);
    float *out = guard_take((m - 1) * ldo + group, sizeof *out);
    float *inverse = guard_take(m, sizeof *inverse), *bias = guard_take(m, sizeof *bias);
    int16_t *x = guard_take(m * ldx, sizeof *x);
    double *want = guard_take(m * group, sizeof *want), *size = guard_take(m * group, sizeof *size);
    fold_queries(k, c, x, ldx, inverse, bias);
    for (size_t r = 0; r < m; r++) {
        for (size_t j = 0; j < group; j++) {
            out[r * ldo + j] = random_normal();
            want[r * group + j] = (double)out[r * ldo + j] + (double)bias[r];
            size[r * group + j] = fabs((double)out[r * ldo + j]) + fabs((double)bias[r]);
        }
    }
    tada_dot dot = {.first = c->first,
                    .step = c->step,
                    .n_fours = c->n_fours,
                    .n_vectors = c->n_vectors,
                    .m = c->m,
                    .x = x,
                    .ldx = ldx,
                    .inverse = inverse,
                    .bias = bias,
                    .out = out,
                    .ldo = ldo,
                    .next = c->forbidden ? guard_forbidden() : s.of[0].low};
    dot.next_end = dot.next + random_below(3 * c->dim * 64);
    if (c->fine_bits) {
        sum_joined(k, &dot, &s, &fine, c->dim, want, size);
    } else {
        sum_apart(k, &dot, &s, want, size);
    }
    k->sections_dot(&dot, &s, &fine);
    guard_check();
    for (size_t i = 0; i < m * group; i++) {
        double got = (double)out[i / group * ldo + i % group], bound = 8 * ROUNDING * size[i] + 1e-37;
        bool bad = c->row_bad && i < group;
        if (bad ? isfinite(got) : !(fabs(got - want[i]) <= bound)) {
            fail_case("row %zu, column %zu is %.9g instead of %.9g, bound %.3g", i / group, i % group, got,
                      want[i], bound);
        }
    }
}

/* A group of columns of K; of one section that is refined any vectors, often such as never part. */
static void random_part(section_case *c)
{
    c->step = CELLS / 16;
    c->n_vectors = random_below(3) ? c->step : 1 << random_below(2);
    c->first = random_below(c->step / c->n_vectors) * c->n_vectors;
    c->n_fours = c->dim / 4;
    if (c->most_widths == 1 && c->fine_bits && random_below(2)) {
        int least = random_below(3) ? 4 : 1, most = c->dim / 4 < 16 ? c->dim / 4 : 16;
        c->step = 4 + random_below(most - 3) / least * least;
        c->n_vectors = least + random_below(c->step - least + 1) / least * least;
        c->n_fours = 4 * (1 + random_below(c->dim / c->step / 4));
        c->first = c->dim - (c->n_fours - 1) * c->step - c->n_vectors;
        c->first = random_below(c->first + 1) / least * least;
    }
}

void test_sections(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int dim = 16; dim <= TADA_CODES_DIM; dim = next_dim(dim)) {
        for (int again = 0; again < 48; again++) {
            section_case c = {.dim = dim,
                              .m = 1 + random_below(again % 4 ? 9 : TADA_ROWS),
                              .most_widths = again % 2 ? 1 : 1 + random_below(6),
                              .fine_bits = random_below(3) ? 2 + random_below(3) : 0,
                              .saturated = !random_below(6),
                              .forbidden = random_below(2),
                              .row_bad = !random_below(8)};
            random_part(&c);
            check_sections(k, &c, (enum guard_side)random_below(GUARD_SIDES));
        }
    }
}
