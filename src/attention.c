/*
 * Attention over planes: per KV head, tile by tile, with an online softmax (as in flash attention, arXiv
 * 2205.14135).
 *
 * A work item is a block of queries of one KV head over a range of tiles. The ranges follow from the shape
 * alone, so that the result does not depend on the number of threads. Cold tiles stay rotated: q is rotated
 * once before, the sum of values once after. Hot tiles are not, hence two copies of both where a plane
 * rotates.
 */
#include "codes.h"
#include "half.h"
#include "plane.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    RANGE_TILES = 16, /* tiles of one work item at most while there are few queries */
    MANY_ITEMS = 24,  /* items that shorter ranges aim at, to keep threads busy in a short context, too */
    FEW_QUERIES = 16,
    FEW_ROWS = 16 /* rows up to which hot tiles are read as they are */
};

/* How a plane's heads are seen by this attention. */
typedef struct side {
    const tada_plane *plane;
    int column, dim, head_stride;
    bool native; /* its heads are the coding heads: cold tiles are decoded head by head, still rotated */
    bool codes;  /* native, and its codes can be used as they are */
    int rotation;
} side;

typedef struct run {
    const tada_attention *a;
    side k, v;
    int group;             /* query heads of a KV head */
    int64_t block_queries; /* queries of a work item */
    int64_t n_blocks, n_ranges, first_tile, n_tiles, range_tiles;
    float *slope;   /* [n_heads] of ALiBi */
    float *partial; /* [items][block rows][2 + v_dim] when n_ranges > 1 */
    size_t partial_row;
} run;

/* One thread's scratch. */
typedef struct work {
    float *q, *q_rotated, *scores, *out, *out_rotated, *max, *sum, *mask, *tile, *decode;
    uint16_t *rows;
} work;

static size_t work_floats(const run *r)
{
    size_t rows = (size_t)r->block_queries * (size_t)r->group;
    size_t dim = (size_t)(r->k.dim > r->v.dim ? r->k.dim : r->v.dim);
    size_t k_decode = tada_codes_scratch(&r->k.plane->codec),
           v_decode = tada_codes_scratch(&r->v.plane->codec);
    size_t width = (size_t)(r->k.plane->shape.width > r->v.plane->shape.width ? r->k.plane->shape.width
                                                                              : r->v.plane->shape.width);
    size_t n = rows * (2 * (size_t)r->k.dim + CELLS + 2 * ((size_t)r->v.dim + 16) + 2);
    n += (size_t)r->block_queries * CELLS + CELLS * (dim + 16);
    n += (k_decode > v_decode ? k_decode : v_decode) + CELLS * width / 2 + CELLS * dim;
    return (n + 16 * 16) / 16 * 16;
}

static float *take(float **from, size_t n)
{
    float *part = *from;
    *from += (n + 15) / 16 * 16;
    return part;
}

static work work_make(const run *r, float *memory)
{
    size_t rows = (size_t)r->block_queries * (size_t)r->group;
    size_t dim = (size_t)(r->k.dim > r->v.dim ? r->k.dim : r->v.dim);
    work w;
    w.q = take(&memory, rows * (size_t)r->k.dim);
    w.q_rotated = take(&memory, rows * (size_t)r->k.dim);
    w.scores = take(&memory, rows * CELLS);
    w.out = take(&memory, rows * ((size_t)r->v.dim + 16));
    w.out_rotated = take(&memory, rows * ((size_t)r->v.dim + 16));
    w.max = take(&memory, rows);
    w.sum = take(&memory, rows);
    w.mask = take(&memory, (size_t)r->block_queries * CELLS);
    w.tile = take(&memory, CELLS * (dim + 16));
    size_t width = (size_t)(r->k.plane->shape.width > r->v.plane->shape.width ? r->k.plane->shape.width
                                                                              : r->v.plane->shape.width);
    w.rows = (uint16_t *)(void *)take(&memory, CELLS * width / 2);
    w.decode = memory;
    return w;
}

/* Values per row of the value tile: vectors of 16. */
static int padded(int dim)
{
    return (dim + 15) / 16 * 16;
}

