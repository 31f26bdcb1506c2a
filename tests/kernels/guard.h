/*
 * Buffers of exact size between pages that cannot be touched. Around each buffer lie bytes of a known value,
 * so that writing beside it shows even where no page ends.
 */
#ifndef TADA_TEST_GUARD_H
#define TADA_TEST_GUARD_H

#include <stddef.h>

/* Where a buffer lies: with its end or its start at a forbidden page, or at an address that is aligned to its
 * elements and to nothing more. */
enum guard_side { GUARD_AFTER, GUARD_BEFORE, GUARD_ODD, GUARD_SIDES };

/* Drops all buffers; those taken from now on lie like this. */
void guard_start(enum guard_side side);

/* n elements of `size` bytes (a power of two), filled with 0xff: NaN as float and as f16. */
void *guard_take(size_t n, size_t size);

/* An address that cannot be read. */
const void *guard_forbidden(void);

/* Fails the test when a byte beside a buffer was written. */
void guard_check(void);

#endif
