/* What llama.cpp says that a context takes, or would take: its only function for it is of C++, hence this
 * file. */
#ifndef TADA_CLI_ENGINE_BREAKDOWN_H
#define TADA_CLI_ENGINE_BREAKDOWN_H

#include <stdbool.h>
#include <stddef.h>

struct llama_context;

/* Bytes of buffers. */
struct breakdown {
    size_t weights;  /* all of them */
    size_t repacked; /* of these, in a layout of their own, copied from the file */
    size_t cache, compute;
};

#ifdef __cplusplus
extern "C" {
#endif

/* library: libllama, open. False: it has no such function, or memory is short. */
bool breakdown_get(void *library, const struct llama_context *context, struct breakdown *breakdown);

#ifdef __cplusplus
}
#endif

#endif
