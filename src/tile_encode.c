/* Encoding of one tile: rotate, centre, quantise, pack. */
#include "nonfinite.h"
#include "tile_places.h"
#include "widths.h"

#include <math.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS, LANES = TADA_LANES };

/* Floats of a block of 16 channels and its codes, more than the columns of the narrowest row give. */
enum { BLOCK = CELLS * LANES * 2 };

/* Times that a tile is encoded again at most: scales only become coarser, rarely more than once. */
enum { MOST_ROUNDS = 32 };

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Floats that one unit needs. */
static size_t encode_work(const tada_codec *codec)
{
    size_t columns = (size_t)codec->layout.unit;
    /* Values, their transpose, codes, words of 16 channels or more. */
    size_t once =
        2 * CELLS * columns + BLOCK + CELLS * columns / 4 + TADA_GROUP_MAX * LANES / 4 + CELLS * columns / 32;
    return (max_size(once, tada_tile_scratch(codec)) + 15) / 16 * 16;
}

size_t tada_tile_encode_scratch(const tada_codec *codec)
{
    const tada_layout *l = &codec->layout;
    /* Head means; then the decoded rows and the record that they give. */
    return CELLS * (size_t)l->head_dim + encode_work(codec) + CELLS * (size_t)l->width / 2 +
           l->record_bytes / 4 + 64;
}

/* The nearest one that is finite: rotated values and deviations may be larger than f16 can hold. */
static uint16_t finite_half(float value)
{
    uint16_t half = tada_half_from_float(value);
    return (uint16_t)(half - ((half & 0x7fff) == TADA_HALF_INFINITY));
}

static float mean_put(const tada_codec *c, uint8_t *means, size_t i, float value)
{
    if (c->recipe.centring == TADA_CENTRE_HEADS16) {
        uint16_t half = finite_half(value);
        memcpy(means + 2 * i, &half, sizeof half);
    } else {
        means[i] = tada_byte_from_float(value);
    }
    return mean_get(c, means, i);
}

/* ---- codes ---- */

/* Byte of (cell, channel) in the order of the format: 64 codes a vector, so that no kernel needs to shuffle.
 */
static size_t code_position(enum tada_kind kind, int dim, int t, int d)
{
    if (kind == TADA_K) {
        return ((size_t)(d / 4) * 4 + (size_t)(t / 16)) * 64 + (size_t)((t % 16) * 4 + d % 4);
    }
    return ((size_t)(t / 4) * (size_t)(dim / 16) + (size_t)(d / 16)) * 64 + (size_t)((d % 16) * 4 + t % 4);
}

/* Puts codes of LANES channels of a cell (scale axis channel), or of LANES cells and a channel (token), which
 * start at cell t and channel d of a head, in the order of the format. */
static void place_codes(const tada_codec *c, const uint8_t *codes, int t, int d, uint8_t *ordered)
{
    bool channels = c->recipe.axis == TADA_AXIS_CHANNEL;
    int dim = c->layout.head_dim;
    if (channels == (c->kind == TADA_K)) {
        /* The lanes are what the format has four of side by side. */
        uint8_t *to = ordered + code_position(c->kind, dim, t, d);
        size_t step = c->kind == TADA_K ? 4 * 64 : (size_t)(dim / 16) * 64;
        for (int four = 0; four < LANES / 4; four++) {
            memcpy(to + (size_t)four * step, codes + (size_t)four * 4, 4);
        }
        return;
    }
    for (int l = 0; l < LANES; l++) {
        ordered[code_position(c->kind, dim, channels ? t : t + l, channels ? d + l : d)] = codes[l];
    }
}

/* `width`, the bits from `shift` on, is a constant at every call. */
static inline __attribute__((always_inline)) void pack_plane(const uint8_t *ordered, int dim, int shift,
                                                             int width, uint8_t *out)
{
    int per_line = 8 / width;
    unsigned mask = (1u << width) - 1;
    for (int line = 0; line < dim / per_line; line++) {
        for (int i = 0; i < 64; i++) {
            unsigned byte = 0;
            for (int j = 0; j < per_line; j++) {
                byte |= (ordered[j * 64 + i] >> shift & mask) << (j * width);
            }
            out[i] = (uint8_t)byte;
        }
        ordered += (size_t)per_line * 64;
        out += 64;
    }
}

