/* Codes in the order of the format (doc/reference/format.md), a byte each or packed. */
#ifndef TADA_CODEC_PACK_H
#define TADA_CODEC_PACK_H

#include "tada.h"

/* Byte of (cell, channel) in the order of the format: 64 codes a vector, so that no kernel needs to shuffle.
 * A vector has four channels of 16 cells (K), or four cells of 16 channels (V). */
static inline size_t tada_code_position(enum tada_kind kind, int dim, int t, int d)
{
    size_t cell = (size_t)t, channel = (size_t)d;
    if (kind == TADA_K) {
        return channel / 4 * 4 * TADA_TILE_CELLS + cell * 4 + channel % 4;
    }
    return cell / 4 * 4 * (size_t)dim + channel * 4 + cell % 4;
}

/* Bytes from (cell, channel) to four channels further (K), or four cells (V). */
static inline size_t tada_code_step(enum tada_kind kind, int dim)
{
    return 4 * (size_t)(kind == TADA_K ? TADA_TILE_CELLS : dim);
}

/* Packs codes of so many channels, all of one width. */
void tada_codes_pack(const uint8_t *ordered, int bits, int dim, uint8_t *out);

/* Packs a head with adaptive widths: its spans, widest first. gathered: scratch as large as `ordered`. */
void tada_codes_pack_spans(const uint8_t *ordered, const uint8_t *widths, int dim, uint8_t *gathered,
                           uint8_t *out);

#endif
