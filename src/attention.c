/*
 * Attention over planes: per KV head, tile by tile, with an online softmax (as in flash attention, arXiv
 * 2205.14135).
 *
 * A work item is a block of queries of one KV head over a range of tiles. Both follow from shape and mask
 * alone, so that the result does not depend on the number of threads. Cold tiles stay rotated: q is rotated
 * once before, the sum of values once after. Hot tiles and sinks are not, hence two copies of both where a
 * plane rotates.
 */
#include "attention_mask.h"
#include "attention_side.h"

#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    RANGE_TILES = 32, /* tiles of one work item at most while there are few queries */
    MANY_ITEMS = 40,  /* items that shorter ranges aim at, to keep threads busy in a short context, too */
    FEW_QUERIES = 16
};

typedef struct run {
    const tada_attention *a;
    tada_side k, v;
    int group;             /* query heads of a KV head */
    int64_t block_queries; /* queries of a work item */
    int64_t n_blocks, n_ranges, first_tile, n_tiles, range_tiles;
    int64_t n_mask_streams;
    int batch;      /* tiles that are read together, at most */
    uint8_t *views; /* enum tada_view [mask streams][blocks][tiles], unless there is a mask for each head */
    float *slope;   /* [n_heads] of ALiBi */
    float *partial; /* [items][block rows][2 + v_dim] when n_ranges > 1 */
    size_t partial_row;
} run;

/* What a work item is about. */
typedef struct item {
    int head_kv;
    int64_t stream, block, query, n_queries, first_tile, end_tile;
} item;

/* Items that a thread has to do, in a cache line of its own. */
typedef struct share {
    _Alignas(64) _Atomic int64_t next;
    int64_t end;
} share;

/* One thread's scratch. */
typedef struct work {
    float *q, *q_rotated, *scores, *out, *out_rotated, *max, *sum, *cells_sum, *mask;
    tada_side_work side;
} work;

static bool has_head_masks(const run *r)
{
    return r->a->mask && r->a->mask_heads > 1;
}

static size_t block_rows(const run *r)
{
    return (size_t)r->block_queries * (size_t)r->group;
}

/* Floats of a row of scores. */
static size_t scores_stride(const run *r)
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

static size_t work_floats(const run *r)
{
    size_t rows = block_rows(r), v_dim = (size_t)tada_padded(r->v.dim);
    return 2 * lines(rows * (size_t)r->k.dim) + lines(rows * scores_stride(r)) + 2 * lines(rows * v_dim) +
           3 * lines(rows) + lines((size_t)r->block_queries * scores_stride(r)) +
           lines(tada_side_floats(&r->k, &r->v));
}

static void work_make(const run *r, float *memory, work *w)
{
    size_t rows = block_rows(r), v_dim = (size_t)tada_padded(r->v.dim);
    w->q = take(&memory, rows * (size_t)r->k.dim);
    w->q_rotated = take(&memory, rows * (size_t)r->k.dim);
    w->scores = take(&memory, rows * scores_stride(r));
    w->out = take(&memory, rows * v_dim);
    w->out_rotated = take(&memory, rows * v_dim);
    w->max = take(&memory, rows);
    w->sum = take(&memory, rows);
    w->cells_sum = take(&memory, rows);
    w->mask = take(&memory, (size_t)r->block_queries * scores_stride(r));
    w->side = tada_side_work_make(&r->k, &r->v, take(&memory, tada_side_floats(&r->k, &r->v)));
}

static float alibi_slope(const tada_attention *a, int head)
{
    if (a->max_bias <= 0) {
        return 1.0f;
    }
    /* As ggml: powers of two up to the largest power of two of heads, then those between. */
    int low = 1;
    while (2 * low <= a->n_heads) {
        low *= 2;
    }
    float m0 = powf(2.0f, -a->max_bias / (float)low), m1 = powf(2.0f, -a->max_bias / 2.0f / (float)low);
    return head < low ? powf(m0, (float)(head + 1)) : powf(m1, (float)(2 * (head - low) + 1));
}