/* Codes of so many channels, all of one width. */
static void pack(const uint8_t *ordered, int bits, int dim, uint8_t *out)
{
    uint8_t *high = out + (size_t)dim * 8 * (bits >= 4 ? 4 : 2);
    if (bits == 8) {
        memcpy(out, ordered, (size_t)dim * 64);
    } else if (bits >= 4) {
        pack_plane(ordered, dim, 0, 4, out);
    } else {
        pack_plane(ordered, dim, 0, 2, out);
    }
    if (bits == 3) {
        pack_plane(ordered, dim, 2, 1, high);
    } else if (bits == 5) {
        pack_plane(ordered, dim, 4, 1, high);
    } else if (bits == 6) {
        pack_plane(ordered, dim, 4, 2, high);
    }
}

/* A head with adaptive widths: its spans, widest first. gathered: scratch as large as `ordered`. */
static void pack_spans(const uint8_t *ordered, const uint8_t *widths, int dim, uint8_t *gathered,
                       uint8_t *out)
{
    enum { BYTES = TADA_SPAN * CELLS };
    for (int bits = TADA_WIDTH_MAX; bits >= TADA_WIDTH_MIN; bits--) {
        int n = 0;
        for (int span = 0; span < dim / TADA_SPAN; span++) {
            if (tada_width(widths, span) == bits) {
                memcpy(gathered + (size_t)n++ * BYTES, ordered + (size_t)span * BYTES, BYTES);
            }
        }
        pack(gathered, bits, n * TADA_SPAN, out);
        out += (size_t)n * TADA_SPAN * 8 * (size_t)bits;
    }
}

/* ---- encoding ---- */

/* finite: all values are. */
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

