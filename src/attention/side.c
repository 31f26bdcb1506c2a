#include "side.h"

#include "codec/nonfinite.h"
#include "plane/rope.h"
#include "plane/sinks.h"

#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    FEW_ROWS = 16 /* rows up to which hot tiles are read as they are */
};

tada_side tada_side_make(const tada_plane *plane, enum tada_kind role, int column, int dim, int head_stride)
{
    const tada_codec *codec = &plane->codec;
    tada_side s = {.plane = plane, .column = column, .dim = dim, .head_stride = head_stride, .rotation = 1};
    /* As V, codes of K lie the wrong way round. */
    s.native = plane->compressed && codec->kind == role && codec->layout.head_dim == dim &&
               column % dim == 0 && head_stride % dim == 0;
    if (s.native) {
        s.codes = tada_codes_can(codec);
        s.integers = tada_integers_can(codec);
        s.rotation = codec->layout.rotation;
    }
    return s;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t tile_floats(const tada_side *k, const tada_side *v)
{
    return CELLS * (larger((size_t)k->dim, (size_t)v->dim) + 16);
}

static size_t rows_floats(const tada_side *k, const tada_side *v)
{
    return CELLS * larger((size_t)k->plane->shape.width, (size_t)v->plane->shape.width) / 2;
}

static size_t decode_floats(const tada_side *s)
{
    const tada_plane *p = s->plane;
    size_t integers = s->integers ? tada_integers_scratch(&p->codec) : 0;
    return p->compressed ? larger(larger(tada_codes_scratch(&p->codec), integers), tada_plane_scratch(p)) : 0;
}

static size_t queries_floats(const tada_side *k)
{
    return k->integers ? TADA_INTEGERS_ROWS * (size_t)k->dim / 2 : 0;
}

/* A rope that tiles remember turns a part of a head. */
static size_t angles_floats(const tada_side *k)
{
    return k->native ? TADA_DISTANCES * (((size_t)k->dim + 15) / 16 * 16) : 0;
}

/* Whether V has columns of K, whose codes lie the wrong way round for it: a head that was decoded for scores
 * gives values, too, when it is transposed. */
static bool is_view(const tada_side *k, const tada_side *v)
{
    return k->plane == v->plane && k->native && k->rotation == 1 && !v->native && v->dim % 16 == 0;
}

static size_t turned_floats(const tada_side *k, const tada_side *v)
{
    return is_view(k, v) ? CELLS * (size_t)v->dim : 0;
}

size_t tada_side_floats(const tada_side *k, const tada_side *v)
{
    size_t decode = larger(decode_floats(k), decode_floats(v));
    return tile_floats(k, v) + rows_floats(k, v) + queries_floats(k) + TADA_INTEGERS_ROWS + angles_floats(k) +
           turned_floats(k, v) + (decode + 31) / 16 * 16;
}

tada_side_work tada_side_work_make(const tada_side *k, const tada_side *v, float *memory)
{
    tada_side_work w = {.tile = memory, .decoded = -1};
    w.rows = (uint16_t *)(void *)(w.tile + tile_floats(k, v));
    float *rest = w.tile + tile_floats(k, v) + rows_floats(k, v);
    w.queries = (int16_t *)(void *)rest;
    w.inverse = rest + queries_floats(k);
    w.angles = w.inverse + TADA_INTEGERS_ROWS;
    w.turned = is_view(k, v) ? w.angles + angles_floats(k) : NULL;
    w.decode = w.angles + angles_floats(k) + turned_floats(k, v);
    return w;
}

static const tada_tile *tile_at(const tada_side *s, int64_t index)
{
    return &s->plane->tiles[index];
}

static bool is_cold(const tada_side *s, int64_t index)
{
    return index < s->plane->n_tiles && !tile_at(s, index)->hot && tile_at(s, index)->mask;
}

static int coding_head(const tada_side *s, int head)
{
    return (s->column + head * s->head_stride) / s->dim;
}

/* Rows for which tiles in codes are read as integers, if they can be. */
static bool enough_for_integers(int rows)
{
    return rows >= tada_kernels_get()->integers_rows && rows <= TADA_INTEGERS_ROWS;
}

int tada_side_rows(const tada_side *s)
{
    return s->integers && enough_for_integers(TADA_INTEGERS_ROWS) ? TADA_INTEGERS_ROWS : TADA_ROWS;
}

/* Whether a tile is cold, and all its codes are in one layer. */
static bool is_plain(const tada_side *s, int64_t index)
{
    return is_cold(s, index) && tile_at(s, index)->codes.next < 0;
}

/* The codec of a tile that will be read as integers, or NULL. */
static const tada_codec *on_integers(const tada_side *s, int64_t index, int rows)
{
    if (!s->native || !enough_for_integers(rows) || !is_plain(s, index)) {
        return NULL;
    }
    return s->integers ? &s->plane->codec : NULL;
}

/* Whether so many rows are multiplied with codes as they are. */
static bool codes_will_do(const tada_side *s, int rows)
{
    return s->codes && rows <= tada_kernels_get()->codes_rows;
}

const tada_codec *tada_side_on_codes(const tada_side *s, int64_t index, int rows)
{
    bool on_codes = codes_will_do(s, rows) && is_plain(s, index) && !on_integers(s, index, rows);
    return on_codes ? &s->plane->codec : NULL;
}

bool tada_side_refined(const tada_side *s, int64_t index)
{
    return is_cold(s, index) && tile_at(s, index)->codes.fine >= 0;
}

static void codes_of(const tada_side *s, const tada_tiles *tiles, int head, tada_codes *c)
{
    c->codec = &s->plane->codec;
    c->head = coding_head(s, head);
    c->n_tiles = tiles->n;
    for (int j = 0; j < tiles->n; j++) {
        int64_t index = tiles->index[j];
        c->cold[j] = tada_layer_cold(s->plane, &tile_at(s, index)->codes);
        c->mask[j] = tile_at(s, index)->codes.cells;
    }
    /* What follows these in memory, if not in the context: to fetch is no access, and nothing is lost. */
    bool follows = is_cold(s, tiles->next);
    int64_t after = follows ? tiles->next : tiles->index[tiles->n - 1];
    tada_cold next = tada_layer_cold(s->plane, &tile_at(s, after)->codes);
    int next_head = coding_head(s, tiles->next_head);
    c->next = tada_tile_record(c->codec, &next, next_head);
    c->next_fine = tada_tile_fine(c->codec, &next, next_head);
}

static void codes_of_layer(const tada_side *s, const tada_layer *layer, int head, tada_codes *c)
{
    c->codec = &s->plane->codec;
    c->head = coding_head(s, head);
    c->n_tiles = 1;
    c->cold[0] = tada_layer_cold(s->plane, layer);
    c->mask[0] = layer->cells;
    c->next = tada_tile_record(c->codec, &c->cold[0], c->head);
    c->next_fine = NULL;
}

/* The f16 rows of a hot tile from a head's first column on, or NULL; *end: cells up to the last one that was
 * written. */
static const uint16_t *hot_rows(const tada_side *s, int64_t index, int head, int *end)
{
    const tada_tile *tile = tile_at(s, index);
    if (!tile->hot || !tile->mask) {
        return NULL;
    }
    *end = CELLS - __builtin_clzll(tile->mask);
    return tile->hot + s->column + head * s->head_stride;
}

/* Rows [64][width] in f16 of a tile that is hot, empty or decoded the slow way, from a head's first column
 * on. */
static const uint16_t *tile_rows(const tada_side *s, int64_t index, int head, tada_side_work *w)
{
    const tada_tile *tile = tile_at(s, index);
    const uint16_t *rows = tile->hot;
    if (!rows && tile->mask) {
        tada_plane_decode(s->plane, index, w->rows, w->decode);
    } else if (!rows) {
        memset(w->rows, 0, s->plane->tile_values * 2);
    }
    return (rows ? rows : w->rows) + s->column + head * s->head_stride;
}

/* One head of a layer of a native cold tile into w->tile: K [dim][64], V [64][dim]. Cells that are not the
 * layer's: zeros. */
static void decode_head(const tada_side *s, const tada_layer *layer, int head, tada_side_work *w)
{
    tada_cold cold = tada_layer_cold(s->plane, layer);
    tada_tile_decode_head(&s->plane->codec, &cold, layer->cells, coding_head(s, head), w->tile, w->decode);
}

/* In cold tiles, sinks have score 0 so far. */
static void sink_scores(const tada_side *s, const tada_tiles *tiles, int head, const float *q, int rows,
                        float *scores, size_t lds)
{
    int column = s->column + head * s->head_stride;
    for (int j = 0; j < tiles->n; j++) {
        int64_t index = tiles->index[j];
        for (tada_sinks run = tada_sinks_next(s->plane, index, 0); run.n > 0;
             run = tada_sinks_next(s->plane, index, run.first + run.n)) {
            tada_kernels_get()->scores_rows(q, rows, s->dim, run.rows + column, (size_t)s->plane->shape.width,
                                            run.n, scores + j * CELLS + run.first, lds);
        }
    }
}

/* What f16 rows [n][width] add to out [rows][padded dim]. */
static void rows_values(const tada_side *s, const float *weights, size_t ldw, int rows, const uint16_t *from,
                        int n, float *out)
{
    (s->plane->spoilt ? tada_nonfinite_values : tada_kernels_get()->values_rows)(
        weights, ldw, rows, s->dim, from, (size_t)s->plane->shape.width, n, out, (size_t)tada_padded(s->dim));
}

/* What sinks of cold tiles add to out [rows][padded dim]. Their rows are not rotated. */
static void sink_values(const tada_side *s, const tada_tiles *tiles, int head, const float *weights,
                        size_t ldw, int rows, float *out)
{
    int column = s->column + head * s->head_stride;
    for (int j = 0; j < tiles->n; j++) {
        int64_t index = tiles->index[j];
        for (tada_sinks run = tada_sinks_next(s->plane, index, 0); run.n > 0;
             run = tada_sinks_next(s->plane, index, run.first + run.n)) {
            rows_values(s, weights + j * CELLS + run.first, ldw, rows, run.rows + column, run.n, out);
        }
    }
}

/* Scores of a layer, added to those of others if there are some: cells that are not its own get 0. */
static void layer_scores(const tada_side *s, const tada_layer *layer, int head, int rows, float *scores,
                         size_t lds, bool more, tada_side_work *w)
{
    if (!codes_will_do(s, rows)) {
        decode_head(s, layer, head, w);
        tada_kernels_get()->multiply(w->coded, (size_t)s->dim, w->tile, scores, lds, rows, CELLS, s->dim,
                                     more);
        return;
    }
    tada_codes codes;
    codes_of_layer(s, layer, head, &codes);
    tada_codes_scores(&codes, w->coded, rows, more ? w->tile : scores, more ? CELLS : lds, w->decode);
    for (int r = 0; r < rows && more; r++) {
        for (int t = 0; t < CELLS; t++) {
            scores[(size_t)r * lds + (size_t)t] += w->tile[r * CELLS + t];
        }
    }
}

/* Adds what a layer's values give to out [rows][padded dim]. */
static void layer_values(const tada_side *s, const tada_layer *layer, int head, const float *weights,
                         size_t ldw, int rows, float *out, tada_side_work *w)
{
    size_t padded = (size_t)tada_padded(s->dim);
    if (!codes_will_do(s, rows)) {
        decode_head(s, layer, head, w);
        tada_kernels_get()->multiply(weights, ldw, w->tile, out, padded, rows, (int)padded, CELLS, true);
        return;
    }
    tada_codes codes;
    codes_of_layer(s, layer, head, &codes);
    for (int r = 0; r < rows; r++) {
        /* A copy, in which weights of other cells become 0. */
        memcpy(w->tile + r * CELLS, weights + (size_t)r * ldw, CELLS * sizeof *weights);
    }
    tada_codes_values(&codes, w->tile, CELLS, rows, out, padded, w->decode);
}

static void use_queries(const tada_side *s, const float *coded, int32_t shift, int rows, tada_side_work *w)
{
    w->coded = coded;
    w->shift = shift;
    if (s->integers && enough_for_integers(rows)) {
        tada_integers_queries(coded, rows, s->dim, w->queries, w->inverse);
    }
}

void tada_side_queries(const tada_side *s, const float *q, const float *rotated, int rows, tada_side_work *w)
{
    use_queries(s, s->rotation > 1 ? rotated : q, 0, rows, w);
}

/* Sines take as long as half a tile does. */
static const float *angles_of(const tada_rope *rope, int32_t distance, tada_side_work *w)
{
    for (int i = 0; i < TADA_DISTANCES; i++) {
        if (w->distances[i] == distance) {
            return w->angles + (size_t)i * (size_t)rope->n_dims;
        }
    }
    int i = w->oldest;
    w->oldest = (i + 1) % TADA_DISTANCES;
    w->distances[i] = distance;
    tada_rope_angles(rope, distance, w->angles + (size_t)i * (size_t)rope->n_dims);
    return w->angles + (size_t)i * (size_t)rope->n_dims;
}

/* Makes w->coded what codes of a tile that has moved by `shift` want: tiles that follow each other have, as a
 * rule, moved by the same distance. */
static void turn_queries(const tada_side *s, int32_t shift, int head, const float *q, const float *rotated,
                         int rows, tada_side_work *w)
{
    const tada_rope *rope = s->plane->rope;
    if (shift == w->shift) {
        return;
    }
    int at = shift ? coding_head(s, head) - rope->column / s->dim : -1;
    if (at < 0 || at >= rope->n_heads) {
        use_queries(s, s->rotation > 1 ? rotated : q, shift, rows, w);
        return;
    }
    const float *turn = angles_of(rope, shift, w);
    memcpy(w->shifted, q, (size_t)rows * (size_t)s->dim * sizeof *q);
    for (int r = 0; r < rows; r++) {
        float *row = w->shifted + (size_t)r * (size_t)s->dim;
        tada_rope_turn_back(rope, turn, row + rope->column % s->dim);
        if (s->rotation > 1) {
            tada_kernels_get()->hadamard(row, s->dim, s->rotation);
        }
    }
    use_queries(s, w->shifted, shift, rows, w);
}

/* After scores of a tile with one layer that was decoded for them. */
static void note_decoded(const tada_side *s, int64_t index, int head, int rows, tada_side_work *w)
{
    const tada_layer *layer = &tile_at(s, index)->codes;
    if (layer->next < 0 && layer->shift == 0 && !codes_will_do(s, rows)) {
        w->decoded = index;
        w->decoded_column = s->column + head * s->head_stride;
    }
}

void tada_side_scores(const tada_side *s, const tada_tiles *tiles, int head, const float *q,
                      const float *rotated, int rows, float *scores, size_t lds, tada_side_work *w)
{
    const tada_kernels *k = tada_kernels_get();
    int64_t index = tiles->index[0];
    size_t width = (size_t)s->plane->shape.width, dim = (size_t)s->dim;
    int written = 0;
    w->decoded = -1;
    const uint16_t *hot = rows <= FEW_ROWS ? hot_rows(s, index, head, &written) : NULL;
    const tada_codec *integers = on_integers(s, index, rows);
    const tada_layer *layer = &tile_at(s, index)->codes;
    if (s->native && is_cold(s, index)) {
        turn_queries(s, layer->shift, head, q, rotated, rows, w);
    }
    if (tada_side_on_codes(s, index, rows)) {
        tada_codes codes;
        codes_of(s, tiles, head, &codes);
        tada_codes_scores(&codes, w->coded, rows, scores, lds, w->decode);
        sink_scores(s, tiles, head, q, rows, scores, lds);
    } else if (integers) {
        tada_cold cold = tada_layer_cold(s->plane, layer);
        tada_integers_scores(integers, &cold, layer->cells, coding_head(s, head), w->coded, w->queries,
                             w->inverse, rows, scores, lds, w->decode);
        sink_scores(s, tiles, head, q, rows, scores, lds);
    } else if (hot) {
        for (int r = 0; r < rows; r++) {
            memset(scores + (size_t)r * lds, 0, CELLS * sizeof *scores);
        }
        k->scores_rows(q, rows, s->dim, hot, width, written, scores, lds);
    } else if (s->native && is_cold(s, index)) {
        for (bool more = false; layer; layer = tada_layer_next(s->plane, layer), more = true) {
            turn_queries(s, layer->shift, head, q, rotated, rows, w);
            layer_scores(s, layer, head, rows, scores, lds, more, w);
        }
        sink_scores(s, tiles, head, q, rows, scores, lds);
        note_decoded(s, index, head, rows, w);
    } else {
        k->transpose_halves(tile_rows(s, index, head, w), width, s->dim, w->tile);
        k->multiply(q, dim, w->tile, scores, lds, rows, CELLS, s->dim, false);
    }
}

/* Takes the sums of rotated values into use. */
static float *use_rotated(float *rotated, size_t n, bool *in_use)
{
    if (!*in_use) {
        memset(rotated, 0, n * sizeof *rotated);
        *in_use = true;
    }
    return rotated;
}

/* Whether the values of a head are among what was decoded for scores of the same tile. */
static bool is_decoded(const tada_side *v, int64_t index, int head, const tada_side_work *w)
{
    int first = v->column + head * v->head_stride - w->decoded_column;
    return w->turned && w->decoded == index && first >= 0 &&
           first + v->dim <= v->plane->codec.layout.head_dim;
}

void tada_side_values(const tada_side *s, const tada_tiles *tiles, int head, float *weights, size_t ldw,
                      const float *sums, int rows, float *out, float *rotated, bool *in_use,
                      tada_side_work *w)
{
    const tada_kernels *k = tada_kernels_get();
    int64_t index = tiles->index[0];
    size_t width = (size_t)s->plane->shape.width, padded = (size_t)tada_padded(s->dim);
    int written = 0;
    const uint16_t *hot = rows <= FEW_ROWS ? hot_rows(s, index, head, &written) : NULL;
    const tada_codec *integers = on_integers(s, index, rows);
    if (is_decoded(s, index, head, w)) {
        sink_values(s, tiles, head, weights, ldw, rows, out);
        k->transpose_floats(w->tile + (s->column + head * s->head_stride - w->decoded_column) * CELLS, s->dim,
                            CELLS, w->turned);
        k->multiply(weights, ldw, w->turned, out, padded, rows, s->dim, CELLS, true);
        return;
    }
    if (s->native && is_cold(s, index)) {
        /* Before sums over codes, which clear the weights of cells that are not in them. */
        sink_values(s, tiles, head, weights, ldw, rows, out);
    }
    if (s->native && s->rotation > 1 && is_cold(s, index)) {
        out = use_rotated(rotated, (size_t)rows * padded, in_use);
    }
    if (tada_side_on_codes(s, index, rows)) {
        tada_codes codes;
        codes_of(s, tiles, head, &codes);
        tada_codes_values(&codes, weights, ldw, rows, out, padded, w->decode);
    } else if (integers) {
        const tada_layer *layer = &tile_at(s, index)->codes;
        tada_cold cold = tada_layer_cold(s->plane, layer);
        tada_integers_values(integers, &cold, layer->cells, coding_head(s, head), weights, ldw, sums, rows,
                             out, padded, w->decode);
    } else if (hot) {
        rows_values(s, weights, ldw, rows, hot, written, out);
    } else if (s->plane->spoilt && !(s->native && is_cold(s, index))) {
        rows_values(s, weights, ldw, rows, tile_rows(s, index, head, w), CELLS, out);
    } else if (s->native && is_cold(s, index)) {
        for (const tada_layer *l = &tile_at(s, index)->codes; l; l = tada_layer_next(s->plane, l)) {
            layer_values(s, l, head, weights, ldw, rows, out, w);
        }
    } else {
        const uint16_t *from = tile_rows(s, index, head, w);
        for (size_t t = 0; t < CELLS; t++) {
            k->half_to_float(from + t * width, w->tile + t * padded, s->dim);
            memset(w->tile + t * padded + s->dim, 0, (padded - (size_t)s->dim) * sizeof *w->tile);
        }
        k->multiply(weights, ldw, w->tile, out, padded, rows, (int)padded, CELLS, true);
    }
}
