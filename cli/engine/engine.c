/* Loading of llama.cpp and the plug-in, models, and contexts with caches of one kind. */
#include "engine.h"

#include "find/host.h"
#include "find/paths.h"
#include "output/note.h"
#include "output/plan_page.h"
#include "tada.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the library ---- */

/* Adds the number of a line that has what comes before "%lf" in the format. */
static void add_size(const char *text, const char *format, double *sum)
{
    char words[32];
    double mib;
    snprintf(words, sizeof words, "%.*s", (int)strcspn(format, "="), format);
    const char *at = strstr(text, words);
    if (at && sscanf(at, format, &mib) == 1) {
        *sum += mib;
    }
}

/* llama.cpp tells sizes and reasons only in its log. */
static void keep_log(enum ggml_log_level level, const char *text, void *user)
{
    struct engine *engine = user;
    add_size(text, "llama_kv_cache: size = %lf", &engine->kv_mib);
    add_size(text, "RS buffer size = %lf", &engine->rs_mib);
    add_size(text, "output buffer size = %lf", &engine->output_mib);
    if (level == GGML_LOG_LEVEL_ERROR && !*engine->complaint) {
        snprintf(engine->complaint, sizeof engine->complaint, "%s", text);
        engine->complaint[strcspn(engine->complaint, "\r\n")] = '\0';
    }
    const char *wanted = environment("TADA_LOG");
    if (wanted && strcmp(wanted, "0") != 0) {
        cli_pass_on(text);
    }
}

