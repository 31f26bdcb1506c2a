/* CRC-32 as zlib, PNG and Ethernet have it: polynomial 0xedb88320, reflected, inverted at both ends. */
#ifndef TADA_CRC_H
#define TADA_CRC_H

#include <stddef.h>
#include <stdint.h>

/* table[k][i]: the checksum's change by a byte i that k more bytes follow. */
typedef struct tada_crc {
    uint32_t table[8][256];
} tada_crc;

void tada_crc_init(tada_crc *crc);

/* The checksum of data that had the checksum `before` (0 for no data) and has `size` bytes more. */
uint32_t tada_crc_add(const tada_crc *crc, uint32_t before, const void *data, size_t size);

#endif
