/* What calibration learns from the engine's own graphs: the shape of each layer's cache, how much its queries
 * ask of each channel of K, and attention as it was computed last, to be done again with other caches. */
#include "statistics.h"

#include "cache/cache.h"
#include "base/probe.h"

#include <stdlib.h>
#include <string.h>

/* Of the last tile of a batch every other query is kept: with any of them attention sees a recent tile as
 * decoding does. */
enum { LAST = TADA_TILE_CELLS, EVERY = 2, MOST_KEPT = LAST / EVERY };

typedef struct layer {
    tada_layer_statistics seen;
    cache_plane *planes[2]; /* NULL: gone */
    float *queries;
    uint16_t *masks;
} layer;

static layer *layers[TADA_PLAN_LAYERS];

static void add_attention(cache_plane *k, cache_plane *v, const tada_attention *a);
static void forget_plane(const cache_plane *c);

static const probe watcher = {.attention = add_attention, .forget = forget_plane};

void statistics_watch(bool on)
{
    for (int i = 0; i < TADA_PLAN_LAYERS; i++) {
        if (layers[i]) {
            free(layers[i]->seen.q_squares);
            free(layers[i]->queries);
            free(layers[i]->masks);
            free(layers[i]);
            layers[i] = NULL;
        }
    }
    probe_set(on ? &watcher : NULL);
}

static layer *layer_at(int number)
{
    return number >= 0 && number < TADA_PLAN_LAYERS ? layers[number] : NULL;
}

bool statistics_get(int number, tada_layer_statistics *statistics)
{
    const layer *l = layer_at(number);
    if (l) {
        *statistics = l->seen;
    }
    return l != NULL;
}

bool statistics_rows(int number, enum tada_kind kind, int64_t first, int64_t n, uint16_t *rows)
{
    const layer *l = layer_at(number);
    const cache_plane *c = l ? l->planes[kind == TADA_V] : NULL;
    return c && tada_plane_read(c->plane, first, n, rows, NULL, NULL) == TADA_OK;
}

static void forget_plane(const cache_plane *c)
{
    layer *l = layer_at(c->layer);
    for (int i = 0; l && i < 2; i++) {
        l->planes[i] = l->planes[i] == c ? NULL : l->planes[i];
    }
}

static layer *layer_of(cache_plane *k, cache_plane *v, const tada_attention *a)
{
    layer *l = layers[k->layer];
    if (!l) {
        l = calloc(1, sizeof *l);
        double *squares = l ? calloc((size_t)k->width, sizeof *squares) : NULL;
        if (!squares) {
            free(l);
            return NULL;
        }
        l->seen = (tada_layer_statistics){
            .k_width = (int)k->width, .v_width = (int)v->width, .head_dim = a->k_dim, .q_squares = squares};
        layers[k->layer] = l;
    }
    l->planes[0] = k;
    l->planes[1] = v;
    return l->seen.k_width == (int)k->width && l->seen.v_width == (int)v->width ? l : NULL;
}

/* Takes a copy of the last queries and of what they see, in place of those before. */
static void keep_attention(layer *l, const tada_attention *a)
{
    int64_t n = a->n_queries < LAST ? (a->n_queries + EVERY - 1) / EVERY : MOST_KEPT;
    size_t values = (size_t)a->n_heads * (size_t)a->k_dim, cells = (size_t)a->n_cells;
    bool alone = a->n_streams == 1 && a->mask_heads <= 1 && a->mask_streams <= 1;
    float *queries = realloc(l->queries, (size_t)n * values * sizeof *queries);
    l->queries = queries ? queries : l->queries;
    uint16_t *masks = realloc(l->masks, (size_t)n * cells * sizeof *masks);
    l->masks = masks ? masks : l->masks;
    l->seen.attention = *a;
    l->seen.attention.n_queries = queries && masks && alone && a->mask ? n : 0;
    for (int64_t i = 0; i < l->seen.attention.n_queries; i++) {
        size_t from = (size_t)(a->n_queries - 1 - (n - 1 - i) * EVERY);
        for (int h = 0; h < a->n_heads; h++) {
            memcpy(queries + (size_t)i * values + (size_t)h * (size_t)a->k_dim,
                   (const char *)a->q + from * a->q_query + (size_t)h * a->q_head,
                   (size_t)a->k_dim * sizeof *queries);
        }
        memcpy(masks + (size_t)i * cells, (const char *)a->mask + from * a->mask_query,
               cells * sizeof *masks);
    }
    l->seen.attention.q = queries;
    l->seen.attention.q_query = values * sizeof *queries;
    l->seen.attention.q_head = (size_t)a->k_dim * sizeof *queries;
    l->seen.attention.mask = masks;
    l->seen.attention.mask_query = cells * sizeof *masks;
    l->seen.attention.k = l->seen.attention.v = NULL;
    l->seen.attention.out = NULL;
}

static void add_attention(cache_plane *k, cache_plane *v, const tada_attention *a)
{
    if (k->layer < 0 || k->layer >= TADA_PLAN_LAYERS) {
        return;
    }
    layer *l = layer_of(k, v, a);
    tada_layer_statistics *s = l ? &l->seen : NULL;
    int group = a->n_heads / a->n_heads_kv;
    if (l) {
        keep_attention(l, a);
    }
    for (int64_t stream = 0; s && stream < a->n_streams; stream++) {
        for (int64_t i = 0; i < a->n_queries; i++) {
            for (int h = 0; h < a->n_heads; h++) {
                const char *at = (const char *)a->q + (size_t)i * a->q_query + (size_t)h * a->q_head +
                                 (size_t)stream * a->q_stream;
                const float *q = (const float *)(const void *)at;
                double *to = s->q_squares + a->k_column + (ptrdiff_t)(h / group) * a->k_head_stride;
                for (int d = 0; d < a->k_dim; d++) {
                    to[d] += (double)q[d] * q[d];
                }
            }
        }
    }
}
