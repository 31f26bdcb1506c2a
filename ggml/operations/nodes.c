/* What the plug-in's nodes do on each thread: write rows, look at masks, attend, settle, decode rows. */
#include "nodes.h"

#include "base/probe.h"
#include "rows.h"
#include "base/threads.h"

#include <stdio.h>

/* ---- workspace ---- */

bool workspace_make(workspace *w)
{
    *w = (workspace){.settling = tada_settling_create(), .n_threads = 1};
    return w->settling != NULL;
}

void workspace_trim(workspace *w)
{
    for (int i = 0; i < GGML_MAX_N_THREADS && w->has_coding; i++) {
        scratch_free(&w->coding[i]);
    }
    w->has_coding = false;
}

void workspace_free(workspace *w)
{
    workspace_trim(w);
    tada_settling_free(w->settling);
    scratch_free(&w->attention);
}

void workspace_fail(workspace *w, const char *what, const char *why)
{
    if (!atomic_exchange(&w->failed, true)) {
        snprintf(w->error.text, sizeof w->error.text, "%.60s: %.180s", what, why);
    }
}

void workspace_fail_memory(workspace *w, const char *what)
{
    workspace_fail(w, what, "out of memory: use a smaller ubatch or context");
}

static void fail_if_lost(attend *a)
{
    if (lost_attended(&a->k->lost, &a->attention, a->k->n_cells) ||
        lost_attended(&a->v->lost, &a->attention, a->v->n_cells)) {
        workspace_fail(
            a->workspace, "a sequence",
            "memory was short when it was restored or copied, and rows of it are lost: remove it, free "
            "memory, and do that again");
    }
}

/* ---- nodes ---- */

void nodes_write(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    const write *w = context;
    (void)node;
    for (int i = thread; i < w->n; i += n_threads) {
        tada_error error;
        if (rows_write(w->op[i], w->cache[i], &error) != TADA_OK) {
            workspace_fail(w->workspace, w->op[i]->name, error.text);
        }
    }
}

/* One piece of memory for what threads share and for what each of them needs. The first is large with few
 * queries, the second with many, so that one piece is smaller than two. */
static void get_memory(const look *l, int n_threads)
{
    size_t most = 0;
    for (const attend *a = l->first; a; a = a->alike) {
        size_t bytes =
            tada_attention_job_shared(a->job) + (size_t)n_threads * tada_attention_job_scratch(a->job);
        most = bytes > most ? bytes : most;
    }
    if (!scratch_get(&l->workspace->attention, most)) {
        workspace_fail_memory(l->workspace, "attention");
    }
}

void nodes_look(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    const look *l = context;
    (void)node;
    if (thread == 0) {
        l->workspace->n_threads = n_threads;
        threads_note(n_threads);
        get_memory(l, n_threads);
        for (const attend *a = l->first, *before = NULL; a; before = a, a = a->alike) {
            tada_attention_look(a->job, before ? before->job : NULL);
        }
    }
}

void nodes_attend(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    attend *a = context;
    (void)node;
    if (thread == 0) {
        const probe *p = probe_get();
        a->since = metrics_clock();
        fail_if_lost(a);
        if (p && p->attention) {
            p->attention(a->k, a->v, &a->attention);
        }
    }
    char *shared = a->workspace->attention.memory;
    if (shared) {
        char *each = shared + tada_attention_job_shared(a->job);
        tada_attention_work(a->job, thread, n_threads, shared,
                            each + (size_t)thread * tada_attention_job_scratch(a->job));
    }
    if (thread == 0) {
        metrics_attention(a->since);
    }
}

void nodes_mark_sinks(const attend *a)
{
    const int64_t *cells;
    int64_t n = tada_attention_job_sinks(a->job, &cells);
    if (n > 0) {
        tada_plane_mark_sinks(a->k->plane, cells, n);
        tada_plane_mark_sinks(a->v->plane, cells, n);
    }
}

void nodes_settle_begin(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    const settle *s = context;
    tada_plane *planes[2 * NODES_SETTLE];
    int n = 0;
    (void)node;
    (void)n_threads;
    if (thread != 0) {
        return;
    }
    const attend *a = s->first;
    for (int i = 0; i < s->n; i++, a = a->next) {
        nodes_mark_sinks(a);
        bool decodes = a->attention.n_queries <= NODES_DECODE;
        if (decodes && (tada_plane_unsettled(a->k->plane) || tada_plane_unsettled(a->v->plane))) {
            tada_attention_tell(a->job, a->k->plane);
            tada_attention_tell(a->job, a->v->plane);
        }
        if (a->last) {
            planes[n++] = a->k->plane;
            planes[n] = a->v->plane;
            n += a->k != a->v;
        }
    }
    s->workspace->settling_since = metrics_clock();
    /* Short of memory, it is tried again when the graph is done. */
    (void)tada_settling_begin(s->workspace->settling, planes, n, NULL);
}

void nodes_settle(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    workspace *w = context;
    size_t bytes = tada_settling_scratch(w->settling);
    (void)node;
    (void)n_threads;
    if (bytes > 0) {
        atomic_store_explicit(&w->has_coding, true, memory_order_relaxed);
        tada_settling_work(w->settling,
                           thread < GGML_MAX_N_THREADS ? scratch_get(&w->coding[thread], bytes) : NULL);
    }
}

void nodes_settle_end(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    workspace *w = context;
    (void)node;
    (void)n_threads;
    if (thread == 0) {
        tada_settling_end(w->settling);
        metrics_encoding(w->settling_since);
    }
}

void nodes_read(struct ggml_tensor *node, int thread, int n_threads, void *context)
{
    reading *r = context;
    const decoded *d = &r->rows;
    (void)node;
    (void)thread;
    (void)n_threads;
    for (int64_t i; (i = atomic_fetch_add(&r->tile, 1)) * TADA_TILE_CELLS < d->end - d->first;) {
        int64_t cell = d->first + i * TADA_TILE_CELLS,
                n = d->end - cell < TADA_TILE_CELLS ? d->end - cell : TADA_TILE_CELLS;
        uint16_t *to = (uint16_t *)(void *)d->rows + (size_t)(cell - d->first) * (size_t)d->cache->width;
        if (tada_plane_read(d->cache->plane, cell, n, to, NULL, NULL) != TADA_OK) {
            workspace_fail_memory(r->workspace, "rows of a cache");
        }
    }
}
