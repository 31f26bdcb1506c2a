/* Encoding of one tile: rotate, centre, quantise, pack. */
#include "common/sizes.h"
#include "groups.h"
#include "nonfinite.h"
#include "places.h"
#include "widths.h"

#include <math.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

/* How often a unit is encoded again at most, and how many of these rounds care for its refinement. */
enum { MOST_ROUNDS = 32, FINE_ROUNDS = 8 };

/* Floats that a unit needs: values and their transpose, then its groups. */
static size_t encode_work(const tada_codec *codec)
{
    size_t once = 2 * CELLS * (size_t)codec->layout.unit + tada_groups_scratch(codec);
    return (tada_size_larger(once, tada_tile_scratch(codec)) + 15) / 16 * 16;
}

/* Floats of a record, or of its refinement. */
static size_t record_floats(const tada_codec *codec)
{
    return (tada_size_larger(codec->layout.record_bytes, codec->layout.fine_bytes) + 63) / 64 * 16;
}

size_t tada_tile_encode_scratch(const tada_codec *codec)
{
    const tada_layout *l = &codec->layout;
    /* Head means; then rows decoded with and without the refinement, the record that they give, its
     * refinement and that of the record before it. */
    return CELLS * (size_t)l->head_dim + encode_work(codec) + CELLS * (size_t)l->width +
           3 * record_floats(codec) + 16;
}

static float mean_put(const tada_codec *c, uint8_t *means, size_t i, float value)
{
    if (c->recipe.centring == TADA_CENTRE_HEADS16) {
        uint16_t half = tada_half_finite(value);
        memcpy(means + 2 * i, &half, sizeof half);
    } else {
        means[i] = tada_byte_from_float(value);
    }
    return mean_get(c, means, i);
}

/* Values [64][columns] of the cells in `mask`, rotated; zeros elsewhere. finite: whether all values of the
 * rows are. */
static void load_columns(const tada_codec *c, const uint16_t *rows, uint64_t mask, bool finite, int first,
                         int columns, float *x)
{
    const tada_kernels *k = tada_kernels_get();
    for (int t = 0; t < CELLS; t++) {
        float *row = x + (size_t)t * columns;
        if (!(mask >> t & 1)) {
            memset(row, 0, (size_t)columns * sizeof *row);
            continue;
        }
        k->half_to_float(rows + (size_t)t * c->layout.width + first, row, columns);
    }
    if (!finite) {
        tada_nonfinite_replace(x, columns, mask);
    }
    for (int t = 0; t < CELLS && c->layout.rotation > 1; t++) {
        if (mask >> t & 1) {
            k->hadamard(x + (size_t)t * columns, columns, c->layout.rotation);
        }
    }
}

/* Mean over the heads, rotated, of every cell: [64][head_dim]; stored, and returned as it will be decoded. */
static void encode_head_means(const tada_codec *c, const uint16_t *rows, uint64_t mask, bool finite,
                              uint8_t *means, float *mean, float *x)
{
    const tada_layout *l = &c->layout;
    memset(mean, 0, CELLS * (size_t)l->head_dim * sizeof *mean);
    for (int h = 0; h < l->n_heads; h++) {
        load_columns(c, rows, mask, finite, h * l->head_dim, l->head_dim, x);
        for (int i = 0; i < CELLS * l->head_dim; i++) {
            mean[i] += x[i];
        }
    }
    for (int i = 0; i < CELLS * l->head_dim; i++) {
        mean[i] = mean_put(c, means, (size_t)i, mean[i] / (float)l->n_heads);
    }
}

static void centre_tokens(const tada_codec *c, uint64_t mask, int columns, uint8_t *means, float *x)
{
    int n = __builtin_popcountll(mask);
    for (int d = 0; d < columns; d++) {
        float sum = 0;
        for (int t = 0; t < CELLS; t++) {
            sum += x[(size_t)t * columns + d];
        }
        float mean = mean_put(c, means, (size_t)d, n ? sum / (float)n : 0);
        for (int t = 0; t < CELLS; t++) {
            x[(size_t)t * columns + d] -= mask >> t & 1 ? mean : 0;
        }
    }
}

/* noise [64]: 3 x the most that rounding a row to f16 can move its rotated values, which is 2^-12 times
 * the norm of the head. */
static void rotation_noise(const tada_codec *c, const float *transposed, int columns, float *noise)
{
    int dim = c->layout.head_dim;
    memset(noise, 0, CELLS * sizeof *noise);
    for (int first = 0; first < columns; first += dim) {
        float sum[CELLS] = {0};
        for (int d = first; d < first + dim; d++) {
            for (int t = 0; t < CELLS; t++) {
                float v = transposed[(size_t)d * CELLS + t];
                sum[t] += v * v;
            }
        }
        for (int t = 0; t < CELLS; t++) {
            noise[t] = fmaxf(noise[t], 3 * 0x1p-12f * sqrtf(sum[t]));
        }
    }
}

