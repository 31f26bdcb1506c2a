#include "mask.h"

#include "problem.h"
#include "kernels/kernels.h"
#include "plane/plane.h"

#include <math.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

/* The cells [from, to) of a tile that the attention is over, and their mask. */
typedef struct span {
    int from, to;
    const uint16_t *mask; /* of the first query; NULL: none */
    size_t stride;        /* values from query to query */
} span;

static span span_make(const tada_attention *a, int64_t stream, int head, int64_t query, int64_t tile)
{
    int64_t begin = tile * CELLS, end = a->first_cell + a->n_cells - begin;
    span s = {.from = (int)(begin < a->first_cell ? a->first_cell - begin : 0),
              .to = end < CELLS ? (int)end : CELLS};
    if (a->mask) {
        s.mask = (const uint16_t *)(const void *)((const char *)a->mask + (size_t)query * a->mask_query +
                                                  (size_t)(head % a->mask_heads) * a->mask_head +
                                                  (size_t)(stream % a->mask_streams) * a->mask_stream) +
                 begin + s.from - a->first_cell;
        s.stride = a->mask_query / 2;
    }
    return s;
}

static enum tada_view view_of_row(const uint16_t *mask)
{
    uint64_t any = 0, seen = 0;
    for (int i = 0; i < CELLS; i += 4) {
        uint64_t four;
        memcpy(&four, mask + i, sizeof four);
        any |= four;
        seen |= four ^ 0xfc00fc00fc00fc00u; /* -infinity */
    }
    return seen == 0 ? TADA_HIDDEN : any == 0 ? TADA_WHOLE : TADA_PARTLY;
}

enum tada_view tada_mask_view(const tada_attention *a, int64_t stream, int head, int64_t query,
                              int64_t n_queries, int64_t tile)
{
    span s = span_make(a, stream, head, query, tile);
    if (s.from > 0 || s.to < CELLS) {
        return TADA_PARTLY;
    }
    enum tada_view view = s.mask ? view_of_row(s.mask) : TADA_WHOLE;
    for (int64_t i = 1; s.mask && i < n_queries && view != TADA_PARTLY; i++) {
        view = view_of_row(s.mask + (size_t)i * s.stride) == view ? view : TADA_PARTLY;
    }
    return view;
}

void tada_mask_load(const tada_attention *a, int64_t stream, int head, int64_t query, int64_t n_queries,
                    int64_t tile, float *out, size_t stride)
{
    span s = span_make(a, stream, head, query, tile);
    for (int64_t i = 0; i < n_queries; i++, out += stride) {
        for (int t = 0; t < CELLS; t++) {
            out[t] = t >= s.from && t < s.to ? 0.0f : -INFINITY;
        }
        if (s.mask) {
            tada_kernels_get()->half_to_float(s.mask + (size_t)i * s.stride, out + s.from, s.to - s.from);
        }
    }
}

enum {
    BLOCK_QUERIES = 64, /* more of them are prompts, which lie in the batch one after the other */
    BLOCK_TILES = 64,   /* tiles that are looked at, spread over all */
    TILE_COST = 4       /* of reading and unpacking a tile, in rows of queries */
};

bool tada_mask_may_split(const tada_attention *a)
{
    return a->mask && a->mask_heads <= 1 && a->n_queries > 1 && a->n_queries <= BLOCK_QUERIES;
}

int64_t tada_mask_block(const tada_attention *a, int64_t largest, int group)
{
    int64_t first = (a->first_cell + CELLS - 1) / CELLS, end = (a->first_cell + a->n_cells) / CELLS;
    int64_t n = a->n_queries, step = (end - first) / BLOCK_TILES + 1, best = largest, least = INT64_MAX;
    if (!tada_mask_may_split(a) || largest < 2 || end - first < 2) {
        return largest;
    }
    uint64_t seen[BLOCK_QUERIES] = {0}; /* of the first stream; the others have the same number of queries */
    for (int64_t i = 0; i < n; i++) {
        int at = 0;
        for (int64_t tile = first; tile < end; tile += step, at++) {
            span s = span_make(a, 0, 0, i, tile);
            seen[i] |= (uint64_t)(view_of_row(s.mask) != TADA_HIDDEN) << at;
        }
    }
    for (int64_t block = largest; block > 0; block /= 2) {
        int64_t cost = 0;
        for (int64_t i = 0; i < n; i += block) {
            uint64_t any = 0;
            int64_t rows = n - i < block ? n - i : block;
            for (int64_t j = 0; j < rows; j++) {
                any |= seen[i + j];
            }
            cost += __builtin_popcountll(any) * (TILE_COST + rows * group);
        }
        if (cost < least) {
            least = cost;
            best = block;
        }
    }
    return best;
}

/* The first cells that one query sees, up to `most`; the return says how many it sees, or most + 1. */
static int first_seen(const uint16_t *mask, int64_t n_cells, int most, int64_t *cells)
{
    int n = 0;
    for (int64_t at = 0; at < n_cells && n <= most;) {
        if (at + CELLS <= n_cells && view_of_row(mask + at) == TADA_HIDDEN) {
            at += CELLS;
            continue;
        }
        for (int64_t end = at + CELLS < n_cells ? at + CELLS : n_cells; at < end && n <= most; at++) {
            if (mask[at] != 0xfc00) {
                cells[n < most ? n : 0] = at;
                n++;
            }
        }
    }
    return n;
}

int64_t tada_attention_sinks(const tada_attention *a, int64_t *cells, int64_t capacity)
{
    int64_t n = 0, seen[TADA_TILE_CELLS];
    int most = a->k->n_sinks > a->v->n_sinks ? a->k->n_sinks : a->v->n_sinks;
    if (!a->mask || a->mask_heads > 1 || most == 0 || tada_attention_problem(a)) {
        return 0;
    }
    for (int64_t s = 0; s < a->n_streams; s++) {
        for (int64_t i = 0; i < a->n_queries; i++) {
            const uint16_t *mask =
                (const uint16_t *)(const void *)((const char *)a->mask + (size_t)i * a->mask_query +
                                                 (size_t)(s % a->mask_streams) * a->mask_stream);
            int sees = first_seen(mask, a->n_cells, most, seen);
            for (int j = 0; sees <= most && j < sees && n < capacity; j++) {
                cells[n++] = (a->first_stream + s) * a->k->shape.n_cells + a->first_cell + seen[j];
            }
        }
    }
    return n;
}
