/* Packing codes into bit planes. */
#include "pack.h"

#include "widths.h"

#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

/* `width`, the bits from `shift` on, is a constant at every call. */
ALWAYS_INLINE void pack_plane(const uint8_t *ordered, int dim, int shift, int width, uint8_t *out)
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

void tada_codes_pack(const uint8_t *ordered, int bits, int dim, uint8_t *out)
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

void tada_codes_pack_spans(const uint8_t *ordered, const uint8_t *widths, int dim, uint8_t *gathered,
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
        tada_codes_pack(gathered, bits, n * TADA_SPAN, out);
        out += (size_t)n * TADA_SPAN * 8 * (size_t)bits;
    }
}
