/* Scratch memory of graphs. All of it is counted, as it belongs to every size that the plug-in reports. */
#ifndef PLUGIN_BASE_SCRATCH_H
#define PLUGIN_BASE_SCRATCH_H

#include <stddef.h>

/* One piece of memory, which grows and is used again. All zeros: it has no memory yet. */
typedef struct scratch {
    void *memory; /* 64-byte aligned, or NULL */
    size_t bytes;
} scratch;

/* The bytes that a piece occupies when it is asked for so many. */
size_t scratch_rounded(size_t bytes);
/* The piece, of at least so many bytes. When it has to grow, its contents are lost. NULL: memory is short. */
void *scratch_get(scratch *s, size_t bytes);
void scratch_free(scratch *s);
/* Bytes of all pieces of the process now. */
size_t scratch_total(void);

#endif
