/* One side, K or V, of an attention: how it sees the heads of a plane, and what it reads of tiles, hot or
 * cold. */
#ifndef TADA_ATTENTION_SIDE_H
#define TADA_ATTENTION_SIDE_H

#include "codes.h"
#include "plane/plane.h"
#include "integers.h"

typedef struct tada_side {
    const tada_plane *plane;
    int column, dim, head_stride;
    bool native;   /* its heads are the coding heads: cold tiles are decoded head by head, still rotated */
    bool codes;    /* native, and codes of cold tiles can be used as they are */
    bool integers; /* the same of their integers */
    int rotation;  /* block of the transform that native cold tiles are under; 1: none */
} tada_side;

/* role: what the attention uses the plane as; a plane of K can be read as V, row by row. */
tada_side tada_side_make(const tada_plane *plane, enum tada_kind role, int column, int dim, int head_stride);

/* Distances by which tiles have moved whose angles are kept: few contexts have tiles of more. */
enum { TADA_DISTANCES = 8 };

/* Scratch of one thread. */
typedef struct tada_side_work {
    float *tile, *decode;
    uint16_t *rows;
    int16_t *queries; /* as integers, for integers of K */
    float *inverse;   /* of each query */
    /* Queries [rows][dim] as codes of tiles that have moved by `shift` want them; and, only where K is
     * native, room for those of other distances than 0, and the angles of some of these. */
    const float *coded;
    /* The cold tile of which `tile` has a decoded head of K, from this column of the plane's rows on; -1: it
     * has none. */
    int64_t decoded;
    int decoded_column;
    float *turned; /* such a head as values [64][dim]; NULL unless V is a view of K */
    int32_t shift;
    float *shifted, *angles;
    int32_t distances[TADA_DISTANCES];
    int oldest; /* of these */
} tada_side_work;

/* Floats of scratch, and its parts. */
size_t tada_side_floats(const tada_side *k, const tada_side *v);
tada_side_work tada_side_work_make(const tada_side *k, const tada_side *v, float *memory);

/* Values of a row of `dim`, in vectors of 16. */
static inline int tada_padded(int dim)
{
    return (dim + 15) / 16 * 16;
}

/* The codec of tile `index` if its codes will do for so many rows, else NULL. */
const tada_codec *tada_side_on_codes(const tada_side *side, int64_t index, int rows);

/* Whether a tile that is read on codes has a refinement. */
bool tada_side_refined(const tada_side *side, int64_t index);

/* Tiles that are read together: one of any kind, or several that are all on codes of one codec, all
 * refined or none, and moved by the same distance. As many from `next` on, of next_head, will be read after
 * them, or at least nothing is lost by fetching them. */
typedef struct tada_tiles {
    int n, next_head;
    int64_t next;
    int64_t index[TADA_BATCH];
} tada_tiles;

/* Before scores: what they need of the queries of one KV head. */
void tada_side_queries(const tada_side *side, const float *q, const float *rotated, int rows,
                       tada_side_work *work);

/* Rows that share a tile, at most: more of them share the work of making integers of it. */
int tada_side_rows(const tada_side *side);

/* scores [rows][lds], 64 columns a tile, of one KV head. rotated: the same queries, rotated, if the side
 * rotates. */
void tada_side_scores(const tada_side *side, const tada_tiles *tiles, int head, const float *q,
                      const float *rotated, int rows, float *scores, size_t lds, tada_side_work *work);

/*
 * Adds weights [rows][ldw], whose sums over the tiles are `sums`, times values of one KV head to out
 * [rows][padded dim], or to `rotated` when the tile is rotated (its sinks are not); *in_use says whether
 * `rotated` is in use, and is set when it is taken into use.
 */
void tada_side_values(const tada_side *side, const tada_tiles *tiles, int head, float *weights, size_t ldw,
                      const float *sums, int rows, float *out, float *rotated, bool *in_use,
                      tada_side_work *work);

#endif
