/*
 * With a GPU beside the plug-in nothing is taken from the GPU: weights, layers and cache are where they are
 * without the plug-in, and a cache in its memory is named in the log; with -nkvo the cache is in RAM,
 * compressed. test_gpu LIB_DIR PLUGIN FAKE_GPU Each way of loading runs in a process of its own.
 */
#include "buffers.h"
#include "checks.h"
#include "log_lines.h"
#include "plugin_functions.h"
#include "sequences.h"

#include <sys/wait.h>

enum { CELLS = 512, PROMPT = 200, STEPS = 10 };

static const char *libraries, *plugin_file, *gpu_file;

/* Where things are, as llama.cpp counts them, and what comes out. */
typedef struct outcome {
    double weights_gpu, weights_cpu, cache_gpu, cache_cpu, cache_tada; /* MiB */
    size_t compressed;
    float rows[STEPS + 1][MODEL_VOCAB];
    int splits;
    bool done;
} outcome;

static void run(const char *shape, int gpu_layers, bool kqv, enum llama_flash_attn_type flash, outcome *o)
{
    *o = (outcome){0};
    log_forget();
    struct llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = gpu_layers;
    struct llama_model *model = random_model_load(shape_named(shape), model_params);
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = CELLS;
    params.n_ubatch = 64;
    params.n_threads = params.n_threads_batch = 1;
    params.offload_kqv = kqv;
    params.flash_attn_type = flash;
    struct llama_context *c = llama_init_from_model(model, params);
    if (c) {
        char line[256] = "";
        o->weights_gpu = buffers_mib(c, BUFFERS_WEIGHTS, "FAKE0");
        o->weights_cpu = buffers_mib(c, BUFFERS_WEIGHTS, "CPU");
        o->cache_gpu = buffers_mib(c, BUFFERS_CACHE, "FAKE0");
        o->cache_cpu = buffers_mib(c, BUFFERS_CACHE, "CPU");
        o->cache_tada = buffers_mib(c, BUFFERS_CACHE, "TADA");
        /* No function tells of splits. */
        log_find("graph", "splits = ", line, sizeof line);
        o->splits = *line ? atoi(strstr(line, "splits = ") + 9) : 0;
        o->done = decode_tokens(c, 0, 1, 0, PROMPT) == 0;
        memcpy(o->rows[0], llama_get_logits_ith(c, PROMPT - 1), sizeof *o->rows);
        for (int i = 0; i < STEPS && o->done; i++) {
            o->done = decode_tokens(c, 0, 1, PROMPT + i, 1) == 0;
            memcpy(o->rows[1 + i], llama_get_logits_ith(c, 0), sizeof *o->rows);
        }
        plugin.cache_bytes(&o->compressed, NULL, NULL);
    }
    llama_free(c);
    llama_model_free(model);
}

static bool same_weights(const outcome *a, const outcome *b)
{
    return a->weights_gpu == b->weights_gpu && a->weights_cpu == b->weights_cpu;
}

static double error_of(const outcome *got, const outcome *want)
{
    return got->done && want->done ? relative_error(got->rows[0], want->rows[0], (STEPS + 1) * MODEL_VOCAB)
                                   : INFINITY;
}

/* ---- checks ---- */

/* The same as stock llama.cpp does it: with the spec of a stock cache the plug-in does nothing. */
static void run_stock(const char *shape, int layers, bool kqv, enum llama_flash_attn_type flash, outcome *o)
{
    set_cache("f16");
    run(shape, layers, kqv, flash, o);
    set_cache("tada:8");
}

static void check_on_gpu(const char *shape, int layers, enum llama_flash_attn_type flash, const char *how)
{
    static outcome want, got;
    char line[512] = "";
    run_stock(shape, layers, true, flash, &want);
    run(shape, layers, true, flash, &got);
    report(want.done && want.cache_gpu > 0 && same_weights(&got, &want),
           "%s, %s, -ngl %d: weights are where they were (%.2f and %.2f MiB, %.2f and %.2f MiB)", how, shape,
           layers, got.weights_gpu, got.weights_cpu, want.weights_gpu, want.weights_cpu);
    report(got.cache_gpu == want.cache_gpu && got.splits == want.splits,
           "%s, %s, -ngl %d: the GPU keeps its cache (%.2f, %.2f MiB), in as many splits (%d, %d)", how,
           shape, layers, got.cache_gpu, want.cache_gpu, got.splits, want.splits);
    if (layers > MODEL_LAYERS) {
        report(memcmp(got.rows, want.rows, sizeof got.rows) == 0,
               "%s, %s, -ngl %d: the same logits, bit for bit", how, shape, layers);
    } else {
        report(error_of(&got, &want) <= 0.025,
               "%s, %s, -ngl %d: logits (error %.4f), %.2f MiB in RAM instead of %.2f", how, shape, layers,
               error_of(&got, &want), got.cache_tada, want.cache_cpu);
        report(got.cache_tada > 0 && got.cache_tada == (double)got.compressed / 1048576 &&
                   got.cache_tada < 0.75 * want.cache_cpu,
               "%s, %s, -ngl %d: what is in RAM is compressed", how, shape, layers);
    }
    int n = log_find("TADA: ", "FAKE0", line, sizeof line);
    report(n == 1 && strstr(line, "-nkvo"), "%s, %s, -ngl %d: one line names the cache on the GPU (%d; %s)",
           how, shape, layers, n, line);
}

