/*
 * Attention over planes: per KV head, tile by tile, with an online softmax (as in flash attention, arXiv
 * 2205.14135).
 *
 * Cold tiles stay rotated: q is rotated once before, the sum of values once after. Hot tiles and sinks are
 * not, hence two copies of both where a plane rotates. Cold tiles of K also stay where they were before
 * shifts of positions: for them q is turned the other way.
 */
#include "item.h"

#include "common/sizes.h"

#include <math.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

/* What a work item is about. */
typedef struct item {
    int head_kv;
    int64_t stream, block, query, n_queries, first_tile, end_tile;
} item;

static bool has_head_masks(const tada_cut *r)
{
    return r->a->mask && r->a->mask_heads > 1;
}

static size_t block_rows(const tada_cut *r)
{
    return (size_t)r->block_queries * (size_t)r->group;
}

/* Floats of a row of scores. */
static size_t scores_stride(const tada_cut *r)
{
    return (size_t)r->batch * CELLS;
}

/* Rounded up to cache lines of 16 floats. */
static size_t lines(size_t n)
{
    return (n + 15) / 16 * 16;
}

static float *take(float **from, size_t n)
{
    float *part = *from;
    *from += lines(n);
    return part;
}

/* Floats of a range of one block of queries. */
static size_t partial_floats(const tada_cut *r)
{
    return block_rows(r) * r->partial_row;
}

size_t tada_item_floats(const tada_cut *r)
{
    size_t rows = block_rows(r), v_dim = (size_t)tada_padded(r->v.dim);
    return (r->k.native ? 3 : 2) * lines(rows * (size_t)r->k.dim) + lines(rows * scores_stride(r)) +
           2 * lines(rows * v_dim) + 3 * lines(rows) + lines((size_t)r->block_queries * scores_stride(r)) +
           lines(tada_side_floats(&r->k, &r->v));
}

tada_item_work tada_item_work_make(const tada_cut *r, float *memory, float *partial)
{
    size_t rows = block_rows(r), v_dim = (size_t)tada_padded(r->v.dim);
    tada_item_work w = {.partial = partial};
    w.q = take(&memory, rows * (size_t)r->k.dim);
    w.q_rotated = take(&memory, rows * (size_t)r->k.dim);
    w.scores = take(&memory, rows * scores_stride(r));
    w.out = take(&memory, rows * v_dim);
    w.out_rotated = take(&memory, rows * v_dim);
    w.max = take(&memory, rows);
    w.sum = take(&memory, rows);
    w.cells_sum = take(&memory, rows);
    w.mask = take(&memory, (size_t)r->block_queries * scores_stride(r));
    w.side = tada_side_work_make(&r->k, &r->v, take(&memory, tada_side_floats(&r->k, &r->v)));
    w.side.shifted = r->k.native ? take(&memory, rows * (size_t)r->k.dim) : NULL;
    return w;
}

/* ---- the cut ---- */

/* Of all KV heads and streams: no more than rows of output, whose number has a limit. */
static size_t blocks(const tada_cut *r)
{
    return (size_t)r->a->n_streams * (size_t)r->a->n_heads_kv * (size_t)r->n_blocks;
}

tada_cut tada_cut_make(const tada_attention *a, int64_t block_queries)
{
    tada_cut r = {.a = a, .group = a->n_heads / a->n_heads_kv, .block_queries = block_queries};
    r.k = tada_side_make(a->k, TADA_K, a->k_column, a->k_dim, a->k_head_stride);
    r.v = tada_side_make(a->v, TADA_V, a->v_column, a->v_dim, a->v_head_stride);
    r.first_tile = a->first_cell / CELLS;
    r.n_tiles = a->n_cells > 0 ? (a->first_cell + a->n_cells - 1) / CELLS - r.first_tile + 1 : 0;
    r.n_blocks = tada_parts(a->n_queries, r.block_queries);
    r.batch = TADA_BATCH_ROWS / (int)block_rows(&r);
    r.batch = r.batch < 1 ? 1 : r.batch < TADA_BATCH ? r.batch : TADA_BATCH;
    r.n_mask_streams = !a->mask ? 1 : a->mask_streams < a->n_streams ? a->mask_streams : a->n_streams;
    r.range_tiles = r.n_tiles;
    if (a->n_queries <= TADA_FEW_QUERIES) {
        size_t wanted = tada_size_multiply(blocks(&r), (size_t)r.n_tiles) / TADA_MANY_ITEMS;
        r.range_tiles = wanted < TADA_RANGE_TILES ? (int64_t)wanted : TADA_RANGE_TILES;
        if (r.range_tiles > r.batch / 2) {
            r.range_tiles = (r.range_tiles + r.batch / 2) / r.batch * r.batch;
        }
    }
    r.range_tiles = r.range_tiles > 0 ? r.range_tiles : 1;
    r.n_ranges = r.n_tiles > 0 ? (r.n_tiles + r.range_tiles - 1) / r.range_tiles : 1;
    r.partial_row = (size_t)a->v_dim + 2;
    return r;
}

