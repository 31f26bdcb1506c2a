#include "widths.h"

#include <math.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

/* Mean square deviation of a span's channels from their means. The order of the sums is part of the format's
 * reference encoder: the same everywhere. */
static void measure(const float *x, size_t stride, uint64_t mask, int dim, float *spread)
{
    int n = __builtin_popcountll(mask);
    for (int span = 0; span < dim / TADA_SPAN; span++) {
        float mean[TADA_SPAN] = {0}, square[TADA_SPAN] = {0};
        const float *from = x + (size_t)span * TADA_SPAN;
        for (int t = 0; t < CELLS; t++) {
            for (int i = 0; mask >> t & 1 && i < TADA_SPAN; i++) {
                mean[i] += from[(size_t)t * stride + (size_t)i];
            }
        }
        for (int i = 0; i < TADA_SPAN; i++) {
            mean[i] /= (float)(n ? n : 1);
        }
        for (int t = 0; t < CELLS; t++) {
            for (int i = 0; mask >> t & 1 && i < TADA_SPAN; i++) {
                float d = from[(size_t)t * stride + (size_t)i] - mean[i];
                square[i] += d * d;
            }
        }
        float sum = 0;
        for (int i = 0; i < TADA_SPAN; i++) {
            sum += square[i];
        }
        /* Values that are not finite spoil their own span only. */
        spread[span] = sum < INFINITY ? sum : 0;
    }
}

/* There are no codes of 7 bits. */
static int next_width(int bits)
{
    return bits < 6 ? bits + 1 : TADA_WIDTH_MAX;
}

void tada_widths_choose(const tada_recipe *recipe, const float *weights, const float *x, size_t stride,
                        uint64_t mask, int dim, uint8_t *widths, float *spread)
{
    int n = dim / TADA_SPAN, left = n * recipe->quarters / 4;
    for (int span = 0; span < n; span++) {
        left -= tada_width(widths, span);
    }
    if (left <= 0) {
        /* Decoded rows ask for the widths that they had. */
        return;
    }
    /* A bit more quarters the square of the error. Without weights, what varies more also counts for more,
     * because queries ask more of it: between a quarter and a half there is little to choose in KL
     * divergence, but at a half channels that vary little lose what long repetitive texts need of them. */
    float factor = weights ? 0.25f : 0.35f, squared = weights ? 0.0625f : 0.1225f;
    measure(x, stride, mask, dim, spread);
    for (int span = 0; span < n; span++) {
        spread[span] *= weights ? weights[span] : 1;
        for (int bits = TADA_WIDTH_MIN; bits < tada_width(widths, span); bits = next_width(bits)) {
            spread[span] *= bits == 6 ? squared : factor;
        }
    }
    while (left > 0) {
        int best = -1, step = 0;
        for (int span = 0; span < n; span++) {
            int more = next_width(tada_width(widths, span)) - tada_width(widths, span);
            if (more > 0 && more <= left && (best < 0 || spread[span] > spread[best])) {
                best = span;
                step = more;
            }
        }
        if (best < 0) {
            break;
        }
        widths[best / 2] = (uint8_t)(widths[best / 2] + (step << best % 2 * 4));
        left -= step;
        spread[best] *= step == 2 ? squared : factor;
    }
}

const uint8_t *tada_high_plane(const uint8_t *low, int bits, int dim)
{
    return bits == 3 || bits == 5 || bits == 6 ? low + (size_t)dim * 8 * (bits == 3 ? 2 : 4) : NULL;
}

/* Which bits of a byte are set, the lowest first, a byte each. */
#define BIT_PLACE(x, i)                                                                                      \
    ((uint64_t)(((x) >> (i)&1) * (i)) << 8 * __builtin_popcount((unsigned)(x) & ((1u << (i)) - 1)))
#define PLACES_1(x)                                                                                          \
    BIT_PLACE(x, 1) | BIT_PLACE(x, 2) | BIT_PLACE(x, 3) | BIT_PLACE(x, 4) | BIT_PLACE(x, 5) |                \
        BIT_PLACE(x, 6) | BIT_PLACE(x, 7)
#define PLACES_4(x) PLACES_1(x), PLACES_1((x) + 1), PLACES_1((x) + 2), PLACES_1((x) + 3)
#define PLACES_16(x) PLACES_4(x), PLACES_4((x) + 4), PLACES_4((x) + 8), PLACES_4((x) + 12)
#define PLACES_64(x) PLACES_16(x), PLACES_16((x) + 16), PLACES_16((x) + 32), PLACES_16((x) + 48)
static const uint64_t places_of[256] = {PLACES_64(0), PLACES_64(64), PLACES_64(128), PLACES_64(192)};

static const uint64_t ones = 0x0101010101010101;

/* The widths of eight spans from half bytes; 0 beyond `bytes`. */
static uint64_t eight_widths(const uint8_t *widths, int bytes)
{
    uint32_t halves = 0;
    if (bytes >= 4) {
        memcpy(&halves, widths, 4);
    } else {
        memcpy(&halves, widths, (size_t)bytes);
    }
    uint64_t x = halves;
    x = (x | x << 16) & 0x0000ffff0000ffff;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    return (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
}

/* n: eights of spans, a constant where it matters. */
ALWAYS_INLINE void find_sections(const uint8_t *widths, int dim, int n, const uint8_t *codes,
                                 tada_sections *s)
{
    static const uint8_t all_bits[TADA_SECTIONS] = {8, 6, 5, 4, 3, 2};
    int count = 0, place = 0;
    uint64_t eights[TADA_CODES_DIM / TADA_SPAN / 8] = {0};
    bool ordered = n <= TADA_CODES_DIM / TADA_SPAN / 8;
    for (int j = 0; ordered && j < n; j++) {
        eights[j] = eight_widths(widths + 4 * j, dim / 16 - 4 * j);
    }
    for (int i = 0; i < TADA_SECTIONS; i++) {
        int bits = all_bits[i], low_bits = bits == 8 ? 8 : bits >= 4 ? 4 : 2, n_spans = 0;
        for (int j = 0; j < n; j++) {
            /* 1 in each byte of that width: no width is above 15, so nothing is borrowed. */
            uint64_t same = ordered ? eights[j] : eight_widths(widths + 4 * j, dim / 16 - 4 * j);
            same ^= (uint64_t)bits * ones;
            same = (128 * ones - same) >> 7 & ones;
            if (ordered) {
                uint64_t places = places_of[same * 0x0102040810204080 >> 56] + 8 * (uint64_t)j * ones;
                memcpy(s->order + place + n_spans, &places, sizeof places);
            }
            n_spans += (int)(same * ones >> 56);
        }
        place += n_spans;
        size_t plane = (size_t)n_spans * TADA_SPAN * 8;
        /* Is written over by the next one if there are no spans. */
        tada_section *section = &s->of[count];
        section->bits = bits;
        section->n_spans = n_spans;
        section->low = codes;
        section->high = bits > low_bits ? codes + plane * (size_t)low_bits : NULL;
        count += n_spans > 0;
        codes += plane * (size_t)bits;
    }
    s->n = count;
}

void tada_sections_make(const uint8_t *widths, int dim, const uint8_t *codes, tada_sections *sections)
{
    int n = (dim + 63) / 64;
    if (n == 1) {
        find_sections(widths, dim, 1, codes, sections);
    } else if (n == 2) {
        find_sections(widths, dim, 2, codes, sections);
    } else {
        find_sections(widths, dim, n, codes, sections);
    }
}
