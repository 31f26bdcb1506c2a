/*
 * K-shift: llama.cpp turns the keys of a cache to new positions by a ROPE in place on a view of all of K.
 * Tile by tile, on all threads, with the CPU backend's ROPE on the rows that move; the others keep their
 * codes.
 */
#include "shift.h"

#include "cpu.h"
#include "threads.h"

#include "ggml-impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one thread needs to turn rows: a backend of its own, and a graph of one ROPE. */
typedef struct turner {
    ggml_backend_t cpu;
    struct ggml_context *context;
    struct ggml_cgraph *graph;
    struct ggml_tensor *from, *to;
    int32_t position;
    uint16_t *rows; /* [64][width]: those of one shift */
} turner;

typedef struct shift {
    const cache_plane *cache;
    const struct ggml_tensor *op;
    const int32_t *positions; /* by how much each cell moves */
    turner *turners;
} shift;

static bool covers_rows(const struct ggml_tensor *t, const cache_plane *c)
{
    size_t row = (size_t)c->width * 2, offset = t->view_src ? t->view_offs : 0;
    return t->type == GGML_TYPE_F16 && t->nb[0] == 2 && t->nb[2] == row &&
           t->nb[1] * (size_t)t->ne[1] == row && t->ne[2] == c->n_cells * c->n_streams && t->ne[3] == 1 &&
           offset + (size_t)t->ne[0] * 2 <= t->nb[1];
}

bool shift_fits(const struct ggml_tensor *op)
{
    const struct ggml_tensor *k = op->src[0], *positions = op->src[1];
    cache_plane *c = op->op == GGML_OP_ROPE ? cache_plane_of(op) : NULL;
    return c && cache_plane_of(k) == c && covers_rows(op, c) && covers_rows(k, c) &&
           op->view_offs == k->view_offs && op->ne[0] == k->ne[0] && op->nb[1] == k->nb[1] &&
           positions->type == GGML_TYPE_I32 && positions->nb[0] == 4 && positions->ne[0] == op->ne[2] &&
           (op->op_params[2] == GGML_ROPE_TYPE_NORMAL || op->op_params[2] == GGML_ROPE_TYPE_NEOX);
}

/* By how much the op stretches what it turns; f16 does not see less than this difference from 1. */
static bool stretches(const struct ggml_tensor *op)
{
    float freq_scale, ext_factor, attn_factor;
    memcpy(&freq_scale, op->op_params + 6, sizeof freq_scale);
    memcpy(&ext_factor, op->op_params + 7, sizeof ext_factor);
    memcpy(&attn_factor, op->op_params + 8, sizeof attn_factor);
    float stretch = attn_factor * (ext_factor != 0 ? 1 + 0.1f * logf(1 / freq_scale) : 1);
    return !(fabsf(stretch - 1) < 1e-4f);
}

static bool turner_make(turner *t, const shift *s)
{
    const struct ggml_tensor *k = s->op->src[0], *factors = s->op->src[2];
    struct ggml_init_params params = {ggml_tensor_overhead() * 4 + ggml_graph_overhead_custom(8, false), NULL,
                                      true};
    t->cpu = cpu_backend_make(1);
    t->context = ggml_init(params);
    t->rows = malloc((size_t)s->cache->width * TADA_TILE_CELLS * 2);
    if (!t->cpu || !t->context || !t->rows) {
        return false;
    }
    /* The heads of all rows of one shift lie evenly: they are so many heads at one position, whose sines are
     * computed once. */
    t->from = ggml_new_tensor_3d(t->context, GGML_TYPE_F16, k->ne[0], k->ne[1] * TADA_TILE_CELLS, 1);
    t->from->data = (char *)t->rows + s->op->view_offs;
    t->from->nb[1] = k->nb[1];
    struct ggml_tensor *position = ggml_new_tensor_1d(t->context, GGML_TYPE_I32, 1);
    position->data = &t->position;
    t->to = ggml_dup_tensor(t->context, t->from);
    t->to->op = GGML_OP_ROPE;
    memcpy(t->to->op_params, s->op->op_params, sizeof t->to->op_params);
    t->to->src[0] = t->from;
    t->to->src[1] = position;
    if (factors) {
        t->to->src[2] = ggml_dup_tensor(t->context, factors);
        t->to->src[2]->data = factors->data;
    }
    t->to->data = t->from->data;
    t->to->nb[1] = k->nb[1];
    t->graph = ggml_new_graph_custom(t->context, 8, false);
    ggml_build_forward_expand(t->graph, t->to);
    return true;
}

static void turner_done(turner *t)
{
    if (t->cpu) {
        cpu_backend_free(t->cpu);
    }
    ggml_free(t->context);
    free(t->rows);
}

static bool turn(void *context, int thread, const int64_t *cells, int n, uint16_t *rows)
{
    const shift *s = context;
    turner *t = &s->turners[thread];
    size_t width = (size_t)s->cache->width;
    bool turned[TADA_TILE_CELLS] = {false};
    for (int first = 0; first < n; first++) {
        if (turned[first]) {
            continue;
        }
        int places[TADA_TILE_CELLS], many = 0;
        t->position = s->positions[cells[first]];
        for (int i = first; i < n; i++) {
            if (s->positions[cells[i]] == t->position) {
                memcpy(t->rows + (size_t)many * width, rows + (size_t)i * width, width * 2);
                places[many++] = i;
                turned[i] = true;
            }
        }
        t->from->ne[1] = t->to->ne[1] = s->op->ne[1] * many;
        if (cpu_compute(t->cpu, t->graph) != GGML_STATUS_SUCCESS) {
            return false;
        }
        for (int i = 0; i < many; i++) {
            memcpy(rows + (size_t)places[i] * width, t->rows + (size_t)i * width, width * 2);
        }
    }
    return true;
}

enum tada_status shift_run(const struct ggml_tensor *op, tada_error *error)
{
    const cache_plane *c = cache_plane_of(op);
    tada_threads threads = threads_lend();
    shift s = {c, op, op->src[1]->data, calloc((size_t)threads.n, sizeof(turner))};
    size_t n = (size_t)op->ne[2];
    uint8_t *chosen = malloc(n);
    bool all = stretches(op), ready = s.turners && chosen;
    for (size_t i = 0; i < n && ready; i++) {
        chosen[i] = all || s.positions[i] != 0;
    }
    for (int i = 0; i < threads.n && ready; i++) {
        ready = turner_make(&s.turners[i], &s);
    }
    enum tada_status status = TADA_E_MEMORY;
    if (ready) {
        status = tada_plane_edit(c->plane, chosen, turn, &s, &threads, error);
    } else if (error) {
        snprintf(error->text, sizeof error->text, "Out of memory for a shift: use fewer threads.");
    }
    for (int i = 0; i < threads.n && s.turners; i++) {
        turner_done(&s.turners[i]);
    }
    free(s.turners);
    free(chosen);
    return status;
}