static void prepare_queries(const run *r, int64_t stream, int head_kv, int64_t query, int64_t n_queries,
                            work *w)
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
                float *turned = w->q_rotated + row * (size_t)a->k_dim;
                memcpy(turned, to, (size_t)a->k_dim * sizeof *to);
                tada_kernels_get()->hadamard(turned, a->k_dim, r->k.rotation);
            }
        }
    }
    tada_side_queries(&r->k, w->q, w->q_rotated, (int)n_queries * r->group, &w->side);
}

/* One head's output from its sums; a logit in `sinks` only makes the denominator larger. */
static void finish_row(const run *r, int64_t stream, int head, int64_t query, float max, float sum,
                       const float *out)
{
    const tada_attention *a = r->a;
    float *to = (float *)(void *)((char *)a->out + (size_t)query * a->out_query + (size_t)head * a->out_head +
                                  (size_t)stream * a->out_stream);
    float factor = 1.0f;
    if (a->sinks) {
        float sink = a->sinks[head];
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

static enum tada_view view_at(const run *r, const item *i, int64_t tile)
{
    if (has_head_masks(r)) {
        return TADA_PARTLY;
    }
    return r
        ->views[(i->stream % r->n_mask_streams * r->n_blocks + i->block) * r->n_tiles + tile - r->first_tile];
}

/*
 * The next tiles of which something is seen, from *tile on, which moves past them; *whole: everything is.
 * Several only where all are on codes of one codec.
 */
static tada_tiles next_tiles(const run *r, const item *i, int64_t *tile, bool *whole)
{
    int64_t k_first = (r->a->first_stream + i->stream) * r->k.plane->tiles_per_stream;
    int64_t v_first = (r->a->first_stream + i->stream) * r->v.plane->tiles_per_stream;
    int rows = (int)(i->n_queries * r->group);
    const tada_codec *k_codec = NULL, *v_codec = NULL;
    tada_tiles tiles;
    tiles.n = 0;
    *whole = true;
    for (; *tile < i->end_tile && tiles.n < r->batch; ++*tile) {
        enum tada_view view = view_at(r, i, *tile);
        if (view == TADA_HIDDEN) {
            continue;
        }
        const tada_codec *k = tada_side_on_codes(&r->k, k_first + *tile, rows),
                         *v = tada_side_on_codes(&r->v, v_first + *tile, rows);
        bool codes = k && v;
        if (tiles.n > 0 && (k != k_codec || v != v_codec)) {
            break;
        }
        k_codec = k;
        v_codec = v;
        *whole = *whole && view == TADA_WHOLE;
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

static tada_tiles in_plane(const tada_tiles *tiles, const run *r, const tada_side *s, const item *i)
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
static void weigh(const run *r, const item *i, const tada_tiles *tiles, bool whole, bool turned, work *w)
{
    int stride = tada_padded(r->v.dim);
    size_t lds = scores_stride(r);
    tada_softmax s = {.m = (int)i->n_queries * r->group,
                      .group = r->group,
                      .n = tiles->n * CELLS,
                      .softcap = r->a->softcap,
                      .scores = w->scores,
                      .lds = lds,
                      .mask = whole ? NULL : w->mask,
                      .slope = r->slope + i->head_kv * r->group,
                      .max = w->max,
                      .sum = w->sum,
                      .cells_sum = w->cells_sum,
                      .out = w->out,
                      .turned = turned ? w->out_rotated : NULL,
                      .ldo = stride,
                      .dim = stride};
    if (!has_head_masks(r)) {
        for (int j = 0; !whole && j < tiles->n; j++) {
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
        one.turned = turned ? w->out_rotated + (size_t)row * (size_t)stride : NULL;
        tada_kernels_get()->softmax(&one);
    }
}

static void run_item(const run *r, int64_t number, work *w)
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
    int rows = (int)(i.n_queries * r->group), stride = tada_padded(a->v_dim);
    bool turned = false; /* a tile of V was still rotated */

    prepare_queries(r, i.stream, i.head_kv, i.query, i.n_queries, w);
    memset(w->out, 0, (size_t)rows * (size_t)stride * sizeof(float));
    for (int row = 0; row < rows; row++) {
        w->max[row] = -INFINITY;
        w->sum[row] = 0;
    }
    for (int64_t tile = i.first_tile; tile < i.end_tile;) {
        bool whole;
        tada_tiles tiles = next_tiles(r, &i, &tile, &whole);
        if (tiles.n > 0) {
            tada_tiles k = in_plane(&tiles, r, &r->k, &i), v = in_plane(&tiles, r, &r->v, &i);
            tada_side_scores(&r->k, &k, i.head_kv, w->q, w->q_rotated, rows, w->scores, scores_stride(r),
                             &w->side);
            weigh(r, &i, &tiles, whole, turned, w);
            tada_side_values(&r->v, &v, i.head_kv, w->scores, scores_stride(r), w->cells_sum, rows, w->out,
                             w->out_rotated, &turned, &w->side);
        }
    }
    for (int row = 0; row < rows; row++) {
        float *out = w->out + (size_t)row * (size_t)stride;
        if (turned) {
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
            float *part = r->partial + ((size_t)number * block_rows(r) + (size_t)row) * r->partial_row;
            part[0] = w->max[row];
            part[1] = w->sum[row];
            memcpy(part + 2, out, (size_t)a->v_dim * sizeof *out);
        }
    }
}

/*
 * Items that follow each other read memory that does, so each thread has a stretch of them, and helps the
 * others when it is done with its own.
 */
static void run_items(const run *r, int64_t items, share *shares, work *w)
{
    int me = omp_get_thread_num(), n = omp_get_num_threads();
#pragma omp single
    for (int t = 0; t < n; t++) {
        atomic_init(&shares[t].next, items * t / n);
        shares[t].end = items * (t + 1) / n;
    }
    for (int t = 0; t < n; t++) {
        share *s = &shares[(me + t) % n];
        for (int64_t i; (i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->end;) {
            run_item(r, i, w);
        }
    }
#pragma omp barrier
}

/* Joins the ranges of one row, in order. */
static void merge_row(const run *r, int64_t stream, int head, int64_t query, float *out)
{
    const tada_attention *a = r->a;
    int64_t block = query / r->block_queries;
    int64_t row = query % r->block_queries * r->group + head % r->group;
    int64_t first = ((stream * a->n_heads_kv + head / r->group) * r->n_blocks + block) * r->n_ranges;
    float max = -INFINITY, sum = 0;
    memset(out, 0, (size_t)a->v_dim * sizeof *out);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < r->n_ranges; i++) {
            const float *part =
                r->partial + ((size_t)(first + i) * block_rows(r) + (size_t)row) * r->partial_row;
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
    finish_row(r, stream, head, query, max, sum, out);
}

/* ---- the whole ---- */

static const char *problem(const tada_attention *a)
{
    const tada_shape *k = &a->k->shape, *v = &a->v->shape;
    if (a->n_heads < 1 || a->n_heads_kv < 1 || a->n_heads % a->n_heads_kv != 0 || a->k_dim < 1 ||
        a->v_dim < 1) {
        return "The query heads must be a multiple of the KV heads, and heads must have values.";
    }
    if (a->k_column < 0 || a->v_column < 0 || a->k_head_stride < 0 || a->v_head_stride < 0 ||
        a->k_column + (int64_t)(a->n_heads_kv - 1) * a->k_head_stride + a->k_dim > k->width ||
        a->v_column + (int64_t)(a->n_heads_kv - 1) * a->v_head_stride + a->v_dim > v->width) {
        return "The heads must lie within the rows of the planes.";
    }
    if (a->first_stream < 0 || a->n_streams < 0 || a->first_cell < 0 || a->n_cells < 0 || a->n_queries < 0 ||
        a->first_stream + a->n_streams > k->n_streams || a->first_stream + a->n_streams > v->n_streams ||
        a->first_cell + a->n_cells > k->n_cells || a->first_cell + a->n_cells > v->n_cells) {
        return "The cells and streams must exist in both planes.";
    }
    if (a->mask && (a->mask_heads < 1 || a->mask_streams < 1)) {
        return "A mask must have at least one head and one stream.";
    }
    return NULL;
}

static tada_side side_k(const tada_attention *a)
{
    return tada_side_make(a->k, TADA_K, a->k_column, a->k_dim, a->k_head_stride);
}

static tada_side side_v(const tada_attention *a)
{
    return tada_side_make(a->v, TADA_V, a->v_column, a->v_dim, a->v_head_stride);
}

static int64_t largest_block(const tada_attention *a)
{
    tada_side k = side_k(a), v = side_v(a);
    int rows = tada_side_rows(&k) < tada_side_rows(&v) ? tada_side_rows(&k) : tada_side_rows(&v);
    int64_t most = rows / (a->n_heads / a->n_heads_kv);
    most = most > 1 ? most : 1;
    return most < a->n_queries ? most : a->n_queries;
}

/* How the work is cut when so many queries are attended to together; nothing of it depends on the number of
 * threads. */
static run run_make(const tada_attention *a, int64_t block_queries)
{
    run r = {.a = a, .group = a->n_heads / a->n_heads_kv, .block_queries = block_queries};
    r.k = side_k(a);
    r.v = side_v(a);
    r.first_tile = a->first_cell / CELLS;
    r.n_tiles = a->n_cells > 0 ? (a->first_cell + a->n_cells - 1) / CELLS - r.first_tile + 1 : 0;
    r.n_blocks = (a->n_queries + r.block_queries - 1) / r.block_queries;
    r.batch = TADA_BATCH_ROWS / (int)block_rows(&r);
    r.batch = r.batch < 1 ? 1 : r.batch < TADA_BATCH ? r.batch : TADA_BATCH;
    r.n_mask_streams = a->mask && a->mask_streams > 1 ? a->mask_streams : 1;
    r.range_tiles = r.n_tiles;
    if (a->n_queries <= FEW_QUERIES) {
        int64_t wanted = r.n_tiles * a->n_heads_kv * a->n_streams * r.n_blocks / MANY_ITEMS;
        r.range_tiles = wanted < RANGE_TILES ? wanted : RANGE_TILES;
        if (r.range_tiles > r.batch / 2) {
            r.range_tiles = (r.range_tiles + r.batch / 2) / r.batch * r.batch;
        }
    }
    r.range_tiles = r.range_tiles > 0 ? r.range_tiles : 1;
    r.n_ranges = r.n_tiles > 0 ? (r.n_tiles + r.range_tiles - 1) / r.range_tiles : 1;
    r.partial_row = (size_t)a->v_dim + 2;
    return r;
}

static int64_t n_items(const run *r)
{
    return r->a->n_streams * r->a->n_heads_kv * r->n_blocks * r->n_ranges;
}

/* One for each tile of each block, in each stream that has a mask of its own. */
static int64_t n_views(const run *r)
{
    return has_head_masks(r) ? 0 : r->n_mask_streams * r->n_blocks * r->n_tiles;
}

/* The workspace of a run, in floats, in the order in which its parts follow each other. */
typedef struct workspace {
    size_t shares, each, heads, partial, views;
} workspace;

static workspace workspace_make(const run *r, int n_threads)
{
    return (workspace){.shares = (size_t)n_threads * sizeof(share) / sizeof(float),
                       .each = work_floats(r),
                       .heads = lines((size_t)r->a->n_heads),
                       .partial = r->n_ranges > 1 ? (size_t)n_items(r) * block_rows(r) * r->partial_row : 0,
                       .views = (size_t)(n_views(r) + 3) / 4};
}

static size_t workspace_bytes(const workspace *w, int n_threads)
{
    return (w->shares + w->each * (size_t)n_threads + w->heads + w->partial + w->views) * sizeof(float);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Whatever the mask says about how many queries are attended to together: a pool keeps the largest workspace
 * anyway, and what it takes can be told before there is a mask. */
static size_t any_workspace(const tada_attention *a, int n_threads)
{
    run largest = run_make(a, largest_block(a)), single = run_make(a, 1);
    workspace w = workspace_make(&largest, n_threads), one = workspace_make(&single, n_threads);
    size_t bytes = workspace_bytes(&w, n_threads);
    return tada_mask_may_split(a) ? larger(bytes, workspace_bytes(&one, n_threads)) : bytes;
}

/* Over any number of cells up to a.n_cells. Few queries are cut into ranges, whose number rises with that of
 * the tiles only once they are as long as they may be. */
static size_t largest_workspace(tada_attention a, int n_threads)
{
    int64_t n_tiles = (a.n_cells + CELLS - 1) / CELLS;
    int64_t uneven = MANY_ITEMS * RANGE_TILES / (a.n_heads_kv * a.n_streams) + TADA_BATCH;
    size_t most = 0;
    for (int64_t tiles = n_tiles; tiles > 0 && (a.n_queries <= FEW_QUERIES || tiles == n_tiles);
         tiles = tiles > uneven ? uneven : tiles - 1) {
        a.n_cells = tiles * CELLS;
        most = larger(most, any_workspace(&a, n_threads));
    }
    return most;
}

size_t tada_attention_bytes(const tada_attention *attention, const tada_spec *k_spec,
                            const tada_shape *k_shape, const tada_spec *v_spec, const tada_shape *v_shape,
                            int n_threads)
{
    tada_attention a = *attention;
    tada_plane k, v;
    size_t most = 0;
    if (!tada_plane_describe(k_spec, k_shape, &k) || !tada_plane_describe(v_spec, v_shape, &v)) {
        return 0;
    }
    a.k = &k;
    a.v = &v;
    if (problem(&a)) {
        return 0;
    }
    for (int64_t n = attention->n_queries; n > 0; n = n > FEW_QUERIES ? FEW_QUERIES : n - 1) {
        a.n_queries = n;
        a.n_streams = attention->n_streams;
        most = larger(most, largest_workspace(a, n_threads));
        a.n_streams = 1;
        most = larger(most, largest_workspace(a, n_threads));
    }
    return tada_pool_rounded(most);
}

enum tada_status tada_attention_run(const tada_attention *a, tada_pool *pool, int n_threads,
                                    tada_error *error)
{
    const char *wrong = problem(a);
    if (wrong) {
        return tada_fail(error, TADA_E_ARGUMENT, "%s", wrong);
    }
    if (a->n_queries == 0 || a->n_streams == 0) {
        return TADA_OK;
    }
    run r = run_make(a, tada_mask_block(a, largest_block(a), a->n_heads / a->n_heads_kv));
    workspace size = workspace_make(&r, n_threads);
    float *memory =
        tada_pool_workspace(pool, larger(workspace_bytes(&size, n_threads), any_workspace(a, n_threads)));
    if (!memory) {
        return tada_fail(error, TADA_E_MEMORY,
                         "Out of memory for attention: use a smaller ubatch or fewer threads.");
    }
    int64_t items = n_items(&r), views = n_views(&r);
    share *shares = (share *)(void *)memory;
    memory += size.shares;
    r.slope = memory + size.each * (size_t)n_threads;
    r.partial = r.slope + size.heads;
    r.views = (uint8_t *)(r.partial + size.partial);
    for (int h = 0; h < a->n_heads; h++) {
        r.slope[h] = alibi_slope(a, h);
    }
#pragma omp parallel num_threads(n_threads) if (items > 1)
    {
        work w;
        work_make(&r, memory + size.each * (size_t)omp_get_thread_num(), &w);
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < views; i++) {
            int64_t block = i / r.n_tiles % r.n_blocks, query = block * r.block_queries;
            int64_t n = a->n_queries - query < r.block_queries ? a->n_queries - query : r.block_queries;
            r.views[i] = (uint8_t)tada_mask_view(a, i / r.n_tiles / r.n_blocks, 0, query, n,
                                                 r.first_tile + i % r.n_tiles);
        }
        run_items(&r, items, shares, &w);
        if (r.n_ranges > 1) {
#pragma omp for schedule(static)
            for (int64_t i = 0; i < a->n_streams * a->n_heads * a->n_queries; i++) {
                merge_row(&r, i / a->n_queries / a->n_heads, (int)(i / a->n_queries % a->n_heads),
                          i % a->n_queries, w.out);
            }
        }
    }
    return TADA_OK;
}
