/* Tiles with refinement are read as doc/reference/format.md says, by all ways and all sets. */
#include "refined.h"

#include "attention/codes.h"
#include "numbers.h"
#include "tests.h"
#include "codec/places.h"
#include "attention/integers.h"

enum { CELLS = TADA_TILE_CELLS };

bool refined_codec(const char *spec, enum tada_kind kind, int n_heads, int dim, tada_codec *codec)
{
    tada_spec s = spec_of(spec);
    codec->kind = kind;
    codec->recipe = kind == TADA_K ? s.k : s.v;
    codec->layout = tada_layout_make(&codec->recipe, n_heads * dim, dim);
    return codec->layout.fine_bits > 0;
}

/* As doc/reference/format.md has it: place `place` of vector `v` of so many. */
static unsigned code_at(const uint8_t *packed, int bits, int vectors, int v, int place)
{
    int low = bits == 8 ? 8 : bits >= 4 ? 4 : 2, high = bits - low;
    unsigned code = packed[v * low / 8 * 64 + place] >> v * low % 8 & ((1u << low) - 1);
    if (high) {
        const uint8_t *plane = packed + vectors * low * 8;
        code |= (plane[v * high / 8 * 64 + place] >> v * high % 8 & ((1u << high) - 1)) << low;
    }
    return code;
}

static void put_fine(uint8_t *packed, int bits, int vectors, int v, int place, unsigned fine)
{
    int low = bits >= 4 ? 4 : 2, high = bits - low;
    uint8_t *byte = &packed[v * low / 8 * 64 + place];
    *byte = (uint8_t)(*byte | (fine & ((1u << low) - 1)) << v * low % 8);
    if (high) {
        byte = &packed[vectors * low * 8 + v * high / 8 * 64 + place];
        *byte = (uint8_t)(*byte | fine >> low << v * high % 8);
    }
}

/* Vector and place of a value. */
typedef struct place {
    int vector, at;
} place;

static place place_of(const tada_codec *c, int t, int d)
{
    return c->kind == TADA_K ? (place){d / 4 * 4 + t / 16, t % 16 * 4 + d % 4}
                             : (place){t / 4 * (c->layout.head_dim / 16) + d / 16, d % 16 * 4 + t % 4};
}

static int width_at(const refined *r, int head, int d)
{
    const tada_codec *c = &r->codec;
    return c->recipe.quarters
               ? tada_width(tada_tile_record(c, &r->cold, head) + c->layout.widths_at, d / TADA_SPAN)
               : c->recipe.bits;
}

static uint8_t *fine_at(const refined *r, int head)
{
    const tada_layout *l = &r->codec.layout;
    int in_unit = l->unit / l->head_dim;
    return r->cold.fine + (size_t)(head / in_unit) * r->cold.stride +
           (size_t)(head % in_unit * l->head_dim * l->fine_bits * 8);
}

void refined_make(const tada_codec *codec, uint64_t mask, refined *tile)
{
    const tada_layout *l = &codec->layout;
    size_t bytes = tada_cold_bytes(&codec->recipe, l->width, l->head_dim);
    tile->codec = *codec;
    tile->mask = mask;
    tile->memory = calloc(2, bytes);
    tile->cold = tada_cold_make(codec, tile->memory);
    uint16_t *rows = malloc(sizeof *rows * (size_t)(CELLS * l->width));
    float *scratch = aligned_alloc(64, (tada_tile_encode_scratch(codec) * sizeof(float) + 63) / 64 * 64);
    for (int i = 0; i < CELLS * l->width; i++) {
        rows[i] = half_round((double)(random_normal() * (i % l->width % 17 == 3 ? 8.0f : 1.0f)));
    }
    tada_tile_encode(codec, rows, mask, &tile->cold, scratch);
    tile->cold.fine = tile->memory + bytes;
    memset(tile->cold.fine, 0, bytes);
    for (int h = 0; h < l->n_heads; h++) {
        for (int t = 0; t < CELLS; t++) {
            for (int d = 0; mask >> t & 1 && d < l->head_dim; d++) {
                int used = tada_fine_used(l, width_at(tile, h, d));
                place p = place_of(codec, t, d);
                put_fine(fine_at(tile, h), l->fine_bits, l->head_dim, p.vector, p.at,
                         (unsigned)random_below(1 << used));
            }
        }
    }
    free(rows);
    free(scratch);
}