/* Rows that are encoded, and what all units of them have in common. */
typedef struct encoder {
    const tada_codec *codec;
    uint64_t mask;
    const float *mean; /* over the heads, as decoded */
    float *scratch;
} encoder;

/* The columns of unit `u`, into its record and its refinement. Returns whether they lie on multiples of
 * scales. */
static bool encode_unit(const encoder *e, const uint16_t *rows, bool finite, int u, uint8_t *record,
                        uint8_t *fine)
{
    const tada_codec *c = e->codec;
    const tada_layout *l = &c->layout;
    const tada_kernels *k = tada_kernels_get();
    int columns = l->unit;
    float *x = e->scratch, *transposed = x + (size_t)CELLS * (size_t)columns;
    float *rest = transposed + (size_t)CELLS * (size_t)columns, noise[CELLS] = {0};
    bool tokens = c->recipe.axis == TADA_AXIS_TOKEN;
    tada_groups groups = {c, x, transposed, noise, e->mask, record, fine, rest};
    memset(record, 0, l->record_bytes);
    load_columns(c, rows, e->mask, finite, u * columns, columns, x);
    if (tokens || l->rotation > 1) {
        k->transpose_floats(x, CELLS, columns, transposed);
    }
    if (l->rotation > 1) {
        rotation_noise(c, transposed, columns, noise);
    }
    if (c->recipe.centring == TADA_CENTRE_TOKENS) {
        centre_tokens(c, e->mask, columns, record + l->means_at, x);
    } else if (centres_heads(c)) {
        for (int t = 0; t < CELLS; t++) {
            for (int d = 0; d < columns; d++) {
                x[(size_t)t * columns + d] -= e->mean[(size_t)t * l->head_dim + d % l->head_dim];
            }
        }
    }
    if (c->recipe.quarters) {
        uint8_t *widths = record + l->widths_at;
        const float *weights = c->recipe.weights ? c->recipe.weights + u * columns / TADA_SPAN : NULL;
        if (!tada_recipe_settles(&c->recipe) || !tada_groups_widths(&groups, widths)) {
            memset(widths, TADA_WIDTH_MIN * 0x11, (size_t)columns / (2 * TADA_SPAN));
        }
        tada_widths_choose(&c->recipe, weights, x, (size_t)columns, e->mask, columns, widths, transposed);
    } else if (tokens && c->recipe.centring != TADA_CENTRE_NONE) {
        k->transpose_floats(x, CELLS, columns, transposed);
    }
    return tada_groups_encode(&groups);
}

/* Cells of the mask whose decoded rows hold nothing but zeros. */
static uint64_t zero_cells(const uint16_t *rows, int width, uint64_t mask)
{
    uint64_t cells = 0;
    for (int t = 0; t < CELLS; t++) {
        int d = 0;
        while (mask >> t & 1 && d < width && (rows[(size_t)t * (size_t)width + (size_t)d] & 0x7fff) == 0) {
            d++;
        }
        cells |= (uint64_t)(d == width) << t;
    }
    return cells;
}

/* Whether the words of a cell and a column of a unit say the same. */
static bool same_word(const tada_codec *c, const uint8_t *a, const uint8_t *b, int t, int column)
{
    const tada_layout *l = &c->layout;
    int group = l->group,
        at = c->recipe.axis == TADA_AXIS_TOKEN ? column / group * CELLS + t : t / group * l->unit + column;
    if (c->recipe.scale == TADA_SCALE_16) {
        return memcmp(a + 2 * at, b + 2 * at, 2) == 0;
    }
    int below = a[at] / TADA_ZERO_POINTS - b[at] / TADA_ZERO_POINTS;
    return a[at] % TADA_ZERO_POINTS == b[at] % TADA_ZERO_POINTS && a[l->base_at] - b[l->base_at] == below;
}

/*
 * `base` has rows that the codes alone gave, and encoding these led from `record` to `next`. Replaces them by
 * the refined rows but in groups whose scale word has changed. False: none can be replaced, because the
 * widths have changed, or because the rotation mixes groups.
 */