static int find_functions(struct engine *engine, void *llama)
{
#define X(name)                                                                                              \
    if (!host_find_symbol(llama, #name, &engine->name)) {                                                    \
        return cli_fail("libllama has no " #name ": use the llama.cpp that TaDA was built for.");            \
    }
    ENGINE_FUNCTIONS(X)
#undef X
    return 0;
}

/* Copies a function that a registry hands out as a plain pointer. False: it has none of that name. */
static bool find_proc(void *(*get_proc)(ggml_backend_reg_t, const char *), ggml_backend_reg_t registry,
                      const char *name, void *function)
{
    void *address = get_proc(registry, name);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

/* What ggml depends on is found through it. */
bool engine_load_plugin(struct engine *engine, void *ggml, const char *plugin, char *why, size_t size)
{
    ggml_backend_reg_t (*load)(const char *);
    void *(*get_proc)(ggml_backend_reg_t, const char *);
    int (*version)(void);
    if (!host_find_symbol(ggml, "ggml_backend_load", &load) ||
        !host_find_symbol(ggml, "ggml_backend_reg_get_proc_address", &get_proc)) {
        snprintf(why, size, "libggml lacks a function: use the llama.cpp that TaDA was built for.");
        return false;
    }
    ggml_backend_reg_t registry = load(plugin);
    if (!registry) {
        snprintf(why, size, "%s does not load: run 'tada doctor' to see why.", plugin);
        return false;
    }
    bool fits =
        find_proc(get_proc, registry, TADA_PLUGIN_VERSION_NAME, &version) && version() == TADA_PLUGIN_VERSION;
#define X(type, name, arguments)                                                                             \
    fits = fits && find_proc(get_proc, registry, "tada_plugin_" #name, &engine->name);
    TADA_PLUGIN_FUNCTIONS(X)
#undef X
    if (!fits) {
        snprintf(why, size, "%s is of another version: install it again.", plugin);
    }
    return fits;
}

void engine_log_nothing(enum ggml_log_level level, const char *text, void *user)
{
    (void)level;
    (void)text;
    (void)user;
}

/* The back-ends beside its tools, and the plug-in from where tada finds it. */
static int load_backends(struct engine *engine, void *ggml, const char *plugin)
{
    void (*load_all)(const char *);
    char folder[PATH_MAX], why[PATH_MAX + 128];
    if (!host_find_symbol(ggml, "ggml_backend_load_all_from_path", &load_all)) {
        return cli_fail("libggml lacks a function: use the llama.cpp that TaDA was built for.");
    }
    unsetenv("GGML_BACKEND_PATH");
    snprintf(folder, sizeof folder, "%s", engine->tool);
    *strrchr(folder, '/') = '\0';
    load_all(folder);
    return engine_load_plugin(engine, ggml, plugin, why, sizeof why) ? 0 : cli_fail("%s", why);
}

/* llama.cpp ends the process where a model is not what its code expects: with a sentence, then. */
static void tell_abort(const char *message)
{
    size_t start = strcspn(message, ":"); /* it begins with the path of its source */
    while (start > 0 && message[start - 1] != '/') {
        start--;
    }
    cli_fail("llama.cpp gives up (%s): the model is damaged, or one that it cannot compute.",
             message + start);
    _exit(EXIT_PROBLEM);
}

static void watch_aborts(void *ggml)
{
    ggml_abort_callback_t (*set)(ggml_abort_callback_t);
    if (host_find_symbol(ggml, "ggml_set_abort_callback", &set)) {
        set(tell_abort);
    }
}

int engine_open(struct engine *engine)
{
    struct place tool, plugin;
    struct host host;
    char why[1024], resolved[PATH_MAX];
    memset(engine, 0, sizeof *engine);
    if (!find_tool("llama-bench", &tool) && !find_llama_library(&tool)) {
        return cli_fail("%s", tool.why);
    }
    if (!find_plugin(&plugin)) {
        return cli_fail("%s", plugin.why);
    }
    host_probe(tool.path, plugin.path, &host);
    if (!host.fits) {
        return cli_fail("This llama.cpp is not the one that TaDA was built for, or not a complete one: "
                        "run 'tada doctor' to see what to do.");
    }
    snprintf(engine->tool, sizeof engine->tool, "%s", realpath(tool.path, resolved) ? resolved : tool.path);
    void *ggml = host_open_library(tool.path, "libggml", why, sizeof why);
    void *llama = ggml ? host_open_library(tool.path, "libllama", why, sizeof why) : NULL;
    if (!llama) {
        return cli_fail("llama.cpp's library does not load (%s): run 'tada doctor'.", why);
    }
    engine->library = llama;
    watch_aborts(ggml);
    int status = find_functions(engine, llama);
    if (status == 0) {
        engine->llama_log_set(keep_log, engine);
        status = load_backends(engine, ggml, plugin.path);
    }
    if (status == 0) {
        engine->llama_backend_init();
    }
    return status;
}

/* ---- models ---- */

static int load_model(struct engine *engine, const char *path, struct llama_model_params params,
                      struct model *model)
{
    memset(model, 0, sizeof *model);
    struct stat status;
    /* Of a pipe llama.cpp would wait for who writes to it. */
    if (stat(path, &status) != 0 || S_ISFIFO(status.st_mode) || access(path, R_OK) != 0) {
        cli_fail("The model %s cannot be read: give the path of a GGUF file.", path);
        return EXIT_USAGE;
    }
    engine->complaint[0] = '\0';
    model->engine = engine;
    model->llama = engine->llama_model_load_from_file(path, params);
    if (!model->llama) {
        cli_fail("The model %s does not load (%s): give a complete GGUF file that this llama.cpp knows.",
                 path, *engine->complaint ? engine->complaint : "llama.cpp does not say why");
        return EXIT_USAGE;
    }
    model->vocab = engine->llama_model_get_vocab(model->llama);
    model->n_vocab = engine->llama_vocab_n_tokens(model->vocab);
    const char *slash = strrchr(path, '/');
    snprintf(model->name, sizeof model->name, "%s", slash ? slash + 1 : path);
    return 0;
}

int model_open(struct engine *engine, const char *path, struct model *model)
{
    int status = load_model(engine, path, engine->llama_model_default_params(), model);
    if (status == 0 && engine->llama_model_has_encoder(model->llama)) {
        cli_fail("%s is not a text-generating decoder: give a model that only decodes.", model->name);
        model_close(model);
        status = EXIT_USAGE;
    }
    return status;
}

int model_open_sizes(struct engine *engine, const char *path, int n_gpu_layers, struct model *model)
{
    struct llama_model_params params = engine->llama_model_default_params();
    params.no_alloc = true;
    params.n_gpu_layers = n_gpu_layers;
    params.load_mode = LLAMA_LOAD_MODE_NONE; /* mapping a file is no simulation */
    params.load_mtp = false; /* as llama-server without speculation by the model's own layers */
    return load_model(engine, path, params, model);
}

void model_close(struct model *model)
{
    if (model->llama) {
        model->engine->llama_model_free(model->llama);
        model->llama = NULL;
    }
}

int model_tokenize(const struct model *model, const char *text, size_t length, bool add_bos, bool special,
                   llama_token **tokens, int *n)
{
    const struct engine *engine = model->engine;
    *tokens = NULL;
    *n = 0;
    if (engine->llama_vocab_type(model->vocab) == LLAMA_VOCAB_TYPE_NONE) {
        cli_fail("%s has no vocabulary to read a text with: measure it without one.", model->name);
        return EXIT_USAGE;
    }
    if (length > INT32_MAX - 16) {
        cli_fail("The text has more than 2 GiB: use a smaller one.");
        return EXIT_USAGE;
    }
    /* As many tokens as bytes, and one for the beginning; more where the vocabulary has none for a blank, but
     * only for the bytes of the sign that stands for it. Then the count is what is needed, negated. */
    int32_t room = (int32_t)length + 8, count = -1;
    llama_token *list = NULL;
    for (int attempt = 0; attempt < 2 && count < 0 && count != INT32_MIN; attempt++) {
        free(list);
        room = attempt == 0 ? room : -count;
        list = malloc((size_t)room * sizeof *list);
        if (!list) {
            break;
        }
        count = engine->llama_tokenize(model->vocab, text, (int32_t)length, list, room, add_bos, special);
    }
    if (!list || count < 0) {
        free(list);
        return cli_fail("Memory is too short for the tokens of the text: use a smaller one.");
    }
    *tokens = list;
    *n = count;
    return 0;
}

void model_append_piece(const struct model *model, llama_token token, char *text, size_t size)
{
    size_t used = strlen(text);
    char piece[256];
    int32_t n = model->engine->llama_token_to_piece(model->vocab, token, piece, sizeof piece, 0, true);
    for (int32_t i = 0; i < n && used + 1 < size; i++) {
        text[used++] = piece[i] ? piece[i] : ' ';
    }
    text[used] = '\0';
}

/* ---- caches ---- */

enum ggml_type cache_stock_type(const char *name)
{
    static const struct {
        const char *name;
        enum ggml_type type;
    } types[] = {{"f32", GGML_TYPE_F32},   {"f16", GGML_TYPE_F16},   {"bf16", GGML_TYPE_BF16},
                 {"q8_0", GGML_TYPE_Q8_0}, {"q4_0", GGML_TYPE_Q4_0}, {"q4_1", GGML_TYPE_Q4_1},
                 {"q5_0", GGML_TYPE_Q5_0}, {"q5_1", GGML_TYPE_Q5_1}, {"iq4_nl", GGML_TYPE_IQ4_NL}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, name) == 0) {
            return types[i].type;
        }
    }
    return GGML_TYPE_COUNT;
}

static bool set_plan(struct engine *engine, const tada_plan *plan, tada_error *error)
{
    void *bytes;
    size_t size;
    if (tada_plan_save_memory(plan, &bytes, &size, error) != TADA_OK) {
        return false;
    }
    bool done = engine->set_plan(bytes, size, error);
    free(bytes);
    return done;
}

int cache_choose(struct engine *engine, const char *spec, const tada_plan *plan, tada_spec *parsed)
{
    tada_error error = {""};
    if (tada_spec_parse(plan ? "tada" : spec, parsed, &error) != TADA_OK) {
        cli_fail("%s", error.text);
        return EXIT_USAGE;
    }
    if (plan ? !set_plan(engine, plan, &error) : !engine->set_cache(spec, &error)) {
        cli_fail("%s", error.text);
        return EXIT_USAGE;
    }
    return 0;
}

static int plan_window(const tada_plan *plan)
{
    int window = 0;
    for (int i = 0; i < plan_planes(plan); i++) {
        const tada_plan_plane *plane = plan_plane(plan, i);
        window = plane->width > 0 && plane->window > window ? plane->window : window;
    }
    return window;
}

int cache_window(const char *spec, const tada_plan *plan)
{
    tada_spec parsed;
    tada_plan *read = NULL;
    if (plan) {
        return plan_window(plan);
    }
    if (tada_spec_parse(spec, &parsed, NULL) != TADA_OK || parsed.stock) {
        return 0;
    }
    if (parsed.plan) {
        int window =
            tada_plan_load(tada_spec_plan_path(spec), &read, NULL) == TADA_OK ? plan_window(read) : 0;
        tada_plan_free(read);
        return window;
    }
    return parsed.window;
}

/* Of all caches. */
struct plugin_memory {
    size_t planes, f16, scratch;
};

static struct plugin_memory plugin_memory(const struct engine *engine)
{
    struct plugin_memory memory = {.scratch = engine->scratch_bytes()};
    engine->cache_bytes(&memory.planes, NULL, &memory.f16);
    return memory;
}

/* Nobody else made a context or computed since then: what has changed is this cache's. */
static void add_memory(struct cache *cache, const struct plugin_memory *before)
{
    struct plugin_memory now = plugin_memory(cache->model->engine);
    cache->planes_bytes += now.planes - before->planes;
    cache->planes_f16 += now.f16 - before->f16;
    cache->scratch_bytes += now.scratch - before->scratch;
}

/* Leaves cache->context NULL where llama.cpp makes none: engine->complaint may then say why. */
static int make_context(const struct model *model, const struct cache_options *options, struct cache *cache)
{
    struct engine *engine = model->engine;
    tada_spec spec;
    memset(cache, 0, sizeof *cache);
    int status = cache_choose(engine, options->spec, options->plan, &spec);
    if (status != 0) {
        return status;
    }
    struct llama_context_params params = engine->llama_context_default_params();
    params.n_ctx = (uint32_t)options->n_ctx;
    params.n_batch = (uint32_t)options->n_batch;
    params.n_ubatch = (uint32_t)options->n_ubatch;
    params.n_threads = params.n_threads_batch = options->n_threads;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.no_perf = true;
    /* A GPU would keep the cache, uncompressed: all kinds stay in the computer's memory. */
    params.offload_kqv = false;
    if (spec.stock) {
        params.type_k = cache_stock_type(spec.stock_k);
        params.type_v = cache_stock_type(spec.stock_v);
    }
    engine->kv_mib = 0;
    engine->complaint[0] = '\0';
    cache->model = model;
    cache->stock = spec.stock;
    cache->n_batch = options->n_batch;
    snprintf(cache->spec, sizeof cache->spec, "%s", options->spec);
    cache->context = engine->llama_init_from_model(model->llama, params);
    return 0;
}

bool cache_is_possible(const struct model *model, const char *spec, char *why, size_t size)
{
    /* No context is smaller: it fails only for what the model is. */
    const struct cache_options small = {
        .spec = spec, .n_ctx = 256, .n_batch = 32, .n_ubatch = 32, .n_threads = 1};
    const char *complaint = model->engine->complaint;
    tada_spec parsed;
    struct cache cache;
    if (tada_spec_parse(spec, &parsed, NULL) != TADA_OK || !parsed.stock ||
        make_context(model, &small, &cache) != 0) {
        return true; /* what else is wrong is said when it is opened */
    }
    bool possible = cache.context != NULL;
    if (possible) {
        model->engine->llama_free(cache.context);
    }
    const char *reason = strstr(complaint, ": "); /* after the function that said it */
    snprintf(why, size, "%s", reason ? reason + 2 : *complaint ? complaint : "llama.cpp does not say why");
    return possible;
}

int cache_open(const struct model *model, const struct cache_options *options, struct cache *cache)
{
    struct engine *engine = model->engine;
    struct plugin_memory before = plugin_memory(engine);
    int status = make_context(model, options, cache);
    if (status != 0) {
        return status;
    }
    if (!cache->context) {
        cli_fail("%s cannot have the cache %s (%s): choose another cache or a smaller context.", model->name,
                 options->spec, *engine->complaint ? engine->complaint : "llama.cpp does not say why");
        return EXIT_USAGE;
    }
    cache->batch = engine->llama_batch_init(options->n_batch, 0, 1);
    cache->rows_bytes = (size_t)(engine->kv_mib * 1048576 + 0.5);
    add_memory(cache, &before);
    return 0;
}

void cache_close(struct cache *cache)
{
    if (cache->context) {
        cache->model->engine->llama_batch_free(cache->batch);
        cache->model->engine->llama_free(cache->context);
        cache->context = NULL;
    }
}

int cache_decode(struct cache *cache, const llama_token *tokens, int n, int first, int n_logits)
{
    struct engine *engine = cache->model->engine;
    struct llama_batch *batch = &cache->batch;
    if (n < 1 || n > cache->n_batch || n_logits > n) {
        return cli_fail("A batch of %d tokens does not fit in one of %d.", n, cache->n_batch);
    }
    for (int i = 0; i < n; i++) {
        batch->token[i] = tokens[i];
        batch->pos[i] = first + i;
        batch->n_seq_id[i] = 1;
        batch->seq_id[i][0] = 0;
        batch->logits[i] = i >= n - n_logits;
    }
    batch->n_tokens = n;
    struct plugin_memory before = plugin_memory(engine);
    engine->complaint[0] = '\0';
    int result = engine->llama_decode(cache->context, *batch);
    engine->llama_synchronize(cache->context);
    add_memory(cache, &before);
    if (result != 0) {
        return cli_fail("llama.cpp could not compute with the cache %s (%s): use a smaller context or batch.",
                        cache->spec, result == 1 ? "the cache is full" : engine->complaint);
    }
    return 0;
}

const float *cache_logits(const struct cache *cache, int i)
{
    int first = 0;
    while (!cache->batch.logits[first]) {
        first++;
    }
    return cache->model->engine->llama_get_logits_ith(cache->context, first + i);
}

/* Some may be minus infinity, but not all. */
static bool are_numbers(const float *logits, int n)
{
    float most = -INFINITY;
    bool none = false;
    for (int i = 0; i < n; i++) {
        most = logits[i] > most ? logits[i] : most;
        none = none || isnan(logits[i]);
    }
    return !none && isfinite(most);
}

int cache_check_logits(const struct cache *cache, int n)
{
    for (int i = 0; i < n; i++) {
        if (!are_numbers(cache_logits(cache, i), cache->model->n_vocab)) {
            cli_fail("%s computes what is no number (NaN) with the cache %s, so that nothing can be compared "
                     "with it: the model is damaged, or made for wider numbers.",
                     cache->model->name, cache->spec);
            return EXIT_USAGE;
        }
    }
    return 0;
}

void cache_clear(struct cache *cache)
{
    const struct engine *engine = cache->model->engine;
    engine->llama_memory_clear(engine->llama_get_memory(cache->context), true);
}

int cache_rewind(struct cache *cache, int first)
{
    const struct engine *engine = cache->model->engine;
    if (!engine->llama_memory_seq_rm(engine->llama_get_memory(cache->context), 0, first, -1)) {
        cli_fail("%s cannot take back tokens, which this measurement needs: choose another model.",
                 cache->model->name);
        return EXIT_USAGE;
    }
    return 0;
}

size_t cache_bytes(const struct cache *cache)
{
    const size_t rounding = 2 * 1048576 / 100; /* of a model with two kinds of layers */
    size_t rows = cache->rows_bytes > cache->planes_f16 ? cache->rows_bytes - cache->planes_f16 : 0;
    rows = cache->planes_f16 > 0 && rows < rounding ? 0 : rows;
    return rows + cache->planes_bytes + cache->scratch_bytes;
}