void refined_free(refined *tile)
{
    free(tile->memory);
}

/* The base code of a value. */
static unsigned base_at(const refined *r, int head, int t, int d)
{
    const tada_codec *c = &r->codec;
    const tada_layout *l = &c->layout;
    const uint8_t *codes = tada_tile_record(c, &r->cold, head) + codes_at(c, head);
    int dim = l->head_dim, bits = width_at(r, head, d), before = 0, same = 0;
    place p = place_of(c, t, d);
    if (!c->recipe.quarters) {
        return code_at(codes, bits, dim, p.vector, p.at);
    }
    /* Sections from the widest on, each with its spans in their order. */
    for (int span = 0; span < dim / TADA_SPAN; span++) {
        int other = width_at(r, head, span * TADA_SPAN);
        codes += other > bits ? other * 64 : 0;
        before += other == bits && span < d / TADA_SPAN;
        same += other == bits;
    }
    return code_at(codes, bits, same * TADA_SPAN, p.vector % 8 + before * 8, p.at);
}

/* Scale and offset (zero point times scale) of a value's base code. */
static void word_at(const refined *r, int head, int t, int d, double *scale, double *offset)
{
    const tada_codec *c = &r->codec;
    const tada_layout *l = &c->layout;
    const uint8_t *record = tada_tile_record(c, &r->cold, head);
    int dim = l->head_dim, column = head % (l->unit / dim) * dim + d;
    int at =
        c->recipe.axis == TADA_AXIS_CHANNEL ? t / l->group * l->unit + column : column / l->group * CELLS + t;
    int index, bits = c->recipe.bits;
    double zero;
    if (c->recipe.scale == TADA_SCALE_8) {
        index = record[l->base_at] - record[at] / TADA_ZERO_POINTS;
        index = index > 0 ? index : 0;
        zero = (double)(tada_zero_first(bits) + tada_zero_step(bits) * (float)(record[at] % 8));
    } else {
        int word = record[2 * at] | record[2 * at + 1] << 8;
        index = word >> 9;
        zero = (word & 511) - (word & 256) * 2;
    }
    *scale = ldexp(4 + index % 4, index / 4 - 18);
    *offset = *scale * zero;
}

void refined_values(const refined *r, int head, double *values)
{
    const tada_layout *l = &r->codec.layout;
    for (int t = 0; t < CELLS; t++) {
        for (int d = 0; d < l->head_dim; d++) {
            double *to = &values[t * l->head_dim + d], scale, offset;
            int used = tada_fine_used(l, width_at(r, head, d));
            place p = place_of(&r->codec, t, d);
            unsigned fine = code_at(fine_at(r, head), l->fine_bits, l->head_dim, p.vector, p.at);
            word_at(r, head, t, d, &scale, &offset);
            double middle = used ? ldexp(1, used - 1) : 0;
            *to = offset + scale * (base_at(r, head, t, d) + ldexp(fine - middle, -used));
            *to = r->mask >> t & 1 ? *to : 0;
        }
    }
}

static void check_decode(const refined *r, int head)
{
    int dim = r->codec.layout.head_dim;
    bool k = r->codec.kind == TADA_K;
    double *want = malloc(sizeof *want * (size_t)(CELLS * dim));
    float *got = malloc(sizeof *got * (size_t)(CELLS * dim));
    float *scratch = aligned_alloc(64, (tada_tile_scratch(&r->codec) * sizeof(float) + 63) / 64 * 64);
    refined_values(r, head, want);
    tada_tile_decode_head(&r->codec, &r->cold, r->mask, head, got, scratch);
    for (int i = 0; i < CELLS * dim; i++) {
        int t = i / dim, d = i % dim;
        double value = (double)got[k ? d * CELLS + t : i];
        /* All of it is exact but the last sum. */
        if (fabs(value - want[i]) > fabs(want[i]) * 0x1p-24) {
            fail_case("head %d, cell %d, channel %d is %.9g instead of %.9g", head, t, d, value, want[i]);
        }
    }
    free(want);
    free(got);
    free(scratch);
}

