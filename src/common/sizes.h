/* Sums and products of sizes whose numbers come from a caller. A result that is too large becomes
 * SIZE_MAX, and so does all that is computed with it. */
#ifndef TADA_COMMON_SIZES_H
#define TADA_COMMON_SIZES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline size_t tada_size_add(size_t a, size_t b)
{
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

static inline size_t tada_size_multiply(size_t a, size_t b)
{
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

static inline size_t tada_size_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Rounds up to a multiple of `unit`, a power of two. */
static inline size_t tada_size_round(size_t bytes, size_t unit)
{
    size_t sum = tada_size_add(bytes, unit - 1);
    return sum == SIZE_MAX ? SIZE_MAX : sum / unit * unit;
}

/* Whether an object may have so many bytes at all. */
static inline bool tada_size_possible(size_t bytes)
{
    return bytes <= PTRDIFF_MAX;
}

/* How many parts of `size` make n, n >= 0. */
static inline int64_t tada_parts(int64_t n, int64_t size)
{
    return n / size + (n % size != 0);
}

#endif