int64_t tada_cut_items(const tada_cut *r)
{
    size_t items = tada_size_multiply(blocks(r), (size_t)r->n_ranges);
    return tada_size_possible(items) ? (int64_t)items : INT64_MAX;
}

/* One for each tile of each block, in each stream that has a mask of its own. */
size_t tada_cut_views(const tada_cut *r)
{
    size_t all = tada_size_multiply((size_t)r->n_mask_streams, (size_t)r->n_blocks);
    return has_head_masks(r) ? 0 : tada_size_multiply(all, (size_t)r->n_tiles);
}

bool tada_cut_sees(const tada_cut *r, int64_t stream, int64_t tile)
{
    bool seen = has_head_masks(r);
    for (int64_t block = 0; block < r->n_blocks && !seen; block++) {
        int64_t at = ((stream % r->n_mask_streams) * r->n_blocks + block) * r->n_tiles + tile - r->first_tile;
        seen = atomic_load_explicit(&r->views[at], memory_order_relaxed) != TADA_HIDDEN;
    }
    return seen;
}

size_t tada_cut_partial(const tada_cut *r)
{
    return r->n_ranges > 1 ? tada_size_multiply((size_t)tada_cut_items(r), partial_floats(r)) : 0;
}

static void prepare_queries(const tada_cut *r, int64_t stream, int head_kv, int64_t query, int64_t n_queries,
                            tada_item_work *w)
{
    const tada_attention *a = r->a;
    float scale = a->softcap > 0 ? a->scale / a->softcap : a->scale;
    for (int64_t i = 0; i < n_queries; i++) {
        for (int g = 0; g < r->group; g++) {
            const float *from =
                (const float *)(const void *)((const char *)a->q + (size_t)(query + i) * a->q_query +
                                              (size_t)(head_kv * r->group + g) * a->q_head +
                                              (size_t)stream * a->q_stream);
            size_t row = (size_t)(i * r->group + g);
            float *to = w->q + row * (size_t)a->k_dim;
            for (int d = 0; d < a->k_dim; d++) {
                to[d] = from[d] * scale;
            }
            if (r->k.rotation > 1) {
                float *rotated = w->q_rotated + row * (size_t)a->k_dim;
                memcpy(rotated, to, (size_t)a->k_dim * sizeof *to);
                tada_kernels_get()->hadamard(rotated, a->k_dim, r->k.rotation);
            }
        }
    }
    tada_side_queries(&r->k, w->q, w->q_rotated, (int)n_queries * r->group, &w->side);
}

/* One head's output from its sums; a logit in `sinks` only makes the denominator larger. */
static void finish_row(const tada_cut *r, int64_t stream, int head, int64_t query, float max, float sum,
                       const float *out)
{
    const tada_attention *a = r->a;
    float *to = (float *)(void *)((char *)a->out + (size_t)query * a->out_query + (size_t)head * a->out_head +
                                  (size_t)stream * a->out_stream);
    float factor = 1.0f;
    if (a->sink_logits) {
        float sink = a->sink_logits[head];
        float most = sink > max ? sink : max;
        factor = expf(max - most);
        sum = sum * factor + expf(sink - most);
    }
    factor = sum > 0 ? factor / sum : 0;
    for (int d = 0; d < a->v_dim; d++) {
        to[d] = out[d] * factor;
    }
}

/* ---- one work item ---- */

/* Found out by the first thread that asks, or by several at once. */
static enum tada_view view_at(const tada_cut *r, const item *i, int64_t tile)
{
    if (has_head_masks(r)) {
        return TADA_PARTLY;
    }
    int64_t stream = i->stream % r->n_mask_streams;
    _Atomic uint8_t *at = &r->views[(stream * r->n_blocks + i->block) * r->n_tiles + tile - r->first_tile];
    uint8_t view = atomic_load_explicit(at, memory_order_relaxed);
    if (view == TADA_VIEW_UNKNOWN) {
        view = (uint8_t)tada_mask_view(r->a, stream, 0, i->query, i->n_queries, tile);
        atomic_store_explicit(at, view, memory_order_relaxed);
    }
    return (enum tada_view)view;
}

