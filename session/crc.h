/* CRC-32 as zlib, PNG and Ethernet have it: polynomial 0xedb88320, reflected, inverted at both ends. */
#ifndef TADA_SESSION_CRC_H
#define TADA_SESSION_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Of byte `i` that has `row` bytes behind it: table[row][i]. */
typedef struct crc_table {
    uint32_t table[8][256];
} crc_table;

void crc_init(crc_table *crc);

/* The checksum of what had the checksum `before` (nothing: 0) and `size` bytes more. */
uint32_t crc_add(const crc_table *crc, uint32_t before, const void *data, size_t size);

#endif
