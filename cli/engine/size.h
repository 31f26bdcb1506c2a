/* What a model, a cache and its computing take, before anything is loaded. */
#ifndef TADA_CLI_ENGINE_SIZE_H
#define TADA_CLI_ENGINE_SIZE_H

#include "engine.h"

#include <stddef.h>
#include <stdint.h>

/* As llama-server would make the context. */
struct size_options {
    const char *model_path;
    int n_ctx;    /* cells of all sequences together */
    int parallel; /* sequences */
    bool unified; /* they share their cells */
    int n_ubatch, n_threads;
    int n_gpu_layers; /* -1: all of them */
    bool in_ram;      /* also the cache of layers on a GPU (-nkvo) */
    bool swa_full;    /* layers with a sliding window keep all cells */
};

/* Bytes. */
struct size_parts {
    int n_ctx; /* llama.cpp may round it up */
    size_t weights;
    /* Of the file, where it is mapped: weights whose copies in another layout are used. The system can have
     * these pages back at any time. */
    size_t mapped;
    /* The cache: those of a plane (tada_plane_parts), and rows as llama.cpp has them with what aligns
     * tensors. */
    size_t codes, window, sinks, tables, rows;
    size_t compressed; /* what of llama.cpp's cache became smaller: its bytes in f16 */
    size_t elsewhere;  /* of the rows: those in the memory of GPUs */
    char gpus[64];     /* "CUDA0, CUDA1" */
    size_t recurrent;  /* states of layers that have no KV cache */
    size_t compute;    /* buffers of the graph */
    size_t output;     /* logits of the last tokens */
    size_t
        scratch; /* of the plug-in, at most: rows of the batch at hand, and what its attention works with */
    size_t draft, draft_kv; /* all of a draft model's, and its cache */
    /* What llama-server keeps at a checkpoint: of layers that have only a window, and recurrent states, of
     * one slot. Only size_checkpoint sets it. */
    size_t checkpoint;
};

/* The model without its weights. */
struct size_model {
    struct engine *engine;
    struct size_options options;
    struct model model;
    struct size_model *draft; /* with a cache of its own of the same shape; NULL: none */
};

/* A cache whose sizes are asked for. */
struct size_cache {
    struct size_model *model;
    const char *spec;
    tada_spec parsed;
};

/* All of these print what is wrong and return an exit status. */

int size_open(struct engine *engine, const struct size_options *options, struct size_model *model);
/* The cache that size_of then speaks of, until the next one is chosen. */
int size_choose(struct size_model *model, const char *spec, struct size_cache *cache);
/* The parts with a context of so many cells. */
int size_of(const struct size_cache *cache, int n_ctx, struct size_parts *parts);
/* Adds what a checkpoint of these parts takes. */
int size_checkpoint(const struct size_cache *cache, struct size_parts *parts);
/* The largest context of at most `most` cells whose total is within the budget: a multiple of size_step; 0:
 * not even the smallest. *parts: those of this context, or else of the smallest. */
int size_largest(const struct size_cache *cache, int most, uint64_t budget, struct size_parts *parts,
                 int *n_ctx);
/* llama.cpp rounds the cells of each stream to a multiple of 256. */
int size_step(const struct size_options *options);
void size_close(struct size_model *model);

size_t size_kv(const struct size_parts *parts); /* the KV cache */
/* What llama-server keeps of the prompt of an idle slot whose context is full. */
size_t size_prompt(const struct size_options *options, const struct size_parts *parts);
size_t size_total(const struct size_parts *parts); /* everything */

#endif
