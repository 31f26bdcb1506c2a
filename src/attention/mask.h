/* What queries see of a tile: the mask of an attention, 64 cells at a time. */
#ifndef TADA_ATTENTION_MASK_H
#define TADA_ATTENTION_MASK_H

#include "tada.h"

enum tada_view { TADA_HIDDEN, TADA_PARTLY, TADA_WHOLE };

/* What n_queries queries from `query` on see of tile number `tile` of their stream, with the mask of `head`.
 */
enum tada_view tada_mask_view(const tada_attention *attention, int64_t stream, int head, int64_t query,
                              int64_t n_queries, int64_t tile);

/*
 * How many queries are best attended to together, up to `largest`: with more of them a tile is read fewer
 * times, but each of them pays for what any of them sees, and sequences that share a stream see different
 * tiles. Follows from the mask alone. group: query heads of a KV head.
 */
int64_t tada_mask_block(const tada_attention *attention, int64_t largest, int group);

/* Whether that can be fewer than as many as there may be; says so without looking at the mask. */
bool tada_mask_may_split(const tada_attention *attention);

/* What tada_mask_view tells, as numbers to add to the scores: rows of 64, `stride` floats apart; -infinity
 * where nothing is seen. */
void tada_mask_load(const tada_attention *attention, int64_t stream, int head, int64_t query,
                    int64_t n_queries, int64_t tile, float *out, size_t stride);

#endif
