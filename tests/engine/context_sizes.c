/*
 * What a real context takes: makes one as llama-server does, computes in it, and prints a line of bytes:
 * weights, KV cache, recurrent states, compute and output buffers as llama.cpp logs them, and the scratch of
 * the plug-in. context_sizes BIN_DIR PLUGIN|- MODEL TYPE_K TYPE_V CONTEXT PARALLEL UNIFIED UBATCH THREADS
 * TOKENS PLUGIN: with the cache that TADA_CACHE names; -: without. TOKENS: of all sequences together, half of
 * them in batches of UBATCH and half in small ones, which attention cuts in another way.
 */
#include "ggml-backend.h"
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WEIGHTS, KV, RS, COMPUTE, OUTPUT, N_SIZES, FEW = 16 };
static const char *const words[N_SIZES] = {"model buffer size = %lf", "KV buffer size = %lf",
                                           "RS buffer size = %lf", "compute buffer size = %lf",
                                           "output buffer size = %lf"};
static double mib[N_SIZES];
static int n_lines;

static void keep_log(enum ggml_log_level level, const char *text, void *user)
{
    (void)level;
    (void)user;
    for (int i = 0; i < N_SIZES; i++) {
        double found;
        char start[64];
        snprintf(start, sizeof start, "%.*s", (int)strcspn(words[i], "="), words[i]);
        const char *at = strstr(text, start);
        if (at && sscanf(at, words[i], &found) == 1) {
            mib[i] += found;
            n_lines++;
        }
    }
}

static int type_of(const char *name)
{
    static const struct {
        const char *name;
        enum ggml_type type;
    } types[] = {{"f16", GGML_TYPE_F16}, {"q8_0", GGML_TYPE_Q8_0}, {"q4_0", GGML_TYPE_Q4_0}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, name) == 0) {
            return types[i].type;
        }
    }
    exit(2);
}

/* n tokens of each sequence. */
static int compute(struct llama_context *context, struct llama_batch *batch, int parallel, int first, int n)
{
    batch->n_tokens = 0;
    for (int sequence = 0; sequence < parallel; sequence++) {
        for (int i = 0; i < n; i++) {
            int at = batch->n_tokens++;
            batch->token[at] = (first + i) * 7 % 250;
            batch->pos[at] = first + i;
            batch->n_seq_id[at] = 1;
            batch->seq_id[at][0] = sequence;
            batch->logits[at] = i == n - 1;
        }
    }
    return llama_decode(context, *batch);
}

int main(int argc, char **argv)
{
    if (argc != 12) {
        return 2;
    }
    int parallel = atoi(argv[7]), unified = atoi(argv[8]), ubatch = atoi(argv[9]);
    int n_tokens = atoi(argv[11]) / parallel;
    llama_log_set(keep_log, NULL);
    ggml_backend_load_all_from_path(argv[1]);
    ggml_backend_reg_t plugin = strcmp(argv[2], "-") == 0 ? NULL : ggml_backend_load(argv[2]);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[3], llama_model_default_params());
    struct llama_context_params params = llama_context_default_params();
    params.type_k = (enum ggml_type)type_of(argv[4]);
    params.type_v = (enum ggml_type)type_of(argv[5]);
    params.n_ctx = (uint32_t)atoi(argv[6]);
    params.n_seq_max = params.n_outputs_max = (uint32_t)parallel;
    params.n_outputs_max_per_seq = 1;
    params.swa_full = false;
    params.kv_unified = unified != 0;
    params.n_batch = 2048;
    params.n_ubatch = (uint32_t)ubatch;
    params.n_threads = params.n_threads_batch = atoi(argv[10]);
    struct llama_context *context = model ? llama_init_from_model(model, params) : NULL;
    if (!context) {
        return 1;
    }
    struct llama_batch batch = llama_batch_init(ubatch, 0, 1);
    int status = 0, few = unified ? FEW / parallel : FEW;
    for (int i = 0, n; i < n_tokens && status == 0; i += n) {
        n = i < n_tokens / 2 ? ubatch / parallel : few;
        n = n_tokens - i < n ? n_tokens - i : n;
        status = compute(context, &batch, parallel, i, n);
    }
    size_t (*scratch)(void) = NULL;
    if (plugin) {
        void *proc = ggml_backend_reg_get_proc_address(plugin, "tada_plugin_scratch_bytes");
        memcpy(&scratch, &proc, sizeof scratch);
    }
    for (int i = 0; i < N_SIZES; i++) {
        printf("%.0f ", mib[i] * 1048576);
    }
    printf("%zu %d\n", scratch ? scratch() : 0, n_lines);
    llama_batch_free(batch);
    llama_free(context);
    llama_model_free(model);
    return status == 0 ? 0 : 1;
}