static void check_in_ram(const char *shape, int layers, enum llama_flash_attn_type flash, const char *how)
{
    static outcome want, got;
    run_stock(shape, layers, false, flash, &want);
    run(shape, layers, false, flash, &got);
    report(want.done && same_weights(&got, &want), "%s, %s, -ngl %d -nkvo: weights are where they were", how,
           shape, layers);
    report(got.cache_gpu == 0 && got.cache_cpu == 0 && got.cache_tada > 0 &&
               got.cache_tada < 0.75 * want.cache_cpu,
           "%s, %s, -ngl %d -nkvo: the cache is compressed (%.2f instead of %.2f MiB)", how, shape, layers,
           got.cache_tada, want.cache_cpu);
    report(log_find("TADA: ", "FAKE0", NULL, 0) == 0, "%s, %s, -ngl %d -nkvo: no line names the GPU", how,
           shape, layers);
    report(error_of(&got, &want) <= 0.025, "%s, %s, -ngl %d -nkvo: logits (error %.4f)", how, shape, layers,
           error_of(&got, &want));
    report(got.splits <= want.splits, "%s, %s, -ngl %d -nkvo: no more splits than without it (%d, %d)", how,
           shape, layers, got.splits, want.splits);
}

static const struct check {
    void (*check)(const char *shape, int layers, enum llama_flash_attn_type flash, const char *how);
    const char *shape;
    int layers;
    enum llama_flash_attn_type flash;
} checks[] = {
    {check_in_ram, "gqa-64", 99, LLAMA_FLASH_ATTN_TYPE_ENABLED},
    {check_in_ram, "window-64", 99, LLAMA_FLASH_ATTN_TYPE_ENABLED},
    {check_in_ram, "mla", 99, LLAMA_FLASH_ATTN_TYPE_ENABLED},
    {check_in_ram, "gqa-64", 2, LLAMA_FLASH_ATTN_TYPE_ENABLED},
    {check_in_ram, "gqa-64", 0, LLAMA_FLASH_ATTN_TYPE_AUTO},
    {check_on_gpu, "gqa-64", 99, LLAMA_FLASH_ATTN_TYPE_AUTO},
    {check_on_gpu, "window-64", 99, LLAMA_FLASH_ATTN_TYPE_AUTO},
    {check_on_gpu, "gqa-64", 2, LLAMA_FLASH_ATTN_TYPE_AUTO},
};
enum { CHECKS = sizeof checks / sizeof *checks };

/* gpu_first: as llama.cpp loads its own; else later, as one of another machine. */
static int run_check(const struct check *c, bool gpu_first)
{
    llama_log_set(quiet, NULL);
    bool loaded = (!gpu_first || ggml_backend_load(gpu_file)) &&
                  load_plugin(libraries, plugin_file, "tada:8") && find_plugin_functions() &&
                  (gpu_first || ggml_backend_load(gpu_file));
    if (!loaded) {
        report(false, "the GPU and the plug-in are loaded");
        return 1;
    }
    llama_log_set(log_keep, NULL);
    c->check(c->shape, c->layers, c->flash, gpu_first ? "the GPU is loaded first" : "the GPU comes later");
    return failures > 0;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: test_gpu LIB_DIR PLUGIN FAKE_GPU\n");
        return 2;
    }
    libraries = argv[1];
    plugin_file = argv[2];
    gpu_file = argv[3];
    int status, bad = 0;
    for (int i = 0; i < 2 * CHECKS; i++) {
        fflush(stdout);
        pid_t process = fork();
        if (process == 0) {
            exit(run_check(&checks[i / 2], i % 2 == 0));
        }
        bad |= waitpid(process, &status, 0) != process || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    return bad;
}
