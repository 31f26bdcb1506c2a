/* Memory that graphs work with, counted, as it belongs in every figure that we report. */
#ifndef PLUGIN_BASE_SCRATCH_H
#define PLUGIN_BASE_SCRATCH_H

#include <stddef.h>

/* One piece, which grows and is used again. All zeros: none yet. */
typedef struct scratch {
    void *memory; /* 64-byte aligned, or NULL */
    size_t bytes;
} scratch;

/* What a piece of so many bytes takes. */
size_t scratch_rounded(size_t bytes);
/* At least so many bytes, whose contents are lost when it grows. NULL: memory is short. */
void *scratch_get(scratch *s, size_t bytes);
void scratch_free(scratch *s);
/* Of all pieces together now. */
size_t scratch_total(void);

#endif
