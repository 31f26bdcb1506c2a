/* The memory of a context as llama.cpp counts it. Its only function for that is C++, hence breakdown.cpp. */
#ifndef TADA_CLI_ENGINE_BREAKDOWN_H
#define TADA_CLI_ENGINE_BREAKDOWN_H

#include <stdbool.h>
#include <stddef.h>

struct llama_context;

/* Bytes of buffers. */
struct breakdown {
    size_t weights;  /* all weights */
    size_t repacked; /* those of them that were copied from the file into another layout */
    size_t cache, compute;
    size_t elsewhere; /* of the cache: in the memory of GPUs */
    char gpus[64];    /* "CUDA0, CUDA1" */
};

#ifdef __cplusplus
extern "C" {
#endif

/* library: libllama, from dlopen. False: it has no such function, or memory is short. */
bool breakdown_get(void *library, const struct llama_context *context, struct breakdown *breakdown);

#ifdef __cplusplus
}
#endif

#endif
