/* A plane beside a plain f16 array of what it ought to hold. */
#ifndef TADA_FUZZ_CACHE_MODEL_H
#define TADA_FUZZ_CACHE_MODEL_H

#include "fuzz.h"

typedef struct cache_model {
    const char *text; /* of the spec */
    tada_spec spec;
    tada_shape shape;
    bool compressed;
    int64_t total, tiles_per_stream, n_tiles;
    int64_t most_hot, most_refined; /* tiles that a stream keeps so */
    int64_t slots;                  /* of a stream, for codes and refinements */
    uint16_t *rows;                 /* [total][width]: what the plane reads as, bit for bit */
    uint8_t *marks;                 /* [total]: of a row that is a sink by tada_plane_mark_sinks */
    uint8_t *hot, *refined;         /* [n_tiles]: whether it is; an empty one may be any */
    uint8_t *moved;                 /* [n_tiles]: whether its codes have been shifted, so that its rows do not
                                       encode to themselves */
    uint8_t *layered;               /* [n_tiles]: whether rows were written beside its codes */
    bool any_layered; /* a tile has been, or has rows of quite another size in a layer of their own:
                         which ones are refined is then not foretold */
    uint64_t *stamps;
    uint64_t clock;
    int64_t n_marks;   /* ever made: beyond a number the plane makes no more */
    bool maybe_marked; /* that number may have been reached */
    tada_plane *plane;
    tada_pool *pool;
    void *memory;
} cache_model;

/* False: this spec has no plane of this shape. */
bool cache_model_make(cache_model *m, const char *text, const tada_spec *spec, const tada_shape *shape,
                      tada_pool *pool);
void cache_model_free(cache_model *m);

static inline uint16_t *cache_model_row(const cache_model *m, int64_t cell)
{
    return m->rows + cell * m->shape.width;
}

bool cache_model_written(const cache_model *m, int64_t cell);

/* Each does to the plane what it says, and to the model what should become of it; then the plane is compared.
 */
void cache_model_write(cache_model *m, const uint16_t *rows, const int64_t *cells, int64_t n);
void cache_model_mark(cache_model *m, const int64_t *cells, int64_t n);
void cache_model_settle(cache_model *m, int n_threads);
void cache_model_edit(cache_model *m, const uint8_t *chosen, tada_edit edit, void *context, int n_threads);
void cache_model_copy(cache_model *m, int64_t from, int64_t to, int n_threads);
void cache_model_clear(cache_model *m);

/* A tile has been compressed, or has lost its refinement: sinks are as they were, the others near; from now
 * on they are what they are. */
void cache_model_take_codes(cache_model *m, int64_t tile);

/* All cells, and what the plane counts. */
void cache_model_compare(const cache_model *m, int n_threads);

#endif
