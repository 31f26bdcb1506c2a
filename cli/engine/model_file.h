/* What a GGUF file says of its model, without loading the model. */
#ifndef TADA_CLI_ENGINE_MODEL_FILE_H
#define TADA_CLI_ENGINE_MODEL_FILE_H

#include "tada.h"

struct model_file {
    uint64_t fingerprint; /* doc/reference/plan.md; 0: unknown */
    int n_ctx_train;      /* 0: unknown */
    int n_layers;         /* 0: the widths are unknown */
    int *widths;          /* [n_layers][2]: values of a row of K and V; 0: the layer has no such cache */
    bool windowed;        /* some layers may keep only a sliding window: their caches are smaller */
};

/* Reads a GGUF file with the ggml library beside a tool of llama.cpp. Prints nothing. False: there is no such
 * library, or the file is no GGUF file that can be read. model_file_free frees *file in either case. */
bool model_file_read(const char *tool, const char *path, struct model_file *file);
void model_file_free(struct model_file *file);

#endif
