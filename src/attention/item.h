/* Work items of an attention: a block of queries of one KV head over a range of tiles. */
#ifndef TADA_ATTENTION_ITEM_H
#define TADA_ATTENTION_ITEM_H

#include "mask.h"
#include "side.h"

#include <stdatomic.h>

/* How an attention is cut into items, and what all of them use. It follows from shape and mask alone. */
typedef struct tada_cut {
    const tada_attention *a;
    tada_side k, v;
    int group;             /* query heads of a KV head */
    int64_t block_queries; /* queries of a work item */
    int64_t n_blocks, n_ranges, first_tile, n_tiles, range_tiles;
    int64_t n_mask_streams;
    int batch; /* tiles that are read together, at most */
    /* enum tada_view, or TADA_VIEW_UNKNOWN until one is needed, [mask streams][blocks][tiles], unless there
     * is a mask for each head */
    _Atomic uint8_t *views;
    const float *slope;    /* [n_heads] of ALiBi */
    _Atomic int32_t *left; /* [items / n_ranges] ranges that are still to be done, when n_ranges > 1 */
    size_t partial_row;
} tada_cut;

enum {
    TADA_VIEW_UNKNOWN = 255,
    TADA_RANGE_TILES = 32, /* tiles of one item at most while there are few queries */
    TADA_MANY_ITEMS = 40, /* items that shorter ranges aim at, to keep threads busy in a short context, too */
    TADA_FEW_QUERIES = 16
};

/* The cut with so many queries in a block, but for what lies in memory. */
tada_cut tada_cut_make(const tada_attention *attention, int64_t block_queries);

/* Numbers that cannot be become INT64_MAX, and sizes SIZE_MAX. */
int64_t tada_cut_items(const tada_cut *cut);
size_t tada_cut_views(const tada_cut *cut);
/* Whether some query has seen something of a tile of the cut; true also where that is not known. After all
 * items were done. */
bool tada_cut_sees(const tada_cut *cut, int64_t stream, int64_t tile);
/* Floats in which ranges are kept until they are joined. */
size_t tada_cut_partial(const tada_cut *cut);

/* One thread's scratch. */
typedef struct tada_item_work {
    float *q, *q_rotated, *scores, *out, *out_rotated, *max, *sum, *cells_sum, *mask;
    float *partial; /* [items][block rows][2 + v_dim] of all threads when n_ranges > 1 */
    tada_side_work side;
} tada_item_work;

size_t tada_item_floats(const tada_cut *cut);
tada_item_work tada_item_work_make(const tada_cut *cut, float *memory, float *partial);

/* Does one item; the last one of a block joins its ranges. Any thread, in any order. */
void tada_item_do(const tada_cut *cut, int64_t number, tada_item_work *work);

#endif