/* Rows [64][width] in f16 of a tile that is hot, empty or decoded the slow way. */
static const uint16_t *tile_rows(const side *s, const tada_tile *tile, int64_t index, work *w)
{
    if (tile->hot) {
        return tile->hot;
    }
    if (tile->mask) {
        tada_tile_decode(&s->plane->codec, tada_plane_cold(s->plane, index), tile->mask, w->rows, w->decode);
    } else {
        memset(w->rows, 0, s->plane->slot_values * 2);
    }
    return w->rows;
}

/* The f16 rows of a hot tile from a head's first column on, or NULL; *end: cells up to the last one that was
 * written. */
static const uint16_t *hot_rows(const side *s, int64_t index, int head, int *end)
{
    const tada_tile *tile = &s->plane->tiles[index];
    if (!tile->hot || !tile->mask) {
        return NULL;
    }
    *end = CELLS - __builtin_clzll(tile->mask);
    return tile->hot + s->column + head * s->head_stride;
}

/* K of one head, [dim][64]; true when it is still rotated. */
static bool load_k(const side *s, int64_t index, int head, work *w)
{
    const tada_tile *tile = &s->plane->tiles[index];
    if (s->native && !tile->hot && tile->mask) {
        tada_tile_decode_head(&s->plane->codec, tada_plane_cold(s->plane, index), tile->mask,
                              (s->column + head * s->head_stride) / s->dim, w->tile, w->decode);
        return s->rotation > 1;
    }
    const uint16_t *rows = tile_rows(s, tile, index, w);
    tada_kernels_get()->transpose(rows + s->column + head * s->head_stride, (size_t)s->plane->shape.width,
                                  s->dim, w->tile);
    return false;
}

/* V of one head, [64][padded dim]; true when it is still rotated. */
static bool load_v(const side *s, int64_t index, int head, work *w)
{
    const tada_tile *tile = &s->plane->tiles[index];
    int column = s->column + head * s->head_stride, stride = padded(s->dim);
    if (s->native && !tile->hot && tile->mask && s->plane->codec.kind == TADA_V) {
        tada_tile_decode_head(&s->plane->codec, tada_plane_cold(s->plane, index), tile->mask, column / s->dim,
                              w->tile, w->decode);
        return s->rotation > 1;
    }
    const uint16_t *rows = tile_rows(s, tile, index, w);
    for (int t = 0; t < CELLS; t++) {
        float *to = w->tile + (size_t)t * stride;
        tada_kernels_get()->half_to_float(rows + (size_t)t * s->plane->shape.width + column, to, s->dim);
        memset(to + s->dim, 0, (size_t)(stride - s->dim) * sizeof *to);
    }
    return false;
}

/* A cold tile that is cut into the heads of this attention: its codes will do, if there are not too many rows. */
static bool on_codes(const side *s, int64_t index, int rows, enum tada_kind kind)
{
    const tada_tile *tile = &s->plane->tiles[index];
    return rows <= tada_kernels_get()->codes_rows && s->codes && !tile->hot && tile->mask &&
           s->plane->codec.kind == kind;
}

static tada_codes codes_of(const side *s, int64_t index, int head)
{
    const tada_plane *p = s->plane;
    bool more = index + 1 < p->n_tiles && !p->tiles[index + 1].hot && p->tiles[index + 1].mask;
    return (tada_codes){.codec = &p->codec,
                        .cold = tada_plane_cold(p, index),
                        .next = more ? tada_plane_cold(p, index + 1) : NULL,
                        .mask = p->tiles[index].mask,
                        .head = (s->column + head * s->head_stride) / s->dim};
}

/* w->scores [rows][64] of one head of a tile. */
static void tile_scores(const run *r, int64_t index, int head, int rows, work *w)
{
    const side *s = &r->k;
    const tada_kernels *k = tada_kernels_get();
    int written = 0;
    const uint16_t *hot = rows <= FEW_ROWS ? hot_rows(s, index, head, &written) : NULL;
    if (hot) {
        memset(w->scores, 0, (size_t)rows * CELLS * sizeof(float));
        k->scores_rows(w->q, rows, s->dim, hot, (size_t)s->plane->shape.width, 0, written, w->scores);
    } else if (on_codes(s, index, rows, TADA_K)) {
        tada_codes codes = codes_of(s, index, head);
        tada_codes_scores(&codes, s->rotation > 1 ? w->q_rotated : w->q, rows, w->scores, w->decode);
    } else {
        bool rotated = load_k(s, index, head, w);
        k->multiply(rotated ? w->q_rotated : w->q, (size_t)s->dim, w->tile, w->scores, CELLS, rows, CELLS,
                    s->dim, false);
    }
}

