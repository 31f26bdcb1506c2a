/* A process for each run: what crashes takes nothing with it, and what is loaded is loaded as by a user. */
#include "run.h"

#include "engine/breakdown.h"

#include "ggml-backend.h"
#include "ggml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

run_result *run_result_create(void)
{
    void *memory = mmap(NULL, sizeof(run_result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void run_result_free(run_result *result)
{
    munmap(result, sizeof *result);
}

static void say(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR || strstr(text, "TADA")) {
        fputs(text, stderr);
    }
}

/* ---- who reads the caches ---- */

static run_tensor *watched(run_result *result, const struct ggml_tensor *root)
{
    for (int i = 0; i < result->n_tensors; i++) {
        if (strcmp(result->tensors[i].name, root->name) == 0 &&
            result->tensors[i].bytes == ggml_nbytes(root)) {
            return &result->tensors[i];
        }
    }
    if (result->n_tensors == sizeof result->tensors / sizeof *result->tensors) {
        return NULL;
    }
    run_tensor *tensor = &result->tensors[result->n_tensors++];
    strcpy(tensor->name, root->name);
    tensor->bytes = ggml_nbytes(root);
    return tensor;
}

static bool watch(struct ggml_tensor *node, bool ask, void *user)
{
    bool view = node->op == GGML_OP_VIEW || node->op == GGML_OP_RESHAPE || node->op == GGML_OP_PERMUTE ||
                node->op == GGML_OP_TRANSPOSE;
    for (int i = 0; i < GGML_MAX_SRC && ask && !view; i++) {
        const struct ggml_tensor *source = node->src[i];
        const struct ggml_tensor *root = source && source->view_src ? source->view_src : source;
        /* Neither weights nor what a graph computes, and not what is written into: that is a view of it. */
        if (root && root->buffer &&
            ggml_backend_buffer_get_usage(root->buffer) == GGML_BACKEND_BUFFER_USAGE_ANY &&
            node->view_src != root) {
            run_tensor *tensor = watched(user, root);
            if (tensor) {
                tensor->readers[node->op] = true;
            }
        }
    }
    return !ask;
}

/* ---- computing ---- */

/* Of the CPU: one thread computes, and other programs may be there. */
static double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return 1e3 * (double)time.tv_sec + 1e-6 * (double)time.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool compute(struct llama_context *context, struct llama_batch *batch, int first, int n, bool encode)
{
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
    batch->n_tokens = n;
    for (int i = 0; i < n; i++) {
        batch->token[i] = (int)((unsigned)(first + i) * 2654435761U >> 16) % n_vocab;
        batch->pos[i] = first + i;
        batch->n_seq_id[i] = 1;
        batch->seq_id[i][0] = 0;
        batch->logits[i] = true;
    }
    return (encode ? llama_encode(context, *batch) : llama_decode(context, *batch)) == 0;
}

static bool keep(struct llama_context *context, int n, run_result *result)
{
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
    float *to = result->logits + (size_t)(result->n_prompt + result->n_steps) * result->width;
    for (int i = 0; i < n; i++, to += result->width) {
        const float *from =
            result->embeddings ? llama_get_embeddings_ith(context, i) : llama_get_logits_ith(context, i);
        if (!from) {
            return false;
        }
        memcpy(to, from + (result->embeddings ? 0 : n_vocab - result->width), result->width * sizeof *to);
    }
    return true;
}

/* A prompt in one batch and single steps; without a cache the prompt alone. */
static bool run_tokens(struct llama_context *context, struct llama_batch *batch, run_result *result)
{
    const struct llama_model *model = llama_get_model(context);
    bool encoder = llama_model_has_encoder(model), decoder = llama_model_has_decoder(model);
    result->whole = result->embeddings || encoder || !llama_get_memory(context);
    if (encoder && decoder && !compute(context, batch, 1000, RUN_PROMPT / 2, true)) {
        return false;
    }
    if (!compute(context, batch, 0, RUN_PROMPT, encoder && !decoder) || !keep(context, RUN_PROMPT, result)) {
        return false;
    }
    result->n_prompt = RUN_PROMPT;
    bool steps = llama_get_memory(context) && !result->embeddings;
    while (steps && result->n_steps < RUN_STEPS) {
        if (!compute(context, batch, RUN_PROMPT + result->n_steps, 1, false) || !keep(context, 1, result)) {
            return false;
        }
        result->n_steps++;
    }
    return true;
}

static bool run_timed(struct llama_context *context, struct llama_batch *batch, int depth, run_result *result)
{
    double times[RUN_STEPS];
    for (int first = 0; first < depth; first += RUN_PROMPT) {
        if (!compute(context, batch, first, depth - first < RUN_PROMPT ? depth - first : RUN_PROMPT, false)) {
            return false;
        }
    }
    for (int i = 0; i < RUN_STEPS; i++) {
        double start = now_ms();
        if (!compute(context, batch, depth + i, 1, false)) {
            return false;
        }
        times[i] = now_ms() - start;
    }
    qsort(times, RUN_STEPS, sizeof *times, by_size);
    result->step_ms = times[RUN_STEPS / 2];
    return true;
}

/* ---- one run ---- */

static size_t asked(const char *name)
{
    ggml_backend_reg_t registry = ggml_backend_reg_by_name("TADA");
    void *symbol = registry ? ggml_backend_reg_get_proc_address(registry, name) : NULL;
    size_t (*get)(void);
    memcpy(&get, &symbol, sizeof get);
    return symbol ? get() : 0;
}

static void measure(const struct llama_context *context, run_result *result)
{
    struct breakdown sizes;
    if (breakdown_get(RTLD_DEFAULT, context, &sizes)) {
        result->cache = sizes.cache;
        result->compute = sizes.compute;
    }
    result->scratch = asked("tada_plugin_scratch_bytes");
    ggml_backend_reg_t registry = ggml_backend_reg_by_name("TADA");
    void *symbol = registry ? ggml_backend_reg_get_proc_address(registry, "tada_plugin_cache_bytes") : NULL;
    void (*get)(size_t *, size_t *, size_t *);
    memcpy(&get, &symbol, sizeof get);
    if (symbol) {
        size_t used;
        get(&result->planes, &used, &result->planes_f16);
        if (used == 0) {
            /* Only expected: nothing has read the cache, so that there are no planes. */
            result->planes = result->planes_f16 = 0;
        }
    }
}

static void run_here(const tiny_shape *shape, const run_options *options, run_result *result)
{
    if (options->plugin) {
        setenv("GGML_BACKEND_PATH", options->plugin, 1);
        setenv("TADA_CACHE", options->spec, 1);
    } else {
        unsetenv("GGML_BACKEND_PATH");
    }
    setenv("GGML_NO_BACKTRACE", "1", 1);
    llama_log_set(say, NULL);
    ggml_backend_load_all_from_path(options->libraries);
    llama_backend_init();
    if (options->plugin && !ggml_backend_reg_by_name("TADA")) {
        fprintf(stderr, "TADA: the plug-in was not loaded\n");
        return;
    }
    struct llama_model *model = shape_model(shape, options->seed);
    if (!model) {
        return;
    }
    result->stage = RUN_LOADED;
    struct llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = options->time ? (uint32_t)shape->depth + 128 : RUN_CONTEXT;
    parameters.n_threads = parameters.n_threads_batch = 1;
    parameters.type_k = parameters.type_v = options->type;
    parameters.n_ubatch = options->ubatch ? (uint32_t)options->ubatch : parameters.n_ubatch;
    parameters.embeddings = shape->encoder;
    parameters.pooling_type = shape->encoder ? LLAMA_POOLING_TYPE_NONE : parameters.pooling_type;
    parameters.cb_eval = options->watch ? watch : NULL;
    parameters.cb_eval_user_data = result;
    struct llama_context *context = llama_init_from_model(model, parameters);
    if (!context) {
        return;
    }
    result->stage = RUN_MADE;
    result->embeddings = shape->encoder;
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    result->width = shape->encoder ? llama_model_n_embd(model) : n_vocab < RUN_WIDTH ? n_vocab : RUN_WIDTH;
    struct llama_batch batch = llama_batch_init(RUN_PROMPT, 0, 1);
    if (options->time ? run_timed(context, &batch, shape->depth, result)
                      : run_tokens(context, &batch, result)) {
        result->stage = RUN_DONE;
    }
    measure(context, result);
    llama_batch_free(batch);
    llama_free(context);
    llama_model_free(model);
}

void run_shape(const tiny_shape *shape, const run_options *options, run_result *result)
{
    memset(result, 0, offsetof(run_result, logits));
    int log = memfd_create("log", 0);
    fflush(NULL);
    pid_t child = log >= 0 ? fork() : -1;
    if (child == 0) {
        dup2(log, STDERR_FILENO);
        run_here(shape, options, result);
        fflush(NULL);
        exit(0);
    }
    int status = 1;
    result->crashed = child < 0 || waitpid(child, &status, 0) != child || status != 0;
    ssize_t length = log >= 0 ? pread(log, result->log, sizeof result->log - 1, 0) : 0;
    result->log[length > 0 ? length : 0] = 0;
    if (log >= 0) {
        close(log);
    }
}
