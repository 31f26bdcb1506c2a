/* One model, run once in a process of its own: what it computes, what it takes, what is said meanwhile. */
#ifndef TADA_ARCHITECTURES_RUN_H
#define TADA_ARCHITECTURES_RUN_H

#include "shapes.h"

#include <stddef.h>

enum { RUN_PROMPT = 300, RUN_STEPS = 40, RUN_CONTEXT = 4096, RUN_READERS = 200, RUN_WIDTH = 2000 };

typedef struct run_options {
    const char *libraries; /* folder of llama.cpp's libraries */
    const char *plugin;    /* NULL: stock */
    const char *spec;      /* of the plug-in's cache */
    enum ggml_type type;   /* of llama.cpp's cache */
    int ubatch;            /* 0: the default */
    bool watch;            /* who reads the caches */
    bool time;             /* only steps at the shape's depth, and how long they take */
    uint64_t seed;
} run_options;

/* A tensor of a cache, and the operations that read it. */
typedef struct run_tensor {
    char name[64];
    size_t bytes;
    bool readers[RUN_READERS]; /* by enum ggml_op */
} run_tensor;

/* How far it came. */
enum run_stage { RUN_NOTHING, RUN_LOADED, RUN_MADE, RUN_DONE };

typedef struct run_result {
    enum run_stage stage;
    bool crashed;
    int width, n_prompt, n_steps; /* logits: n_prompt + n_steps rows of the last `width` */
    bool embeddings;              /* these instead of logits */
    bool whole;                   /* the prompt cannot be cut into batches */
    size_t cache, compute;        /* as llama.cpp counts them */
    size_t scratch;               /* as the plug-in counts it, and what its planes are instead of */
    size_t planes, planes_f16;
    double step_ms; /* the median, of CPU time */
    run_tensor tensors[128];
    int n_tensors;
    char log[16384]; /* what the plug-in said, and errors */
    float logits[(RUN_PROMPT + RUN_STEPS) * RUN_WIDTH];
} run_result;

/* Memory that the process of a run shares with this one. */
run_result *run_result_create(void);
void run_result_free(run_result *result);

void run_shape(const tiny_shape *shape, const run_options *options, run_result *result);

#endif
