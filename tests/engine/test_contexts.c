/*
 * Several contexts of several models in several threads of one process: made, refused, computing, given
 * adapters and freed in random order. What each of them says is what it says alone. test_contexts LIB_DIR
 * PLUGIN [SEED [ROUNDS [THREADS]]]
 *
 * Contexts compute on one thread each, so that this also runs under ThreadSanitizer: it does not see how the
 * threads of an OpenMP that was not built for it wait for each other.
 */
#include "checks.h"
#include "log_lines.h"
#include "plugin_functions.h"
#include "sequences.h"

#include "gguf.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CELLS = 256, UBATCH = 64, PROMPT = 100, STEPS = 4, MODELS = 3, MOST_THREADS = 8 };

/* Two of the same widths, so that a plan fits both by its shape, and one of another width. */
static struct model {
    const char *shape;
    struct llama_model *model;
    struct llama_adapter_lora *adapter; /* NULL: only family llama can have ours */
} models[MODELS] = {{.shape = "gqa-64"}, {.shape = "factors"}, {.shape = "mqa-128"}};

static const char *const caches[] = {"tada:8", "tada", "tada:16", "tada:5/4:window=0", "f16"};
static const char *const bad_caches[] = {"tada:99", "nonsense", "tada:@/nowhere/at/all.plan",
                                         "tada:8:window=-1"};
enum { CACHES = sizeof caches / sizeof *caches };

/* What is made: the model, its cache, and how it computes. */
typedef struct job {
    int model, cache;
    bool flash, adapter;
} job;

static float (
    *answers[MODELS][CACHES][2][2])[MODEL_VOCAB]; /* [..][flash][adapter]: of a process that has no other */

static uint64_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static struct llama_context *make_context(const job *j)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = CELLS;
    params.n_batch = params.n_ubatch = UBATCH;
    params.n_threads = params.n_threads_batch = 1;
    params.flash_attn_type = j->flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    return llama_init_from_model(models[j->model].model, params);
}

static bool set_adapter(struct llama_context *c, const job *j)
{
    struct llama_adapter_lora *adapter = models[j->model].adapter;
    float scale = 1;
    return !j->adapter || !adapter || llama_set_adapters_lora(c, &adapter, 1, &scale) == 0;
}

/* The logits after the prompt and after each step. */
static bool talk(struct llama_context *c, float rows[][MODEL_VOCAB])
{
    for (int at = 0; at < PROMPT; at += UBATCH) {
        int n = PROMPT - at < UBATCH ? PROMPT - at : UBATCH;
        if (decode_tokens(c, 0, 1, at, n) != 0) {
            return false;
        }
        memcpy(rows[0], llama_get_logits_ith(c, n - 1), sizeof *rows);
    }
    for (int i = 0; i < STEPS; i++) {
        if (decode_tokens(c, 0, 1, PROMPT + i, 1) != 0) {
            return false;
        }
        memcpy(rows[1 + i], llama_get_logits_ith(c, 0), sizeof *rows);
    }
    return true;
}

static bool is_answer(const job *j, int cache, float rows[][MODEL_VOCAB])
{
    float(*want)[MODEL_VOCAB] = answers[j->model][cache][j->flash][j->adapter];
    return memcmp(rows, want, (1 + STEPS) * sizeof *rows) == 0;
}

/* Gives the first norm other values than the 1 of all random models: a model is known by it. */
static bool change_norm(const char *path)
{
    struct gguf_context *gguf = gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true});
    int64_t at = gguf ? gguf_find_tensor(gguf, "blk.0.attn_norm.weight") : -1;
    bool done = false;
    if (at >= 0) {
        size_t n = gguf_get_tensor_size(gguf, at) / sizeof(float);
        FILE *file = fopen(path, "r+b");
        done = file && fseek(file, (long)(gguf_get_data_offset(gguf) + gguf_get_tensor_offset(gguf, at)),
                             SEEK_SET) == 0;
        for (size_t i = 0; i < n && done; i++) {
            float value = 1 + (float)(i % 7) / 16;
            done = fwrite(&value, sizeof value, 1, file) == 1;
        }
        done = file && fclose(file) == 0 && done;
    }
    gguf_free(gguf);
    return done;
}

static bool write_other(const model_shape *shape, const char *path)
{
    return random_model_write(shape, path) && change_norm(path);
}

static bool load_models(void)
{
    for (int i = 0; i < MODELS; i++) {
        const model_shape *shape = shape_named(models[i].shape);
        char file[] = "tada-model-XXXXXX";
        models[i].model = write_file(shape, i == 1 ? write_other : random_model_write, file)
                              ? llama_model_load_from_file(file, llama_model_default_params())
                              : NULL;
        unlink(file);
        if (!models[i].model) {
            return false;
        }
        char path[] = "tada-adapter-XXXXXX";
        if (shape->family == FAMILY_LLAMA && write_file(shape, random_adapter_write, path)) {
            models[i].adapter = llama_adapter_lora_init(models[i].model, path);
            unlink(path);
            if (!models[i].adapter) {
                return false;
            }
        }
    }
    return true;
}

