/* IEEE binary16 <-> binary32, round to nearest even: the specification of every conversion in the kernels. */
#ifndef TADA_COMMON_HALF_H
#define TADA_COMMON_HALF_H

#include <stdint.h>
#include <string.h>

/* Bits of an infinity in f16; a NaN has more. */
enum { TADA_HALF_INFINITY = 0x7c00 };

static inline float tada_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = half & 0x7fffu;
    uint32_t bits;
    float value;
    if (magnitude >= 0x7c00u) {
        bits = 0x7f800000u | (magnitude & 0x3ffu) << 13;
    } else if (magnitude >= 0x0400u) {
        bits = (magnitude << 13) + (112u << 23);
    } else {
        /* Subnormal: the integer itself, times 2^-24, is exact. */
        value = (float)magnitude * 5.9604644775390625e-8f;
        memcpy(&bits, &value, sizeof bits);
    }
    bits |= sign;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t tada_half_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u);
    }
    if (magnitude >= 0x477ff000u) {
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) {
        /* Adding 0.5 leaves the rounded multiple of 2^-24 in the low bits. */
        float small;
        memcpy(&small, &magnitude, sizeof small);
        small += 0.5f;
        memcpy(&magnitude, &small, sizeof magnitude);
        return (uint16_t)(sign | (magnitude - 0x3f000000u));
    }
    uint32_t odd = magnitude >> 13 & 1u;
    return (uint16_t)(sign | ((magnitude - (112u << 23) + 0xfffu + odd) >> 13));
}

/* 1-5-2 bits: the upper half of a binary16, rounded to nearest even; never overflows to infinity. */
static inline uint8_t tada_byte_from_float(float value)
{
    uint32_t half = tada_half_from_float(value);
    uint32_t magnitude = half & 0x7fffu;
    magnitude = magnitude + 0x7fu + (magnitude >> 8 & 1u);
    if (magnitude >= 0x7c00u) {
        magnitude = 0x7b00u;
    }
    return (uint8_t)((half & 0x8000u) >> 8 | magnitude >> 8);
}

static inline float tada_byte_to_float(uint8_t byte)
{
    return tada_half_to_float((uint16_t)(byte << 8));
}

/* The nearest finite f16: rotated values and deviations may lie outside of its range. */
static inline uint16_t tada_half_finite(float value)
{
    uint16_t half = tada_half_from_float(value);
    return (uint16_t)(half - ((half & 0x7fff) == 0x7c00));
}

/* Infinities become the largest finite value, 65504. Decoding may round a value near the end of the range
 * up to one. */
static inline void tada_half_saturate(uint16_t *row, int n)
{
    for (int i = 0; i < n; i++) {
        row[i] = (uint16_t)(row[i] - ((row[i] & 0x7fff) == TADA_HALF_INFINITY));
    }
}

#endif
