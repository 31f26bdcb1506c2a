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
    int n = dim / TADA_SPAN;
    int left = n * recipe->quarters / 4 - n * TADA_WIDTH_MIN;
    measure(x, stride, mask, dim, spread);
    for (int span = 0; span < n && weights; span++) {
        spread[span] *= weights[span];
    }
    memset(widths, TADA_WIDTH_MIN * 0x11, (size_t)(n / 2));
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
        /* A bit more quarters the square of the error. Without weights, what varies more also counts for
         * more, because queries ask more of it: between a quarter and a half there is little to choose in KL
         * divergence, but at a half channels that vary little lose what long repetitive texts need of them.
         */
        float factor = weights ? 0.25f : 0.35f, squared = weights ? 0.0625f : 0.1225f;
        spread[best] *= step == 2 ? squared : factor;
    }
}

const uint8_t *tada_high_plane(const uint8_t *low, int bits, int dim)
{
    return bits == 3 || bits == 5 || bits == 6 ? low + (size_t)dim * 8 * (bits == 3 ? 2 : 4) : NULL;
}

/* Spans of each width, and then places, nine bits each, the widest first. */
enum { WIDTHS = TADA_WIDTH_MAX - TADA_WIDTH_MIN + 1, COUNT_BITS = 9 };

static int count_at(const uint8_t *widths, int span)
{
    return (TADA_WIDTH_MAX - tada_width(widths, span)) * COUNT_BITS;
}

/* Done for each head of each tile that is read: without branches that nobody could foretell. */
int tada_sections_make(const uint8_t *widths, int dim, const uint8_t *codes, tada_section *sections,
                       uint8_t *order)
{
    const uint64_t mask = (1 << COUNT_BITS) - 1;
    uint64_t counts = 0, places = 0;
    int n = 0, spans = dim / TADA_SPAN;
    for (int span = 0; span < spans; span++) {
        counts += (uint64_t)1 << count_at(widths, span);
    }
    for (int i = 0; i < WIDTHS; i++) {
        int bits = TADA_WIDTH_MAX - i, n_spans = (int)(counts >> i * COUNT_BITS & mask);
        int low_bits = bits == 8 ? 8 : bits >= 4 ? 4 : 2;
        size_t plane = (size_t)n_spans * TADA_SPAN * 8;
        /* Is written over by the next one if there are no spans. */
        sections[n].bits = bits;
        sections[n].n_spans = n_spans;
        sections[n].low = codes;
        sections[n].high = bits > low_bits ? codes + plane * (size_t)low_bits : NULL;
        n += n_spans > 0;
        codes += plane * (size_t)bits;
        places += counts << (i + 1) * COUNT_BITS;
    }
    for (int span = 0; span < spans && order; span++) {
        int at = count_at(widths, span);
        order[places >> at & mask] = (uint8_t)span;
        places += (uint64_t)1 << at;
    }
    return n;
}