/* Adds the values of one head of a tile, weighted by w->scores. turned: w->out_rotated is in use; returns it.
 */
static bool tile_values(const run *r, int64_t index, int head, int rows, bool turned, work *w)
{
    const side *s = &r->v;
    const tada_kernels *k = tada_kernels_get();
    size_t stride = (size_t)padded(s->dim);
    int written = 0;
    const uint16_t *hot = rows <= FEW_ROWS ? hot_rows(s, index, head, &written) : NULL;
    if (hot) {
        k->values_rows(w->scores, rows, s->dim, hot, (size_t)s->plane->shape.width, 0, written, w->out,
                       stride);
        return turned;
    }
    bool codes = on_codes(s, index, rows, TADA_V);
    bool rotated = codes ? s->rotation > 1 : load_v(s, index, head, w);
    if (rotated && !turned) {
        turned = true;
        memset(w->out_rotated, 0, (size_t)rows * stride * sizeof(float));
    }
    float *out = rotated ? w->out_rotated : w->out;
    if (codes) {
        tada_codes of_tile = codes_of(s, index, head);
        tada_codes_values(&of_tile, w->scores, rows, out, stride, w->decode);
    } else {
        k->multiply(w->scores, CELLS, w->tile, out, stride, rows, (int)stride, CELLS, true);
    }
    return turned;
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

enum view { HIDDEN, PARTLY, WHOLE };

/* What 64 f16 values of a mask let through. */
static enum view view_of_mask(const uint16_t *mask)
{
    uint64_t any = 0, seen = 0;
    for (int i = 0; i < CELLS; i += 4) {
        uint64_t four;
        memcpy(&four, mask + i, sizeof four);
        any |= four;
        seen |= four ^ 0xfc00fc00fc00fc00u;
    }
    return seen == 0 ? HIDDEN : any == 0 ? WHOLE : PARTLY;
}

/* What a block of queries sees of one tile; PARTLY: `mask` [queries][64] is written. */
static enum view load_mask(const run *r, int64_t stream, int head, int64_t query, int64_t n_queries,
                           int64_t tile, float *mask)
{
    const tada_attention *a = r->a;
    const tada_kernels *k = tada_kernels_get();
    int64_t begin = tile * CELLS;
    int from = (int)(begin < a->first_cell ? a->first_cell - begin : 0);
    int64_t end = a->first_cell + a->n_cells - begin;
    int to = end < CELLS ? (int)end : CELLS;
    bool full = from == 0 && to == CELLS;
    if (!a->mask && full) {
        return WHOLE;
    }
    const uint16_t *first = a->mask;
    if (a->mask) {
        first = (const uint16_t *)(const void *)((const char *)a->mask + (size_t)query * a->mask_query +
                                                 (size_t)(head % a->mask_heads) * a->mask_head +
                                                 (size_t)(stream % a->mask_streams) * a->mask_stream) +
                begin + from - a->first_cell;
        bool seen[3] = {false, false, false};
        for (int64_t i = 0; full && i < n_queries && !seen[PARTLY]; i++) {
            seen[view_of_mask(first + (size_t)i * (a->mask_query / 2))] = true;
        }
        if (full && !seen[PARTLY] && seen[HIDDEN] != seen[WHOLE]) {
            return seen[WHOLE] ? WHOLE : HIDDEN;
        }
    }
    for (int64_t i = 0; i < n_queries; i++) {
        float *row = mask + i * CELLS;
        for (int t = 0; t < CELLS; t++) {
            row[t] = t >= from && t < to ? 0.0f : -INFINITY;
        }
        if (a->mask) {
            k->half_to_float(first + (size_t)i * (a->mask_query / 2), row + from, to - from);
        }
    }
    return PARTLY;
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

/* Scores of a tile to weights. masked: the tile whose mask applies, or -1. */
static void weigh(const run *r, int64_t stream, int head_kv, int64_t query, int64_t n_queries, int64_t masked,
                  bool turned, work *w)
{
    int stride = padded(r->v.dim);
    tada_softmax s = {.m = (int)n_queries * r->group,
                      .group = r->group,
                      .softcap = r->a->softcap,
                      .scores = w->scores,
                      .mask = masked >= 0 ? w->mask : NULL,
                      .slope = r->slope + head_kv * r->group,
                      .max = w->max,
                      .sum = w->sum,
                      .out = w->out,
                      .turned = turned ? w->out_rotated : NULL,
                      .ldo = stride,
                      .dim = stride};
    if (masked < 0 || r->a->mask_heads <= 1 || !r->a->mask) {
        tada_kernels_get()->softmax(&s);
        return;
    }
    /* A mask for each head: head by head. */
    for (int64_t i = 0; i < n_queries; i++) {
        for (int g = 0; g < r->group; g++) {
            size_t row = (size_t)(i * r->group + g);
            enum view view = load_mask(r, stream, head_kv * r->group + g, query + i, 1, masked, w->mask);
            tada_softmax one = s;
            one.m = 1;
            one.group = 1;
            one.slope += g;
            one.scores += row * CELLS;
            one.max += row;
            one.sum += row;
            one.out += row * (size_t)stride;
            one.turned = turned ? w->out_rotated + row * (size_t)stride : NULL;
            one.mask = view == WHOLE ? NULL : w->mask;
            if (view == HIDDEN) {
                memset(one.scores, 0, CELLS * sizeof *one.scores);
            } else {
                tada_kernels_get()->softmax(&one);
            }
        }
    }
}

static void run_item(const run *r, int64_t item, work *w)
{
    const tada_attention *a = r->a;
    int64_t range = item % r->n_ranges, rest = item / r->n_ranges;
    int64_t block = rest % r->n_blocks;
    int head_kv = (int)(rest / r->n_blocks % a->n_heads_kv);
    int64_t stream = rest / r->n_blocks / a->n_heads_kv;
    int64_t query = block * r->block_queries;
    int64_t n_queries = a->n_queries - query < r->block_queries ? a->n_queries - query : r->block_queries;
    int rows = (int)(n_queries * r->group), stride = padded(a->v_dim);
    bool turned = false; /* a tile of V was still rotated */
    bool head_masks = a->mask && a->mask_heads > 1;

    prepare_queries(r, stream, head_kv, query, n_queries, w);
    memset(w->out, 0, (size_t)rows * (size_t)stride * sizeof(float));
    for (int i = 0; i < rows; i++) {
        w->max[i] = -INFINITY;
        w->sum[i] = 0;
    }
    int64_t begin = r->first_tile + range * r->range_tiles;
    int64_t end = r->first_tile + r->n_tiles;
    end = begin + r->range_tiles < end ? begin + r->range_tiles : end;
    for (int64_t t = begin; t < end; t++) {
        int64_t k_tile = (a->first_stream + stream) * r->k.plane->tiles_per_stream + t;
        int64_t v_tile = (a->first_stream + stream) * r->v.plane->tiles_per_stream + t;
        /* With a mask per head the tile is not skipped as a whole: rows without a visible cell are. */
        enum view view = head_masks ? PARTLY : load_mask(r, stream, 0, query, n_queries, t, w->mask);
        if (view == HIDDEN) {
            continue;
        }
        tile_scores(r, k_tile, head_kv, rows, w);
        weigh(r, stream, head_kv, query, n_queries, view == PARTLY ? t : -1, turned, w);
        turned = tile_values(r, v_tile, head_kv, rows, turned, w);
    }
    for (int i = 0; i < rows; i++) {
        float *out = w->out + (size_t)i * (size_t)stride;
        if (turned) {
            float *rotated = w->out_rotated + (size_t)i * (size_t)stride;
            tada_kernels_get()->hadamard(rotated, a->v_dim, r->v.rotation);
            for (int d = 0; d < a->v_dim; d++) {
                out[d] += rotated[d];
            }
        }
        if (r->n_ranges == 1) {
            finish_row(r, stream, head_kv * r->group + i % r->group, query + i / r->group, w->max[i],
                       w->sum[i], out);
        } else {
            float *part = r->partial +
                          ((size_t)item * (size_t)(r->block_queries * r->group) + (size_t)i) * r->partial_row;
            part[0] = w->max[i];
            part[1] = w->sum[i];
            memcpy(part + 2, out, (size_t)a->v_dim * sizeof *out);
        }
    }
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
                r->partial +
                ((size_t)(first + i) * (size_t)(r->block_queries * r->group) + (size_t)row) * r->partial_row;
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

static side side_make(const tada_plane *plane, int column, int dim, int head_stride)
{
    const tada_layout *l = &plane->codec.layout;
    side s = {plane, column, dim, head_stride, false, false, 1};
    s.native = plane->compressed && l->head_dim == dim && column % dim == 0 && head_stride % dim == 0;
    s.codes = s.native && tada_codes_can(&plane->codec);
    s.rotation = s.native ? l->rotation : 1;
    return s;
}

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

enum tada_status tada_attention_run(const tada_attention *a, tada_pool *pool, int n_threads,
                                    tada_error *error)
{
    const char *wrong = problem(a);
    if (wrong) {
        return tada_fail(error, TADA_E_ARGUMENT, "%s", wrong);
    }
    run r = {.a = a, .group = a->n_heads / a->n_heads_kv};
    r.k = side_make(a->k, a->k_column, a->k_dim, a->k_head_stride);
    r.v = side_make(a->v, a->v_column, a->v_dim, a->v_head_stride);
    /* A value plane of kind K is read by rows, which are not rotated any more. */
    if (a->v->codec.kind == TADA_K) {
        r.v.native = r.v.codes = false;
        r.v.rotation = 1;
    }
    r.first_tile = a->first_cell / CELLS;
    r.n_tiles = a->n_cells > 0 ? (a->first_cell + a->n_cells - 1) / CELLS - r.first_tile + 1 : 0;
    r.block_queries = TADA_ROWS / r.group > 1 ? TADA_ROWS / r.group : 1;
    r.block_queries = r.block_queries < a->n_queries ? r.block_queries : a->n_queries;
    if (a->n_queries == 0 || a->n_streams == 0) {
        return TADA_OK;
    }
    r.n_blocks = (a->n_queries + r.block_queries - 1) / r.block_queries;
    r.range_tiles = r.n_tiles;
    if (a->n_queries <= FEW_QUERIES) {
        int64_t share = r.n_tiles * a->n_heads_kv * a->n_streams * r.n_blocks / MANY_ITEMS;
        r.range_tiles = share < RANGE_TILES ? share : RANGE_TILES;
    }
    r.range_tiles = r.range_tiles > 0 ? r.range_tiles : 1;
    r.n_ranges = r.n_tiles > 0 ? (r.n_tiles + r.range_tiles - 1) / r.range_tiles : 1;
    r.partial_row = (size_t)a->v_dim + 2;

    int64_t items = a->n_streams * a->n_heads_kv * r.n_blocks * r.n_ranges;
    size_t each = work_floats(&r);
    size_t partial = r.n_ranges > 1 ? (size_t)items * (size_t)(r.block_queries * r.group) * r.partial_row : 0;
    size_t heads = ((size_t)a->n_heads + 15) / 16 * 16;
    float *memory = tada_pool_workspace(pool, (each * (size_t)n_threads + heads + partial) * sizeof *memory);
    if (!memory) {
        return tada_fail(error, TADA_E_MEMORY,
                         "Out of memory for attention: use a smaller ubatch or fewer threads.");
    }
    r.slope = memory + each * (size_t)n_threads;
    r.partial = r.slope + heads;
    for (int h = 0; h < a->n_heads; h++) {
        r.slope[h] = alibi_slope(a, h);
    }
#pragma omp parallel num_threads(n_threads) if (items > 1)
    {
        work w = work_make(&r, memory + each * (size_t)omp_get_thread_num());
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < items; i++) {
            run_item(&r, i, &w);
        }
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
