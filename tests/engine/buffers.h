/* The memory of a context as llama.cpp counts it, for tests that have it in their process. Its only function
 * for that is C++, hence buffers.cpp. */
#ifndef TADA_ENGINE_BUFFERS_H
#define TADA_ENGINE_BUFFERS_H

#include <stddef.h>

struct llama_context;

enum buffers_use { BUFFERS_WEIGHTS, BUFFERS_CACHE };

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of the buffers of one use whose types have `word` in their names, such as "CPU"; "": all. */
size_t buffers_bytes(const struct llama_context *context, enum buffers_use use, const char *word);

#ifdef __cplusplus
}
#endif

/* The same in MiB. context NULL: 0. */
static inline double buffers_mib(const struct llama_context *context, enum buffers_use use, const char *word)
{
    return context ? (double)buffers_bytes(context, use, word) / 1048576 : 0;
}

#endif