static bool mix(const encoder *e, int u, const uint8_t *record, const uint8_t *next, const uint16_t *refined,
                uint16_t *base)
{
    const tada_codec *c = e->codec;
    const tada_layout *l = &c->layout;
    bool tokens = c->recipe.axis == TADA_AXIS_TOKEN;
    if ((!tokens && l->rotation > 1) ||
        memcmp(record + l->widths_at, next + l->widths_at, l->codes_at - l->widths_at) != 0) {
        return false;
    }
    for (int t = 0; t < CELLS; t++) {
        bool row = tokens;
        for (int d = 0; d < l->unit && row; d += l->group) {
            row = same_word(c, record, next, t, d);
        }
        size_t at = (size_t)t * (size_t)l->width + (size_t)(u * l->unit);
        for (int d = 0; d < l->unit; d++) {
            bool same = tokens ? row : same_word(c, record, next, t, d);
            base[at + (size_t)d] = same ? refined[at + (size_t)d] : base[at + (size_t)d];
        }
    }
    return true;
}

/*
 * Encodes what a unit decodes to, again and again, until record and refinement stay the same. Decoded rows
 * come back: a session is restored, a tile is reopened. They come with the refinement or, where there was no
 * room for it, without, so both must encode to themselves. Nearly always the first encoding does. It takes
 * some rounds where rounding to f16 hides the steps of the refinement, or where a few values happen to lie on
 * a coarser scale. A unit that does not settle gives its refinement up, as the codes alone soon do.
 */
static void settle(const encoder *e, int u, const tada_cold *cold, uint16_t *refined, uint16_t *base,
                   uint8_t *next, uint8_t *next_fine)
{
    const tada_codec *c = e->codec;
    const tada_layout *l = &c->layout;
    uint8_t *record = cold->records, *fine = cold->fine;
    tada_cold alone = *cold;
    alone.fine = NULL;
    for (int round = 0; round < MOST_ROUNDS; round++) {
        bool same = true;
        if (l->fine_bits) {
            tada_tile_decode_unit(c, cold, e->mask, u, refined, e->scratch);
        }
        if (l->fine_bits && round < FINE_ROUNDS) {
            encode_unit(e, refined, true, u, next, next_fine);
            same = memcmp(record, next, l->record_bytes) == 0 && memcmp(fine, next_fine, l->fine_bytes) == 0;
        }
        if (same) {
            tada_tile_decode_unit(c, &alone, e->mask, u, base, e->scratch);
            bool on_grid = encode_unit(e, base, true, u, next, next_fine) || !l->fine_bits;
            /* Without the refinement rows are those of the codes alone, when it is the middle throughout. */
            bool given_up = round < FINE_ROUNDS || memcmp(fine, next_fine, l->fine_bytes) == 0;
            if (memcmp(record, next, l->record_bytes) == 0 && on_grid && given_up) {
                break;
            }
            if (round < FINE_ROUNDS && l->fine_bits && mix(e, u, record, next, refined, base)) {
                encode_unit(e, base, true, u, next, next_fine);
            }
        }
        memcpy(record, next, l->record_bytes);
        memcpy(fine, next_fine, l->fine_bytes);
    }
}

uint64_t tada_tile_encode(const tada_codec *c, const uint16_t *rows, uint64_t mask, const tada_cold *cold,
                          float *scratch)
{
    const tada_layout *l = &c->layout;
    float *mean = scratch;
    bool finite = tada_rows_finite(rows, mask, l->width);
    scratch += centres_heads(c) ? (size_t)CELLS * l->head_dim : 0;
    if (centres_heads(c)) {
        encode_head_means(c, rows, mask, finite, cold->head_means, mean, scratch);
    }
    encoder e = {c, mask, mean, scratch};
    float *after = scratch + encode_work(c);
    uint16_t *base = (uint16_t *)(void *)after, *refined = base + CELLS * (size_t)l->width;
    uint8_t *next = (uint8_t *)(after + CELLS * (size_t)l->width), *next_fine = next + 4 * record_floats(c);
    uint8_t *own_fine = next_fine + 4 * record_floats(c);
    /* Means, and scales in f16, would drift from round to round: such recipes make no promise. */
    bool settles = tada_recipe_settles(&c->recipe);
    uint64_t zeros;
    do {
        for (int u = 0; u < l->n_units; u++) {
            size_t at = (size_t)u * cold->stride;
            tada_cold one = {cold->records + at, 0, cold->head_means,
                             cold->fine ? cold->fine + at : own_fine};
            encode_unit(&e, rows, finite, u, one.records, one.fine);
            if (settles) {
                settle(&e, u, &one, refined, base, next, next_fine);
            }
        }
        /* A row of zeros comes back as a cell that was never written, so it is one from the start. */
        zeros = settles ? zero_cells(base, l->width, e.mask) : 0;
        zeros |= settles && l->fine_bits ? zero_cells(refined, l->width, e.mask) : 0;
        e.mask &= ~zeros;
    } while (zeros);
    return e.mask;
}
