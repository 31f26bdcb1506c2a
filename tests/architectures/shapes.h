/* The models of models.txt: tiny, with random weights, made in memory by llama.cpp itself. */
#ifndef TADA_ARCHITECTURES_SHAPES_H
#define TADA_ARCHITECTURES_SHAPES_H

#include "gguf.h"
#include "llama.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SHAPES_MAX = 256,
    SHAPE_SETTINGS_MAX = 128,
    SHAPE_SLOW_MAX = 8,
    SHAPE_TIMES_MAX = 4,
    SHAPE_NAME_MAX = 32
};

typedef struct setting {
    char key[56], value[72];
} setting;

typedef struct tiny_shape {
    char name[SHAPE_NAME_MAX], architecture[SHAPE_NAME_MAX];
    setting settings[SHAPE_SETTINGS_MAX];
    int n_settings;
    /* What models.txt says with "!". */
    char slow[SHAPE_SLOW_MAX][SHAPE_NAME_MAX];
    int n_slow;
    char without[72]; /* "": llama.cpp runs it */
    char plain[72];   /* why some of what flash attention reads is not compressed; "": nothing is */
    bool against_q8_0;
    bool encoder;
    int depth; /* 0: no time is asked for */
    struct {
        char part[24];
        float factor;
    } times[SHAPE_TIMES_MAX]; /* weights by a part of their name */
    int n_times;
} tiny_shape;

typedef struct shape_list {
    tiny_shape shapes[SHAPES_MAX]; /* groups, which begin with '@', among them */
    int n;
} shape_list;

/* False, with a line on stderr: the file cannot be read, or a line of it is wrong. */
bool shapes_read(const char *path, shape_list *list);

const tiny_shape *shapes_find(const shape_list *list, const char *name); /* NULL: there is none */

/* The model, with weights that follow from the seed and the names of its tensors. NULL: llama.cpp refuses it.
 */
struct llama_model *shape_model(const tiny_shape *shape, uint64_t seed);

/* Whether every architecture that llama-arch.cpp names is in the list; the others are named on stderr. */
bool shapes_are_complete(const shape_list *list, const char *llama_arch_cpp);

#endif