static const char *const specs[] = {"tada",
                                    "tada:high",
                                    "tada:compact",
                                    "tada:2:widths=equal",
                                    "tada:3:widths=equal",
                                    "tada:4:widths=equal",
                                    "tada:5:widths=equal",
                                    "tada:6:widths=equal",
                                    "tada:3:widths=equal:scale=16",
                                    "tada:4:widths=equal:scale=16",
                                    "tada:3:widths=equal:group=16",
                                    "tada:4:widths=equal:axis=token:scale=16",
                                    "tada:4:widths=equal:axis=channel:scale=16:group=32"};

void test_refined_decode(void **state)
{
    (void)TEST_BEGIN(state);
    int n = 0;
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        for (int kind = TADA_K; kind <= TADA_V; kind++) {
            for (int dim = 16; dim <= 320; dim += 16 * (1 + random_below(4))) {
                tada_codec codec;
                refined tile;
                int heads = 1 + random_below(3);
                if (!refined_codec(specs[i], (enum tada_kind)kind, heads, dim, &codec)) {
                    continue;
                }
                case_is("%s of %s, %d heads of %d", kind == TADA_K ? "K" : "V", specs[i], heads, dim);
                refined_make(&codec, random_below(3) ? UINT64_MAX : random_bits(), &tile);
                for (int h = 0; h < heads; h++) {
                    check_decode(&tile, h);
                }
                refined_free(&tile);
                n++;
            }
        }
    }
    assert_true(n > 100);
}

/* ---- attention ---- */

/* A head of some tiles, and rows that are multiplied with it: [m][inner] for each tile, or for all of them.
 */
typedef struct batch {
    tada_codec codec;
    int head, n_tiles, m, inner, outer;
    refined tiles[TADA_BATCH];
    float *x, *out;
    double *want, *values;
} batch;

static void batch_make(const tada_codec *codec, int n_tiles, int m, batch *b)
{
    int dim = codec->layout.head_dim;
    bool k = codec->kind == TADA_K;
    *b = (batch){.codec = *codec,
                 .head = random_below(codec->layout.n_heads),
                 .n_tiles = n_tiles,
                 .m = m,
                 .inner = k ? dim : n_tiles * CELLS,
                 .outer = k ? n_tiles * CELLS : dim};
    b->x = malloc(sizeof *b->x * (size_t)(m * b->inner));
    b->out = calloc((size_t)(m * b->outer), sizeof *b->out);
    b->want = calloc((size_t)(m * b->outer), sizeof *b->want);
    b->values = malloc(sizeof *b->values * (size_t)(CELLS * dim));
    for (int i = 0; i < m * b->inner; i++) {
        b->x[i] = k ? random_normal() : expf(2 * random_normal() - 6);
        b->x[i] = k || b->x[i] < 1 ? b->x[i] : 1;
    }
    for (int j = 0; j < n_tiles; j++) {
        refined_make(codec, random_below(3) ? UINT64_MAX : random_bits(), &b->tiles[j]);
        refined_values(&b->tiles[j], b->head, b->values);
        for (int r = 0; r < m; r++) {
            for (int i = 0; i < CELLS * dim; i++) {
                int t = i / dim, d = i % dim, cell = j * CELLS + t;
                double x = (double)b->x[r * b->inner + (k ? d : cell)];
                b->want[r * b->outer + (k ? cell : d)] += x * b->values[i];
            }
        }
    }
}

static void batch_free(batch *b)
{
    for (int j = 0; j < b->n_tiles; j++) {
        refined_free(&b->tiles[j]);
    }
    free(b->x);
    free(b->out);
    free(b->want);
    free(b->values);
}