/* What each job says when no other context is there. */
static bool find_answers(void)
{
    for (int i = 0; i < MODELS * CACHES * 4; i++) {
        job j = {i / 4 % MODELS, i / 4 / MODELS, i & 1, i & 2};
        float(*rows)[MODEL_VOCAB] = calloc(1 + STEPS, sizeof *rows);
        answers[j.model][j.cache][j.flash][j.adapter] = rows;
        set_cache(caches[j.cache]);
        struct llama_context *c = make_context(&j);
        if (!c || !set_adapter(c, &j) || !talk(c, rows)) {
            return false;
        }
        llama_free(c);
    }
    return true;
}

/* ---- one thing at a time ---- */

/* A context without flash attention, then an adapter for one that has been there before. */
static void adapter_after_plain(void)
{
    float rows[1 + STEPS][MODEL_VOCAB];
    job first = {0, 0, true, true}, plain = {0, 0, false, false};
    set_cache(caches[0]);
    struct llama_context *a = make_context(&first), *b = make_context(&plain);
    bool done = a && talk(a, rows);
    if (b) {
        done = done && talk(b, rows) && is_answer(&plain, 0, rows);
    }
    report(done && b, "a context with flash attention off beside one with a compressed cache");
    llama_memory_clear(llama_get_memory(a), true);
    done = set_adapter(a, &first) && talk(a, rows);
    report(done && is_answer(&first, 0, rows), "an adapter for the first context after that");
    llama_free(b);
    llama_free(a);
}

/* The plan of one model, which is not for the next one, though it would fit it by its widths. */
static void plan_of_another_model(void)
{
    float rows[1 + STEPS][MODEL_VOCAB], planned[1 + STEPS][MODEL_VOCAB], others[1 + STEPS][MODEL_VOCAB];
    job first = {0, 1, true, false}, second = {1, 1, true, false};
    set_cache("tada:8");
    struct llama_context *c = make_context(&first);
    bool done = c && talk(c, rows);
    uint64_t fingerprint = plugin.model_fingerprint();
    llama_free(c);
    report(done && fingerprint, "the first model is told by its fingerprint");
    tada_plan *plan = tada_plan_create(MODEL_LAYERS);
    const model_shape *shape = shape_named(models[0].shape);
    tada_spec spec;
    tada_spec_parse("tada:2", &spec, NULL);
    tada_plan_info info = {"the first", "tada", fingerprint, 4, CELLS};
    tada_plan_set_info(plan, &info, NULL);
    for (int i = 0; i < 2 * MODEL_LAYERS; i++) {
        tada_plan_plane plane = {.width = shape->kv_heads * shape->head_dim,
                                 .head_dim = shape->head_dim,
                                 .recipe = i % 2 ? spec.v : spec.k,
                                 .window_bits = spec.window_bits};
        tada_plan_set_plane(plan, i / 2, i % 2 ? TADA_V : TADA_K, &plane, NULL);
    }
    void *bytes = NULL;
    size_t size = 0;
    bool accepted = tada_plan_save_memory(plan, &bytes, &size, NULL) == TADA_OK &&
                    !plugin.set_plan(bytes, size - 1, NULL) && plugin.set_plan(bytes, size, NULL);
    free(bytes);
    tada_plan_free(plan); /* the plug-in has its own */
    if (!accepted) {
        report(false, "the plan is accepted");
        return;
    }
    log_forget();
    c = make_context(&first);
    done = c && talk(c, planned);
    llama_free(c);
    report(done && !is_answer(&first, 1, planned) && log_find("TADA: ", "the plan is for", NULL, 0) == 0,
           "the first model with its plan");
    struct llama_context *d = make_context(&second);
    done = d && talk(d, rows);
    report(done && is_answer(&second, 1, rows),
           "the second model has the cache 'tada' instead of the plan's");
    report(log_find("TADA: ", "the plan is for", NULL, 0) == 1, "... and one line says so");
    c = make_context(&first);
    bool same = c && talk(c, others) && memcmp(others, planned, sizeof others) == 0;
    llama_memory_clear(llama_get_memory(d), true);
    report(same && talk(d, rows) && is_answer(&second, 1, rows), "both beside each other");
    llama_free(c);
    llama_free(d);
    set_cache("tada");
}

/* ---- everything at once ---- */

static pthread_mutex_t choosing = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool over;
static atomic_int wrong, done_jobs, refused;
static int rounds = 30;
static bool free_choice; /* another thread sets caches while contexts are made */

typedef struct worker {
    pthread_t thread;
    int number;
    uint64_t state;
} worker;

