#include "ggml_side.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static void log_problems(enum ggml_log_level level, const char *text, void *data)
{
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN) {
        fputs(text, stderr);
    }
}

static ggml_backend_t load_cpu(const char *folder, int n_threads)
{
    if (!ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU)) {
        ggml_log_set(log_problems, NULL);
        /* Would load our own plug-in, too. */
        unsetenv("GGML_BACKEND_PATH");
        ggml_backend_load_all_from_path(folder);
    }
    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!device) {
        bench_fail("no CPU module of ggml in %s: give the folder with libggml-cpu*.so as --ggml", folder);
    }
    ggml_backend_t backend = ggml_backend_dev_init(device, NULL);
    ggml_backend_set_n_threads_t set_n_threads =
        (ggml_backend_set_n_threads_t)ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device),
                                                                        "ggml_backend_set_n_threads");
    if (!backend || !set_n_threads) {
        bench_fail("the CPU module of ggml does not start");
    }
    set_n_threads(backend, n_threads);
    return backend;
}

static struct ggml_context *context_make(size_t n_tensors, size_t n_graphs)
{
    struct ggml_init_params params = {
        .mem_size = n_tensors * ggml_tensor_overhead() + n_graphs * ggml_graph_overhead(),
        .no_alloc = true,
    };
    struct ggml_context *context = ggml_init(params);
    if (!context) {
        bench_fail("out of memory");
    }
    return context;
}

/* Pages of our own, so that both sides get the same kind. */
static void cache_alloc(bench_ggml_side *s)
{
    size_t n = 2 * (size_t)s->options->n_layers, each = (ggml_nbytes(s->k[0]) + 4095) / 4096 * 4096;
    s->cache_bytes = n * each;
    s->cache_memory = bench_pages(s->cache_bytes, s->options->huge_pages);
    s->cache_buffer = ggml_backend_dev_buffer_from_host_ptr(ggml_backend_get_device(s->backend),
                                                            s->cache_memory, s->cache_bytes, each);
    if (!s->cache_buffer) {
        bench_fail("out of memory: use fewer --cells or --layers");
    }
    for (size_t i = 0; i < n; i++) {
        struct ggml_tensor *tensor = i % 2 ? s->v[i / 2] : s->k[i / 2];
        ggml_backend_tensor_alloc(s->cache_buffer, tensor, (char *)s->cache_memory + i * each);
    }
}

void bench_ggml_side_open(bench_ggml_side *s, const bench_options *o, int dim)
{
    size_t n_layers = (size_t)o->n_layers;
    *s = (bench_ggml_side){.options = o, .dim = dim, .backend = load_cpu(o->folder, o->n_threads)};
    s->k = bench_alloc(n_layers, sizeof(void *));
    s->v = bench_alloc(n_layers, sizeof(void *));
    s->graphs = bench_alloc(n_layers, sizeof(void *));
    s->results = bench_alloc(n_layers, sizeof(void *));
    s->cache = context_make(2 * n_layers, 0);
    for (size_t i = 0; i < n_layers; i++) {
        s->k[i] = ggml_new_tensor_2d(s->cache, GGML_TYPE_F16, (int64_t)o->n_heads_kv * dim, o->n_cells);
        s->v[i] = ggml_new_tensor_2d(s->cache, GGML_TYPE_F16, (int64_t)o->n_heads_kv * dim, o->n_cells);
    }
    cache_alloc(s);
}

void bench_ggml_side_write(bench_ggml_side *s, int layer, const bench_rows *rows)
{
    ggml_backend_tensor_set(s->k[layer], rows->k, 0, ggml_nbytes(s->k[layer]));
    ggml_backend_tensor_set(s->v[layer], rows->v, 0, ggml_nbytes(s->v[layer]));
}

static void drop_graphs(bench_ggml_side *s)
{
    if (s->compute) {
        ggml_backend_buffer_free(s->compute_buffer);
        ggml_free(s->compute);
        s->compute = NULL;
    }
}

/* [dim, heads, cells] of a cache, permuted to [dim, cells, heads]. */
static struct ggml_tensor *cache_view(const bench_ggml_side *s, struct ggml_tensor *cache, int dim)
{
    struct ggml_tensor *view =
        ggml_view_3d(s->compute, cache, dim, s->options->n_heads_kv, s->options->n_cells,
                     ggml_row_size(cache->type, s->dim), cache->nb[1], 0);
    return ggml_permute(s->compute, view, 0, 2, 1, 3);
}

void bench_ggml_side_prepare(bench_ggml_side *s, int n_heads, const float *q)
{
    const bench_options *o = s->options;
    enum { TENSORS = 8 }; /* of a layer, at most */
    drop_graphs(s);
    s->n_heads = n_heads;
    s->compute = context_make((size_t)o->n_layers * TENSORS + TENSORS, (size_t)o->n_layers);
    s->q = ggml_new_tensor_3d(s->compute, GGML_TYPE_F32, s->dim, n_heads, o->n_queries);
    struct ggml_tensor *mask = ggml_new_tensor_2d(s->compute, GGML_TYPE_F16, o->n_cells, o->n_queries);
    for (int i = 0; i < o->n_layers; i++) {
        s->results[i] = ggml_flash_attn_ext(
            s->compute, ggml_permute(s->compute, s->q, 0, 2, 1, 3), cache_view(s, s->k[i], s->dim),
            cache_view(s, o->view ? s->k[i] : s->v[i], bench_v_dim(o, s->dim)), mask,
            1 / sqrtf((float)s->dim), 0, 0);
        /* llama.cpp asks for it, too. */
        ggml_prec_set_acc(s->results[i], GGML_PREC_F32);
        s->graphs[i] = ggml_new_graph(s->compute);
        ggml_build_forward_expand(s->graphs[i], s->results[i]);
    }
    s->compute_buffer = ggml_backend_alloc_ctx_tensors(s->compute, s->backend);
    if (!s->compute_buffer) {
        bench_fail("out of memory: use fewer --queries");
    }
    ggml_backend_tensor_set(s->q, q, 0, ggml_nbytes(s->q));
    ggml_backend_tensor_memset(mask, 0, 0, ggml_nbytes(mask));
}

void bench_ggml_side_run(const bench_ggml_side *s, int layer)
{
    if (ggml_backend_graph_compute(s->backend, s->graphs[layer]) != GGML_STATUS_SUCCESS) {
        bench_fail("the attention of ggml failed");
    }
}

void bench_ggml_side_result(const bench_ggml_side *s, int layer, float *out)
{
    ggml_backend_tensor_get(s->results[layer], out, 0, ggml_nbytes(s->results[layer]));
}

void bench_ggml_side_close(bench_ggml_side *s)
{
    drop_graphs(s);
    ggml_backend_buffer_free(s->cache_buffer);
    ggml_free(s->cache);
    munmap(s->cache_memory, s->cache_bytes);
    ggml_backend_free(s->backend);
    free(s->k);
    free(s->v);
    free(s->graphs);
    free(s->results);
}