/*
 * The next tiles of which something is seen, from *tile on, which moves past them; *unmasked: everything is.
 * Several only where all are on codes of one codec, all refined or none, and moved by the same distance.
 */
static tada_tiles next_tiles(const tada_cut *r, const item *i, int64_t *tile, bool *unmasked)
{
    int64_t k_first = (r->a->first_stream + i->stream) * r->k.plane->tiles_per_stream;
    int64_t v_first = (r->a->first_stream + i->stream) * r->v.plane->tiles_per_stream;
    int rows = (int)(i->n_queries * r->group);
    const tada_codec *k_codec = NULL, *v_codec = NULL;
    bool k_refined = false, v_refined = false;
    int32_t k_shift = 0;
    tada_tiles tiles;
    tiles.n = 0;
    *unmasked = true;
    for (; *tile < i->end_tile && tiles.n < r->batch; ++*tile) {
        enum tada_view view = view_at(r, i, *tile);
        if (view == TADA_HIDDEN) {
            continue;
        }
        const tada_codec *k = tada_side_on_codes(&r->k, k_first + *tile, rows),
                         *v = tada_side_on_codes(&r->v, v_first + *tile, rows);
        int32_t shift = r->k.plane->tiles[k_first + *tile].codes.shift;
        bool codes = k && v;
        bool k_more = codes && tada_side_refined(&r->k, k_first + *tile),
             v_more = codes && tada_side_refined(&r->v, v_first + *tile);
        if (tiles.n > 0 && (k != k_codec || v != v_codec || k_more != k_refined || v_more != v_refined ||
                            shift != k_shift)) {
            break;
        }
        k_shift = shift;
        k_codec = k;
        v_codec = v;
        k_refined = k_more;
        v_refined = v_more;
        *unmasked = *unmasked && view == TADA_WHOLE;
        tiles.index[tiles.n++] = *tile;
        if (!codes) {
            ++*tile;
            break;
        }
    }
    /* After the last range comes the next head. */
    bool last = *tile >= r->first_tile + r->n_tiles && i->head_kv + 1 < r->a->n_heads_kv;
    tiles.next = last ? r->first_tile : *tile;
    tiles.next_head = i->head_kv + last;
    return tiles;
}

static tada_tiles in_plane(const tada_tiles *tiles, const tada_cut *r, const tada_side *s, const item *i)
{
    int64_t first = (r->a->first_stream + i->stream) * s->plane->tiles_per_stream;
    tada_tiles shifted;
    shifted.n = tiles->n;
    shifted.next_head = tiles->next_head;
    shifted.next = tiles->next + first;
    for (int j = 0; j < tiles->n; j++) {
        shifted.index[j] = tiles->index[j] + first;
    }
    return shifted;
}

/* Scores of tiles to weights. */
static void weigh(const tada_cut *r, const item *i, const tada_tiles *tiles, bool unmasked, bool rotated_used,
                  tada_item_work *w)
{
    int stride = tada_padded(r->v.dim);
    size_t lds = scores_stride(r);
    tada_softmax s = {.m = (int)i->n_queries * r->group,
                      .group = r->group,
                      .n = tiles->n * CELLS,
                      .softcap = r->a->softcap,
                      .scores = w->scores,
                      .lds = lds,
                      .mask = unmasked ? NULL : w->mask,
                      .slope = r->slope + i->head_kv * r->group,
                      .max = w->max,
                      .sum = w->sum,
                      .cells_sum = w->cells_sum,
                      .out = w->out,
                      .rotated = rotated_used ? w->out_rotated : NULL,
                      .ldo = stride,
                      .dim = stride};
    if (!has_head_masks(r)) {
        for (int j = 0; !unmasked && j < tiles->n; j++) {
            tada_mask_load(r->a, i->stream, 0, i->query, i->n_queries, tiles->index[j], w->mask + j * CELLS,
                           lds);
        }
        tada_kernels_get()->softmax(&s);
        return;
    }
    /* A mask for each head: row by row. */
    for (int row = 0; row < s.m; row++) {
        int g = row % r->group;
        tada_softmax one = s;
        for (int j = 0; j < tiles->n; j++) {
            tada_mask_load(r->a, i->stream, i->head_kv * r->group + g, i->query + row / r->group, 1,
                           tiles->index[j], w->mask + j * CELLS, lds);
        }
        one.m = one.group = 1;
        one.scores += (size_t)row * lds;
        one.slope += g;
        one.max += row;
        one.sum += row;
        one.cells_sum += row;
        one.out += (size_t)row * (size_t)stride;
        one.rotated = rotated_used ? w->out_rotated + (size_t)row * (size_t)stride : NULL;
        tada_kernels_get()->softmax(&one);
    }
}

