/* Scratch memory, and the sum of all of it. */
#include "scratch.h"

#include <stdatomic.h>
#include <stdlib.h>

static atomic_size_t total;

size_t scratch_rounded(size_t bytes)
{
    return bytes > 0 ? (bytes + 4095) / 4096 * 4096 : 4096;
}

void *scratch_get(scratch *s, size_t bytes)
{
    if (s->bytes < bytes || !s->memory) {
        scratch_free(s);
        size_t rounded = scratch_rounded(bytes);
        s->memory = aligned_alloc(4096, rounded);
        s->bytes = s->memory ? rounded : 0;
        atomic_fetch_add(&total, s->bytes);
    }
    return s->memory;
}

void scratch_free(scratch *s)
{
    atomic_fetch_sub(&total, s->bytes);
    free(s->memory);
    *s = (scratch){NULL, 0};
}

size_t scratch_total(void)
{
    return atomic_load(&total);
}
