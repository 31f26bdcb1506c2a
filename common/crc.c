/* CRC-32, eight bytes a step. */
#include "crc.h"

#include <string.h>

void tada_crc_init(tada_crc *crc)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++) {
            value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
        }
        crc->table[0][i] = value;
    }
    for (int row = 1; row < 8; row++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = crc->table[row - 1][i];
            crc->table[row][i] = value >> 8 ^ crc->table[0][value & 255];
        }
    }
}

uint32_t tada_crc_add(const tada_crc *crc, uint32_t before, const void *data, size_t size)
{
    const uint8_t *from = data;
    uint32_t value = ~before;
    for (; size >= 8; from += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, from, sizeof word);
        word ^= value;
        value = 0;
        for (int i = 0; i < 8; i++) {
            value ^= crc->table[7 - i][word >> (8 * i) & 255];
        }
    }
    for (; size > 0; from++, size--) {
        value = value >> 8 ^ crc->table[0][(value ^ *from) & 255];
    }
    return ~value;
}
