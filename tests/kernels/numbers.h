/* Input that is hard in different ways. */
#ifndef TADA_TEST_NUMBERS_H
#define TADA_TEST_NUMBERS_H

#include "support.h"

#include <float.h>

enum numbers {
    NUMBERS_NORMAL,
    NUMBERS_OUTLIERS,
    NUMBERS_CONSTANT,
    NUMBERS_ZERO,
    NUMBERS_SIGNED_ZEROS,
    NUMBERS_FEW,
    NUMBERS_FAR,                   /* a small spread far from zero */
    NUMBERS_HALF_SUBNORMAL,        /* around the subnormals of f16 */
    NUMBERS_HALF_MAX,              /* up to the end of f16 */
    NUMBERS_DENORMAL,              /* of float */
    NUMBERS_FINITE,                /* the kinds up to here, which an encoder may meet, are harmless */
    NUMBERS_HUGE = NUMBERS_FINITE, /* up to the end of float: sums overflow */
    NUMBERS_SOME_NAN,
    NUMBERS_SOME_INFINITE,
    NUMBERS_ANY_BITS,
    NUMBERS_KINDS
};

/* Head sizes in ascending order: all that models have, and others. */
static inline int next_dim(int dim)
{
    return dim + (dim < 256 ? 16 : 64);
}

static inline float number_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Number i of a row. */
static inline float number(int kind, int i)
{
    switch (kind) {
    case NUMBERS_OUTLIERS:
        return random_normal() * (i % 17 == 3 ? 30.0f : 1.0f);
    case NUMBERS_CONSTANT:
        return 1.37f;
    case NUMBERS_ZERO:
        return 0.0f;
    case NUMBERS_SIGNED_ZEROS:
        return random_below(4) ? (random_below(2) ? 0.0f : -0.0f) : -1.0f;
    case NUMBERS_FEW:
        return (float)(random_below(3) - 1) * 0.5f;
    case NUMBERS_FAR:
        return random_normal() * 0.01f + (i % 2 ? 40.0f : -25.0f);
    case NUMBERS_HALF_SUBNORMAL:
        return (float)(random_below(4001) - 2000) * 0x1p-25f;
    case NUMBERS_HALF_MAX:
        return random_below(4) ? random_normal() * 20000.0f : random_below(2) ? 65504.0f : -65504.0f;
    case NUMBERS_DENORMAL:
        return number_of_bits((uint32_t)random_bits() & 0x807fffffu);
    case NUMBERS_HUGE:
        return random_below(4) ? random_normal() * 1e37f : random_below(2) ? FLT_MAX : -FLT_MAX;
    case NUMBERS_SOME_NAN:
        return random_below(20) ? random_normal() : random_below(2) ? NAN : -NAN;
    case NUMBERS_SOME_INFINITE:
        return random_below(20) ? random_normal() : random_below(2) ? INFINITY : -INFINITY;
    case NUMBERS_ANY_BITS:
        return number_of_bits((uint32_t)random_bits());
    default:
        return random_normal();
    }
}

/* Rows of n numbers, ld apart; what lies between stays as it is. */
static inline void numbers_fill(float *x, int rows, size_t ld, int n, int kind)
{
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < n; i++) {
            x[(size_t)r * ld + (size_t)i] = number(kind, i);
        }
    }
}

/* Finite f16 values. */
static inline void halves_fill(uint16_t *x, int rows, size_t ld, int n)
{
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < n; i++) {
            x[(size_t)r * ld + (size_t)i] = half_round((double)random_normal());
        }
    }
}

/* Values of a buffer of rows, ld apart, of which the last ends after n. */
static inline size_t rows_size(int rows, size_t ld, int n)
{
    return rows > 0 ? (size_t)(rows - 1) * ld + (size_t)n : 0;
}

#endif