/* The bound of attention as a whole, which a channel of a larger size has more of. */
static double check_batch(const batch *b, const char *way)
{
    double error = 0, energy = 0;
    for (int i = 0; i < b->m * b->outer; i++) {
        error += pow((double)b->out[i] - b->want[i], 2);
        energy += pow(b->want[i], 2);
    }
    double share = sqrt(error / energy);
    if (!(share <= 6e-4)) {
        fail_case("%s: error %g", way, share);
    }
    return share;
}

static double check_codes(batch *b)
{
    tada_codes c = {.codec = &b->codec, .head = b->head, .n_tiles = b->n_tiles};
    float *scratch = aligned_alloc(64, (tada_codes_scratch(&b->codec) * sizeof(float) + 63) / 64 * 64);
    float *x = malloc(sizeof *x * (size_t)(b->m * b->inner));
    memcpy(x, b->x, sizeof *x * (size_t)(b->m * b->inner));
    for (int j = 0; j < b->n_tiles; j++) {
        c.cold[j] = b->tiles[j].cold;
        c.mask[j] = b->tiles[j].mask;
    }
    c.next = tada_tile_record(&b->codec, &c.cold[0], b->head);
    c.next_fine = random_below(2) ? tada_tile_fine(&b->codec, &c.cold[0], b->head) : NULL;
    if (b->codec.kind == TADA_K) {
        tada_codes_scores(&c, x, b->m, b->out, (size_t)b->outer, scratch);
    } else {
        tada_codes_values(&c, x, (size_t)b->inner, b->m, b->out, (size_t)b->outer, scratch);
    }
    free(scratch);
    free(x);
    return check_batch(b, "codes");
}

static double check_integers(batch *b)
{
    const refined *tile = &b->tiles[0];
    float *scratch = aligned_alloc(64, (tada_integers_scratch(&b->codec) * sizeof(float) + 63) / 64 * 64);
    int16_t *integers = malloc(sizeof *integers * (size_t)(b->m * b->inner));
    float *x = malloc(sizeof *x * (size_t)(b->m * b->inner)), inverse[TADA_ROWS], sums[TADA_ROWS];
    memcpy(x, b->x, sizeof *x * (size_t)(b->m * b->inner));
    if (b->codec.kind == TADA_K) {
        tada_integers_queries(x, b->m, b->inner, integers, inverse);
        tada_integers_scores(&b->codec, &tile->cold, tile->mask, b->head, x, integers, inverse, b->m, b->out,
                             (size_t)b->outer, scratch);
    } else {
        for (int r = 0; r < b->m; r++) {
            sums[r] = 0;
            for (int t = 0; t < CELLS; t++) {
                sums[r] += x[r * CELLS + t];
            }
        }
        tada_integers_values(&b->codec, &tile->cold, tile->mask, b->head, x, CELLS, sums, b->m, b->out,
                             (size_t)b->outer, scratch);
    }
    free(scratch);
    free(integers);
    free(x);
    return check_batch(b, "integers");
}

void test_refined_attention(void **state)
{
    (void)TEST_BEGIN(state);
    double worst[2] = {0, 0};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        for (int kind = TADA_K; kind <= TADA_V; kind++) {
            for (int dim = 16; dim <= TADA_CODES_DIM; dim = next_dim(dim)) {
                for (int integers = 0; integers < 2; integers++) {
                    tada_codec codec;
                    batch b;
                    int heads = 1 + random_below(3), n = integers ? 1 : 1 + random_below(5),
                        m = 1 + random_below(9);
                    if (!refined_codec(specs[i], (enum tada_kind)kind, heads, dim, &codec) ||
                        !(integers ? tada_integers_can(&codec) : tada_codes_can(&codec))) {
                        continue;
                    }
                    case_is("%s of %s, %d heads of %d, %d tiles, %d rows", kind == TADA_K ? "K" : "V",
                            specs[i], heads, dim, n, m);
                    batch_make(&codec, n, m, &b);
                    worst[integers] = fmax(worst[integers], integers ? check_integers(&b) : check_codes(&b));
                    batch_free(&b);
                }
            }
        }
    }
    print_message("worst error: on codes %.2g, on integers %.2g\n", worst[0], worst[1]);
}