static void note(const job *j, int number, const char *what)
{
    printf("        thread %d: model %s, cache %s, flash %d, adapter %d: %s\n", number,
           models[j->model].shape, caches[j->cache], j->flash, j->adapter, what);
    wrong++;
}

static bool is_any_answer(const job *j, float rows[][MODEL_VOCAB])
{
    for (int cache = 0; cache < CACHES; cache++) {
        if (is_answer(j, cache, rows)) {
            return true;
        }
    }
    return false;
}

static struct llama_context *make_chosen(const job *j)
{
    if (free_choice) {
        return make_context(j);
    }
    pthread_mutex_lock(&choosing);
    set_cache(caches[j->cache]);
    struct llama_context *c = make_context(j);
    pthread_mutex_unlock(&choosing);
    return c;
}

static void *work(void *data)
{
    enum { OPEN = 3 };
    worker *w = data;
    struct {
        struct llama_context *c;
        job j;
    } open[OPEN] = {{0}};
    for (int i = 0; i < rounds; i++) {
        int at = (int)(next(&w->state) % OPEN);
        job *j = &open[at].j;
        if (!open[at].c) {
            *j = (job){(int)(next(&w->state) % MODELS), (int)(next(&w->state) % CACHES),
                       next(&w->state) % 4 != 0, next(&w->state) % 2};
            open[at].c = make_chosen(j);
            if (!open[at].c) {
                note(j, w->number, "is not made");
            }
            continue;
        }
        float rows[1 + STEPS][MODEL_VOCAB];
        llama_memory_clear(llama_get_memory(open[at].c), next(&w->state) % 2);
        if (!set_adapter(open[at].c, j) || !talk(open[at].c, rows)) {
            note(j, w->number, "does not compute");
        } else if (free_choice ? !is_any_answer(j, rows) : !is_answer(j, j->cache, rows)) {
            note(j, w->number, "says something else");
        }
        done_jobs++;
        if (next(&w->state) % 3 != 0) {
            llama_free(open[at].c);
            open[at].c = NULL;
        }
    }
    for (int i = 0; i < OPEN; i++) {
        llama_free(open[i].c);
    }
    return NULL;
}

/* Sets caches, some of which are refused, and asks for all that may be asked at any time. */
static void *disturb(void *data)
{
    worker *w = data;
    while (!over) {
        tada_error error;
        size_t reserved, used, f16;
        if (plugin.set_cache(bad_caches[next(&w->state) % 4], next(&w->state) % 2 ? &error : NULL)) {
            printf("        a bad cache is accepted\n");
            wrong++;
        }
        refused++;
        if (free_choice) {
            set_cache(caches[next(&w->state) % CACHES]);
        }
        plugin.cache_bytes(&reserved, &used, &f16);
        if (used > reserved || (f16 == 0) != (reserved == 0)) {
            printf("        %zu of %zu bytes are used, f16 %zu\n", used, reserved, f16);
            wrong++;
        }
        plugin.scratch_bytes();
        plugin.model_fingerprint();
        usleep(500);
    }
    return NULL;
}

static void all_at_once(uint64_t seed, int n_threads, bool free_to_choose)
{
    worker workers[MOST_THREADS], other = {.state = seed + 99};
    free_choice = free_to_choose;
    wrong = done_jobs = refused = 0;
    over = false;
    pthread_create(&other.thread, NULL, disturb, &other);
    for (int i = 0; i < n_threads; i++) {
        workers[i] = (worker){.number = i, .state = seed * 1000 + (uint64_t)i};
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (int i = 0; i < n_threads; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    over = true;
    pthread_join(other.thread, NULL);
    size_t reserved, used, f16;
    plugin.cache_bytes(&reserved, &used, &f16);
    report(wrong == 0 && done_jobs > 0, "%d threads, %d conversations, %d caches refused%s", n_threads,
           (int)done_jobs, (int)refused, free_to_choose ? ", caches chosen meanwhile" : "");
    report(reserved == 0 && used == 0 && f16 == 0, "... and no cache is left");
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 6) {
        fprintf(stderr, "usage: test_contexts LIB_DIR PLUGIN [SEED [ROUNDS [THREADS]]]\n");
        return 2;
    }
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    rounds = argc > 4 ? atoi(argv[4]) : rounds;
    int n_threads = argc > 5 && atoi(argv[5]) <= MOST_THREADS ? atoi(argv[5]) : 3;
    printf("seed %llu\n", (unsigned long long)seed);
    if (!load_plugin(argv[1], argv[2], "tada") || !find_plugin_functions()) {
        return 1;
    }
    llama_log_set(log_keep, NULL);
    bool ready = load_models() && find_answers();
    report(ready, "models alone");
    if (ready) {
        adapter_after_plain();
        plan_of_another_model();
        all_at_once(seed, n_threads, false);
        all_at_once(seed + 1, n_threads, true);
    }
    for (int i = 0; i < MODELS; i++) {
        llama_model_free(models[i].model);
    }
    return failures > 0;
}
