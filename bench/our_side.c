#include "our_side.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { BATCH = 512 }; /* rows of a write, as in a prefill of llama.cpp */

static tada_shape shape_of(const bench_our_side *s, enum tada_kind kind)
{
    return (tada_shape){kind, s->options->n_heads_kv * s->dim, s->options->n_cells, 1, 0};
}

static tada_plane *plane_make(const bench_our_side *s, enum tada_kind kind, void **memory, size_t *bytes)
{
    tada_shape shape = shape_of(s, kind);
    tada_plane *plane = NULL;
    tada_error error = {"bad shape"};
    *bytes = tada_plane_bytes(&s->options->spec, &shape);
    /* As the plug-in gets its memory. */
    *memory = *bytes ? bench_pages(*bytes, s->options->huge_pages) : NULL;
    if (!*bytes || tada_plane_create(&s->options->spec, &shape, *memory, *bytes, &plane, &error) != TADA_OK) {
        bench_fail("%s", error.text);
    }
    /* A head size that the recipe cannot follow is part of what is measured. */
    (void)tada_plane_set_head_dim(plane, s->dim);
    return plane;
}

void bench_our_side_open(bench_our_side *s, const bench_options *options, const tada_threads *threads,
                         int dim)
{
    *s = (bench_our_side){.options = options, .threads = threads, .dim = dim, .pool = tada_pool_create()};
    s->layers = bench_alloc((size_t)options->n_layers, sizeof *s->layers);
    s->mask = bench_alloc((size_t)(options->n_cells * options->n_queries), sizeof *s->mask);
    if (!s->pool) {
        bench_fail("out of memory");
    }
    for (int i = 0; i < options->n_layers; i++) {
        bench_layer *l = &s->layers[i];
        l->k = plane_make(s, TADA_K, &l->k_memory, &l->k_bytes);
        l->v = options->view ? l->k : plane_make(s, TADA_V, &l->v_memory, &l->v_bytes);
    }
}

static void write_plane(const bench_our_side *s, tada_plane *plane, const uint16_t *rows)
{
    int64_t cells[BATCH], width = (int64_t)s->options->n_heads_kv * s->dim;
    tada_error error = {""};
    for (int64_t first = 0; first < s->options->n_cells; first += BATCH) {
        int64_t n = s->options->n_cells - first < BATCH ? s->options->n_cells - first : BATCH;
        for (int64_t i = 0; i < n; i++) {
            cells[i] = first + i;
        }
        if (tada_plane_write(plane, s->pool, rows + first * width, TADA_F16, (size_t)width * sizeof *rows,
                             cells, n, &error) != TADA_OK ||
            tada_plane_settle(plane, s->threads, &error) != TADA_OK) {
            bench_fail("writing failed: %s", error.text);
        }
    }
}

void bench_our_side_write(bench_our_side *s, int layer, const bench_rows *rows)
{
    write_plane(s, s->layers[layer].k, rows->k);
    if (!s->options->view) {
        write_plane(s, s->layers[layer].v, rows->v);
    }
}

void bench_our_side_read(const bench_our_side *s, int layer, bench_rows *rows)
{
    tada_error error = {""};
    if (tada_plane_read(s->layers[layer].k, 0, s->options->n_cells, rows->k, s->threads, &error) != TADA_OK ||
        tada_plane_read(s->layers[layer].v, 0, s->options->n_cells, rows->v, s->threads, &error) != TADA_OK) {
        bench_fail("reading failed: %s", error.text);
    }
}

void bench_our_side_run(const bench_our_side *s, int layer, int n_heads, const float *q, float *out)
{
    int v_dim = bench_v_dim(s->options, s->dim);
    size_t head = (size_t)s->dim * sizeof(float), query = head * (size_t)n_heads;
    size_t out_head = (size_t)v_dim * sizeof(float), out_query = out_head * (size_t)n_heads;
    tada_attention a = {
        .k = s->layers[layer].k,
        .v = s->layers[layer].v,
        .k_dim = s->dim,
        .v_dim = v_dim,
        .k_head_stride = s->dim,
        .v_head_stride = s->dim,
        .n_heads = n_heads,
        .n_heads_kv = s->options->n_heads_kv,
        .n_streams = 1,
        .n_cells = s->options->n_cells,
        .n_queries = s->options->n_queries,
        .q = q,
        .q_query = query,
        .q_head = head,
        .q_stream = query * (size_t)s->options->n_queries,
        .mask = s->mask,
        .mask_query = (size_t)s->options->n_cells * sizeof *s->mask,
        .mask_heads = 1,
        .mask_streams = 1,
        .scale = 1 / sqrtf((float)s->dim),
        .out = out,
        .out_query = out_query,
        .out_head = out_head,
        .out_stream = out_query * (size_t)s->options->n_queries,
    };
    tada_error error = {""};
    if (tada_attention_run(&a, s->pool, s->threads, &error) != TADA_OK) {
        bench_fail("attention failed: %s", error.text);
    }
}

double bench_our_side_hot(const bench_our_side *s)
{
    tada_plane_stats k, v;
    tada_plane_get_stats(s->layers[0].k, &k);
    tada_plane_get_stats(s->layers[0].v, &v);
    return (double)(k.hot + v.hot) / (double)(k.tiles + v.tiles);
}

static double plane_bytes(const bench_our_side *s, const tada_plane *plane, enum tada_kind kind)
{
    /* What each further tile adds to a long plane is a cold tile, and its entry in the table. */
    enum { TILES = 1 << 14 };
    tada_shape shape = shape_of(s, kind);
    tada_plane_parts parts, more;
    shape.n_cells = (int64_t)TILES * TADA_TILE_CELLS;
    tada_plane_measure(&s->options->spec, &shape, &parts);
    shape.n_cells *= 2;
    tada_plane_measure(&s->options->spec, &shape, &more);
    double codes = (double)(more.codes - parts.codes) / TILES,
           entry = (double)(more.table - parts.table) / TILES;
    double hot = (double)shape.width * TADA_TILE_CELLS * sizeof(uint16_t);
    tada_plane_stats stats;
    tada_plane_get_stats(plane, &stats);
    return codes * (double)(stats.cold + stats.refined) + entry * (double)stats.cold +
           hot * (double)stats.hot;
}

double bench_our_side_bytes(const bench_our_side *s)
{
    return plane_bytes(s, s->layers[0].k, TADA_K) +
           (s->options->view ? 0 : plane_bytes(s, s->layers[0].v, TADA_V));
}

void bench_our_side_close(bench_our_side *s)
{
    for (int i = 0; i < s->options->n_layers; i++) {
        tada_plane_free(s->layers[i].k);
        munmap(s->layers[i].k_memory, s->layers[i].k_bytes);
        if (!s->options->view) {
            tada_plane_free(s->layers[i].v);
            munmap(s->layers[i].v_memory, s->layers[i].v_bytes);
        }
    }
    tada_pool_free(s->pool);
    free(s->layers);
    free(s->mask);
}