/* One group with f16 scale and zero; the range is narrowed while that lowers the squared error. */
static void quantise_f16(const tada_recipe *r, const float *x, size_t stride, int n, uint8_t *codes,
                         size_t code_stride, uint8_t *meta)
{
    float low = INFINITY, high = -INFINITY, best = INFINITY;
    float levels = (float)((1 << r->bits) - 1);
    uint16_t pair[2] = {0, 0};
    for (int i = 0; i < n; i++) {
        float v = x[(size_t)i * stride];
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    int tries = r->search == TADA_SEARCH_MINMAX ? 1 : 12;
    for (int try = 0; try < tries && n > 0; try++) {
        float half = (high - low) / 2 * (1.0f - 0.045f * (float)try), error = 0;
        uint16_t s = finite_half(2 * half / levels);
        uint16_t z = finite_half((low + high) / 2 - half);
        float scale = tada_half_to_float(s), zero = tada_half_to_float(z);
        float inverse = scale > 0 ? 1.0f / scale : 0;
        for (int i = 0; i < n; i++) {
            float q = rintf((x[(size_t)i * stride] - zero) * inverse);
            q = q > 0 ? q : 0;
            q = q < levels ? q : levels;
            float d = x[(size_t)i * stride] - (zero + scale * q);
            error += d * d;
        }
        if (error < best || try == 0) {
            best = error;
            pair[0] = s;
            pair[1] = z;
        }
    }
    float scale = tada_half_to_float(pair[0]), zero = tada_half_to_float(pair[1]);
    float inverse = scale > 0 ? 1.0f / scale : 0;
    for (int i = 0; i < n; i++) {
        float q = rintf((x[(size_t)i * stride] - zero) * inverse);
        q = q > 0 ? q : 0;
        q = q < levels ? q : levels;
        codes[(size_t)i * code_stride] = (uint8_t)q;
    }
    memcpy(meta, pair, sizeof pair);
}

/* Three times as far as the rounding of a row to f16 can move its rotated values, which is 2^-12 of the
 * head's norm. */
static void rotation_noise(const tada_codec *c, const float *turned, int columns, float *noise)
{
    int dim = c->layout.head_dim;
    memset(noise, 0, CELLS * sizeof *noise);
    for (int first = 0; first < columns; first += dim) {
        float sum[CELLS] = {0};
        for (int d = first; d < first + dim; d++) {
            for (int t = 0; t < CELLS; t++) {
                float v = turned[(size_t)d * CELLS + t];
                sum[t] += v * v;
            }
        }
        for (int t = 0; t < CELLS; t++) {
            noise[t] = fmaxf(noise[t], 3 * 0x1p-12f * sqrtf(sum[t]));
        }
    }
}

/* Scale axis channel: x [64][columns], groups of cells. */
static void quantise_channels(const tada_codec *c, const float *x, int columns, uint64_t mask,
                              const float *noise, uint8_t *ordered, uint8_t *meta, float *packed)
{
    const tada_layout *l = &c->layout;
    const tada_kernels *k = tada_kernels_get();
    uint8_t *block_codes = (uint8_t *)(packed + CELLS * LANES);
    for (int g = 0; g < l->n_groups; g++) {
        int cell[CELLS], n = 0;
        float most = 0;
        for (int t = g * l->group; t < (g + 1) * l->group; t++) {
            if (mask >> t & 1) {
                cell[n++] = t;
                most = fmaxf(most, noise[t]);
            }
        }
        for (int d = 0; d < columns; d += LANES) {
            for (int i = 0; i < n; i++) {
                memcpy(packed + i * LANES, x + (size_t)cell[i] * columns + d, LANES * sizeof *packed);
            }
            size_t at = (size_t)(g * columns + d);
            if (c->recipe.scale == TADA_SCALE_16) {
                tada_block block = {.x = packed,
                                    .stride = LANES,
                                    .n = n,
                                    .bits = c->recipe.bits,
                                    .search = c->recipe.search,
                                    .codes = block_codes};
                for (int j = 0; j < LANES; j++) {
                    block.noise[j] = most;
                }
                k->quantise(&block);
                memcpy(meta + 2 * at, block.meta, sizeof block.meta);
            } else {
                for (int j = 0; j < LANES; j++) {
                    quantise_f16(&c->recipe, packed + j, LANES, n, block_codes + j, LANES,
                                 meta + 4 * (at + (size_t)j));
                }
            }
            for (int i = 0; i < n; i++) {
                place_codes(c, block_codes + i * LANES, cell[i], d, ordered);
            }
        }
    }
}

/* One or two spans of a width, side by side; a single one is there twice. */
static void quantise_pair(const tada_codec *c, const float *x, int dim, uint64_t mask, float noise, int bits,
                          const int span[2], uint8_t *ordered, uint8_t *meta, float *packed)
{
    uint8_t *block_codes = (uint8_t *)(packed + CELLS * LANES);
    tada_block block = {
        .x = packed, .stride = LANES, .bits = bits, .search = c->recipe.search, .codes = block_codes};
    int cell[CELLS];
    for (int t = 0; t < CELLS; t++) {
        if (mask >> t & 1) {
            cell[block.n] = t;
            for (int i = 0; i < 2; i++) {
                memcpy(packed + block.n * LANES + i * TADA_SPAN, x + (size_t)t * dim + span[i] * TADA_SPAN,
                       TADA_SPAN * sizeof *packed);
            }
            block.n++;
        }
    }
    for (int j = 0; j < LANES; j++) {
        block.noise[j] = noise;
    }
    tada_kernels_get()->quantise(&block);
    for (int i = 0; i < 2; i++) {
        memcpy(meta + 2 * (size_t)span[i] * TADA_SPAN, block.meta + i * TADA_SPAN, TADA_SPAN * 2);
        for (int j = 0; j < block.n; j++) {
            uint8_t *to = ordered + code_position(c->kind, dim, cell[j], span[i] * TADA_SPAN);
            memcpy(to, block_codes + j * LANES + i * TADA_SPAN, 4);
            memcpy(to + 4 * 64, block_codes + j * LANES + i * TADA_SPAN + 4, 4);
        }
    }
}

/* A head of K [64][dim] whose spans have the given widths. */
static void quantise_spans(const tada_codec *c, const float *x, int dim, uint64_t mask, const float *noise,
                           const uint8_t *widths, uint8_t *ordered, uint8_t *meta, float *packed)
{
    float most = 0;
    for (int t = 0; t < CELLS; t++) {
        most = mask >> t & 1 ? fmaxf(most, noise[t]) : most;
    }
    for (int bits = TADA_WIDTH_MAX; bits >= TADA_WIDTH_MIN; bits--) {
        int span[2] = {-1, -1};
        for (int i = 0; i < dim / TADA_SPAN; i++) {
            if (tada_width(widths, i) != bits) {
                continue;
            }
            span[1] = i;
            if (span[0] < 0) {
                span[0] = i;
                continue;
            }
            quantise_pair(c, x, dim, mask, most, bits, span, ordered, meta, packed);
            span[0] = -1;
        }
        if (span[0] >= 0) {
            quantise_pair(c, x, dim, mask, most, bits, (int[2]){span[0], span[0]}, ordered, meta, packed);
        }
    }
}

/* What encoding the groups of tokens works with. */
typedef struct token_work {
    const float *x;     /* [columns][64] */
    const float *noise; /* [64] */
    uint8_t *codes;     /* of a block */
    uint16_t *words;    /* words of 8 bits, before their base is known */
} token_work;

/* The groups of 16 cells from `t` on and of the channels from `start` on. floor: see tada_block. */
static void quantise_cells(const tada_codec *c, const token_work *w, int start, int t, int floor,
                           uint8_t *ordered, uint8_t *meta)
{
    const tada_layout *l = &c->layout;
    const float *from = w->x + (size_t)start * CELLS + t;
    size_t at = (size_t)(start / l->group * CELLS + t);
    if (c->recipe.scale == TADA_SCALE_32) {
        for (int j = 0; j < LANES; j++) {
            quantise_f16(&c->recipe, from + j, CELLS, l->group, w->codes + j, LANES,
                         meta + 4 * (at + (size_t)j));
        }
    } else {
        tada_block block = {.x = from,
                            .stride = CELLS,
                            .n = l->group,
                            .bits = c->recipe.bits,
                            .search = c->recipe.search,
                            .codes = w->codes,
                            .narrow = c->recipe.scale == TADA_SCALE_8,
                            .floor = floor};
        memcpy(block.noise, w->noise + t, sizeof block.noise);
        tada_kernels_get()->quantise(&block);
        if (block.narrow) {
            memcpy(w->words + at, block.meta, sizeof block.meta);
        } else {
            memcpy(meta + 2 * at, block.meta, sizeof block.meta);
        }
    }
    int d = start % l->head_dim;
    uint8_t *to = ordered + (size_t)(start - d) * CELLS;
    for (int i = 0; i < l->group; i++) {
        place_codes(c, w->codes + i * LANES, t, d, to);
        if (++d == l->head_dim) {
            d = 0;
            to += (size_t)l->head_dim * CELLS;
        }
    }
}

/* Words of 8 bits, and their base: the largest scale of the unit. Groups with scales too far below it are
 * encoded once more, with the least scale that a word can say. */
static void put_narrow(const tada_codec *c, const token_work *w, int columns, uint8_t *ordered, uint8_t *meta)
{
    int group = c->layout.group, n = columns / group * CELLS, base = 0;
    for (int i = 0; i < n; i++) {
        int index = w->words[i] == TADA_ZERO_GROUP ? 0 : w->words[i] / TADA_ZERO_POINTS;
        base = index > base ? index : base;
    }
    for (int i = 0; i < n; i += LANES) {
        bool below = false;
        for (int j = i; j < i + LANES; j++) {
            below |= w->words[j] / TADA_ZERO_POINTS < base - TADA_STEPS_BELOW;
        }
        if (below) {
            quantise_cells(c, w, i / CELLS * group, i % CELLS, base - TADA_STEPS_BELOW, ordered, meta);
        }
    }
    for (int i = 0; i < n; i++) {
        int word = w->words[i], steps = base - word / TADA_ZERO_POINTS;
        meta[i] = (uint8_t)(word == TADA_ZERO_GROUP ? TADA_STEPS_BELOW * TADA_ZERO_POINTS + 3
                                                    : steps * TADA_ZERO_POINTS + word % TADA_ZERO_POINTS);
    }
    meta[c->layout.base_at] = (uint8_t)base;
}

/* Scale axis token: groups of channels. */
static void quantise_tokens(const tada_codec *c, const token_work *w, int columns, uint8_t *ordered,
                            uint8_t *meta)
{
    for (int start = 0; start < columns; start += c->layout.group) {
        for (int t = 0; t < CELLS; t += LANES) {
            quantise_cells(c, w, start, t, 0, ordered, meta);
        }
    }
    if (c->recipe.scale == TADA_SCALE_8) {
        put_narrow(c, w, columns, ordered, meta);
    }
}

/* The columns of unit `u`, into its record. mean: over the heads, as decoded. */
static void encode_unit(const tada_codec *c, const uint16_t *rows, uint64_t mask, bool finite, int u,
                        const float *mean, uint8_t *record, float *scratch)
{
    const tada_layout *l = &c->layout;
    const tada_kernels *k = tada_kernels_get();
    int columns = l->unit;
    float *x = scratch;
    float *turned = x + (size_t)CELLS * columns;
    uint8_t *ordered = (uint8_t *)(turned + (size_t)CELLS * columns + BLOCK);
    uint8_t *block_codes = ordered + (size_t)CELLS * columns;
    float noise[CELLS] = {0};
    bool tokens = c->recipe.axis == TADA_AXIS_TOKEN;
    memset(record, 0, l->record_bytes);
    load_columns(c, rows, mask, finite, u * columns, columns, x);
    if (tokens || l->rotation > 1) {
        k->turn(x, CELLS, columns, turned);
    }
    if (l->rotation > 1) {
        rotation_noise(c, turned, columns, noise);
    }
    if (c->recipe.centring == TADA_CENTRE_TOKENS) {
        centre_tokens(c, mask, columns, record + l->means_at, x);
    } else if (centres_heads(c)) {
        for (int t = 0; t < CELLS; t++) {
            for (int d = 0; d < columns; d++) {
                x[(size_t)t * columns + d] -= mean[(size_t)t * l->head_dim + d % l->head_dim];
            }
        }
    }
    memset(ordered, 0, (size_t)CELLS * columns);
    if (c->recipe.quarters) {
        uint8_t *widths = record + l->widths_at;
        const float *weights = c->recipe.weights ? c->recipe.weights + u * columns / TADA_SPAN : NULL;
        tada_widths_choose(&c->recipe, weights, x, (size_t)columns, mask, columns, widths, turned);
        quantise_spans(c, x, columns, mask, noise, widths, ordered, record, turned);
        pack_spans(ordered, widths, columns, (uint8_t *)turned, record + l->codes_at);
        return;
    }
    if (tokens) {
        if (c->recipe.centring != TADA_CENTRE_NONE) {
            k->turn(x, CELLS, columns, turned);
        }
        uint16_t *words = (uint16_t *)(void *)(block_codes + TADA_GROUP_MAX * LANES);
        token_work work = {turned, noise, block_codes, words};
        quantise_tokens(c, &work, columns, ordered, record);
    } else {
        quantise_channels(c, x, columns, mask, noise, ordered, record, turned);
    }
    for (int h = 0; h < columns / l->head_dim; h++) {
        pack(ordered + (size_t)h * l->head_dim * CELLS, c->recipe.bits, l->head_dim, record + codes_at(c, h));
    }
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

/* Whether what a tile decodes to encodes to the same tile. */
static bool encodes_to_itself(const tada_codec *c)
{
    return c->recipe.centring == TADA_CENTRE_NONE && c->recipe.scale != TADA_SCALE_32;
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
    size_t work = encode_work(c);
    uint16_t *decoded = (uint16_t *)(void *)(scratch + work);
    uint8_t *next = (uint8_t *)(scratch + work + CELLS * (size_t)l->width / 2);
    /*
     * A tile must encode to itself when its decoded rows come back (a session that is restored, a tile that
     * is reopened), so go on to the tile of which that is true. It nearly always is of the first one, and
     * with adaptive widths of the first or second. Means and scales in f16 would only drift: no promise is
     * made for those.
     */
    bool settles = encodes_to_itself(c);
    uint64_t zeros;
    do {
        for (int u = 0; u < l->n_units; u++) {
            uint8_t *record = cold->records + (size_t)u * cold->stride;
            encode_unit(c, rows, mask, finite, u, mean, record, scratch);
            for (int round = 0; settles && round < MOST_ROUNDS; round++) {
                tada_tile_decode_unit(c, cold, mask, u, decoded, scratch);
                encode_unit(c, decoded, mask, true, u, mean, next, scratch);
                if (memcmp(record, next, l->record_bytes) == 0) {
                    break;
                }
                memcpy(record, next, l->record_bytes);
            }
        }
        /* A row of zeros comes back as a cell that was never written, so it is one from the start. */
        zeros = settles ? zero_cells(decoded, l->width, mask) : 0;
        mask &= ~zeros;
    } while (zeros);
    return mask;
}

bool tada_tile_encode_exactly(const tada_codec *c, const uint16_t *rows, uint64_t mask, const tada_cold *cold,
                              float *scratch)
{
    const tada_layout *l = &c->layout;
    uint16_t *decoded = (uint16_t *)(void *)(scratch + encode_work(c));
    if (!encodes_to_itself(c) || !tada_rows_finite(rows, mask, l->width)) {
        return false;
    }
    for (int u = 0; u < l->n_units; u++) {
        encode_unit(c, rows, mask, true, u, NULL, cold->records + (size_t)u * cold->stride, scratch);
        tada_tile_decode_unit(c, cold, mask, u, decoded, scratch);
        for (uint64_t left = mask; left; left &= left - 1) {
            size_t at = (size_t)__builtin_ctzll(left) * (size_t)l->width + (size_t)u * (size_t)l->unit;
            if (memcmp(rows + at, decoded + at, (size_t)l->unit * sizeof *rows) != 0) {
                return false;
            }
        }
    }
    return true;
}