static item item_make(const tada_cut *r, int64_t number)
{
    const tada_attention *a = r->a;
    int64_t range = number % r->n_ranges, rest = number / r->n_ranges;
    item i = {.head_kv = (int)(rest / r->n_blocks % a->n_heads_kv),
              .stream = rest / r->n_blocks / a->n_heads_kv,
              .block = rest % r->n_blocks};
    i.query = i.block * r->block_queries;
    i.n_queries = a->n_queries - i.query < r->block_queries ? a->n_queries - i.query : r->block_queries;
    i.first_tile = r->first_tile + range * r->range_tiles;
    i.end_tile = r->first_tile + r->n_tiles;
    i.end_tile = i.first_tile + r->range_tiles < i.end_tile ? i.first_tile + r->range_tiles : i.end_tile;
    return i;
}

/* One row of a block from its ranges, in order. block: the first of its items. */
static void join_row(const tada_cut *r, const item *i, int64_t block, int row, tada_item_work *w)
{
    const tada_attention *a = r->a;
    const float *parts = w->partial + (size_t)block * partial_floats(r) + (size_t)row * r->partial_row;
    float max = -INFINITY, sum = 0, *out = w->out;
    memset(out, 0, (size_t)a->v_dim * sizeof *out);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t n = 0; n < r->n_ranges; n++) {
            const float *part = parts + (size_t)n * partial_floats(r);
            if (pass == 0) {
                max = part[0] > max ? part[0] : max;
            } else if (part[0] > -INFINITY) {
                float factor = expf(part[0] - max);
                sum += part[1] * factor;
                for (int d = 0; d < a->v_dim; d++) {
                    out[d] += part[2 + d] * factor;
                }
            }
        }
    }
    finish_row(r, i->stream, i->head_kv * r->group + row % r->group, i->query + row / r->group, max, sum,
               out);
}

void tada_item_do(const tada_cut *r, int64_t number, tada_item_work *w)
{
    const tada_attention *a = r->a;
    item i = item_make(r, number);
    int rows = (int)(i.n_queries * r->group), stride = tada_padded(a->v_dim);
    bool rotated_used = false; /* a tile of V was still rotated */

    prepare_queries(r, i.stream, i.head_kv, i.query, i.n_queries, w);
    memset(w->out, 0, (size_t)rows * (size_t)stride * sizeof(float));
    for (int row = 0; row < rows; row++) {
        w->max[row] = -INFINITY;
        w->sum[row] = 0;
    }
    for (int64_t tile = i.first_tile; tile < i.end_tile;) {
        bool unmasked;
        tada_tiles tiles = next_tiles(r, &i, &tile, &unmasked);
        if (tiles.n > 0) {
            tada_tiles k = in_plane(&tiles, r, &r->k, &i), v = in_plane(&tiles, r, &r->v, &i);
            tada_side_scores(&r->k, &k, i.head_kv, w->q, w->q_rotated, rows, w->scores, scores_stride(r),
                             &w->side);
            weigh(r, &i, &tiles, unmasked, rotated_used, w);
            tada_side_values(&r->v, &v, i.head_kv, w->scores, scores_stride(r), w->cells_sum, rows, w->out,
                             w->out_rotated, &rotated_used, &w->side);
        }
    }
    for (int row = 0; row < rows; row++) {
        float *out = w->out + (size_t)row * (size_t)stride;
        if (rotated_used) {
            float *rotated = w->out_rotated + (size_t)row * (size_t)stride;
            tada_kernels_get()->hadamard(rotated, a->v_dim, r->v.rotation);
            for (int d = 0; d < a->v_dim; d++) {
                out[d] += rotated[d];
            }
        }
        if (r->n_ranges == 1) {
            finish_row(r, i.stream, i.head_kv * r->group + row % r->group, i.query + row / r->group,
                       w->max[row], w->sum[row], out);
        } else {
            float *part = w->partial + (size_t)number * partial_floats(r) + (size_t)row * r->partial_row;
            part[0] = w->max[row];
            part[1] = w->sum[row];
            memcpy(part + 2, out, (size_t)a->v_dim * sizeof *out);
        }
    }
    _Atomic int32_t *left = r->n_ranges > 1 ? &r->left[number / r->n_ranges] : NULL;
    if (left && atomic_fetch_sub_explicit(left, 1, memory_order_acq_rel) == 1) {
        for (int row = 0; row < rows; row++) {
            join_row(r, &i, number / r->n_ranges * r->n_ranges, row, w);
        }
    }
}
