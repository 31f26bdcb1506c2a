/*
 * Every way of running llama.cpp: what a context with a compressed cache says is what one with the f16 cache
 * of stock llama.cpp says, as near as the spec allows, in one split a graph, and nothing is printed past the
 * log callback.  test_ways LIB_DIR PLUGIN SPEC BOUND    (BOUND: of the relative error of the logits)
 */
#include "checks.h"
#include "buffers.h"
#include "log_lines.h"
#include "plugin_functions.h"
#include "sequences.h"

#include <fcntl.h>

enum { CELLS = 640, PROMPT = 170, STEPS = 8, ROWS = 2048 };

static double bound;
static const char *spec;

/* ---- ways ---- */

typedef struct way {
    const char *name;
    int gpu_layers; /* LEAVE: as llama.cpp has it */
    int kqv;        /* offload_kqv; LEAVE */
    enum llama_flash_attn_type flash;
    int n_seq;
    bool own_streams; /* a stream for each sequence */
    bool whole_swa;   /* sliding windows have all cells, so that they can be shifted */
    bool bare;        /* no batch sizes, either */
} way;

enum { LEAVE = -100 };

static const way ways[] = {
    {"as llama.cpp has it", LEAVE, LEAVE, LLAMA_FLASH_ATTN_TYPE_AUTO, 1, false, true, true},
    {"-fa on", LEAVE, LEAVE, LLAMA_FLASH_ATTN_TYPE_ENABLED, 1, false, true, false},
    {"-ngl 0", 0, LEAVE, LLAMA_FLASH_ATTN_TYPE_AUTO, 1, false, true, false},
    {"-ngl 1", 1, LEAVE, LLAMA_FLASH_ATTN_TYPE_AUTO, 1, false, true, false},
    {"-ngl 99", 99, LEAVE, LLAMA_FLASH_ATTN_TYPE_AUTO, 1, false, true, false},
    {"-nkvo", LEAVE, 0, LLAMA_FLASH_ATTN_TYPE_AUTO, 1, false, true, false},
    {"-ngl 0 -nkvo -fa on", 0, 0, LLAMA_FLASH_ATTN_TYPE_ENABLED, 1, false, true, false},
    {"-fa off", LEAVE, LEAVE, LLAMA_FLASH_ATTN_TYPE_DISABLED, 1, false, true, false},
    {"-fa off -nkvo", 0, 0, LLAMA_FLASH_ATTN_TYPE_DISABLED, 1, false, true, false},
    {"three sequences, one stream", LEAVE, LEAVE, LLAMA_FLASH_ATTN_TYPE_AUTO, 3, false, true, false},
    {"three sequences, a stream each", LEAVE, LEAVE, LLAMA_FLASH_ATTN_TYPE_AUTO, 3, true, true, false},
    {"three sequences, -fa off", LEAVE, LEAVE, LLAMA_FLASH_ATTN_TYPE_DISABLED, 3, true, true, false},
    {"windows as rings", LEAVE, LEAVE, LLAMA_FLASH_ATTN_TYPE_AUTO, 2, false, false, false},
};

static struct llama_context_params params_of(const way *w)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)(CELLS * (w->own_streams ? w->n_seq : 1));
    params.n_threads = params.n_threads_batch = 2;
    if (!w->bare) {
        params.n_ubatch = 64;
        params.n_seq_max = (uint32_t)w->n_seq;
        params.kv_unified = !w->own_streams;
        params.swa_full = w->whole_swa;
        params.flash_attn_type = w->flash;
        params.offload_kqv = w->kqv == LEAVE ? params.offload_kqv : w->kqv != 0;
    }
    return params;
}

static struct llama_context *context(struct llama_model *model, const char *cache,
                                     struct llama_context_params params)
{
    set_cache(cache);
    log_forget();
    return llama_init_from_model(model, params);
}

/* ---- what is done, and the logits that it gives ---- */

typedef struct answers {
    float (*rows)[MODEL_VOCAB];
    int n;
    bool failed;
} answers;

static answers answers_make(void)
{
    return (answers){.rows = calloc(ROWS, sizeof(float[MODEL_VOCAB]))};
}

static void ask(answers *a, struct llama_context *c, int seq, int n_seq, int first, int n)
{
    if (decode_tokens(c, seq, n_seq, first, n) != 0 || a->n + n * n_seq > ROWS) {
        a->failed = true;
        return;
    }
    for (int i = 0; i < n * n_seq; i++) {
        memcpy(a->rows[a->n++], llama_get_logits_ith(c, i), sizeof *a->rows);
    }
}

static double answers_error(const answers *got, const answers *want)
{
    double squares = 0;
    if (got->failed || want->failed || got->n != want->n || want->n == 0) {
        return INFINITY;
    }
    for (int i = 0; i < want->n; i++) {
        double error = relative_error(got->rows[i], want->rows[i], MODEL_VOCAB);
        squares += error * error;
    }
    return sqrt(squares / want->n);
}

static bool answers_same(const answers *a, const answers *b)
{
    return !a->failed && !b->failed && a->n == b->n && a->n > 0 &&
           memcmp(a->rows, b->rows, (size_t)a->n * sizeof *a->rows) == 0;
}

/* Prompts and steps, a copied sequence, a shift, and a state that moves to another context. */
static void do_everything(answers *a, struct llama_model *model, struct llama_context *c, const char *cache,
                          const way *w)
{
    llama_memory_t memory = llama_get_memory(c);
    int pos = PROMPT;
    ask(a, c, 0, w->n_seq, 0, PROMPT);
    for (int i = 0; i < STEPS; i++) {
        ask(a, c, 0, w->n_seq, pos++, 1);
    }
    if (w->n_seq > 2) {
        llama_memory_seq_rm(memory, 2, -1, -1);
        llama_memory_seq_cp(memory, 0, 2, -1, -1);
        for (int i = 0; i < STEPS; i++) {
            ask(a, c, 0, 3, pos++, 1);
        }
    }
    if (llama_memory_can_shift(memory) && llama_memory_seq_rm(memory, 0, 20, 70)) {
        llama_memory_seq_add(memory, 0, 70, -1, -50);
        pos -= 50;
        for (int i = 0; i < STEPS; i++) {
            ask(a, c, 0, 1, pos++, 1);
        }
    }
    size_t size = llama_state_seq_get_size(c, 0);
    uint8_t *state = malloc(size);
    struct llama_context *other = context(model, cache, params_of(w));
    if (!other || llama_state_seq_get_data(c, state, size, 0) != size ||
        llama_state_seq_set_data(other, state, size, 0) != size) {
        a->failed = true;
    }
    for (int i = 0; i < STEPS && other; i++) {
        ask(a, other, 0, 1, pos++, 1);
    }
    free(state);
    llama_free(other);
}

/* ---- a way ---- */

/* The number after "splits = " in the log, as no function tells it, for both kinds of graph; 0: they differ,
 * or are not told. */
static int splits(void)
{
    char line[256] = "";
    int a = 0, b = 0;
    log_find("graph", "splits = ", line, sizeof line);
    const char *at = strstr(line, "splits = ");
    int n = at ? sscanf(at, "splits = %d / %d", &a, &b) : 0;
    return n == 1 || a == b ? a : 0;
}

static void check_compressed(const char *name, const struct llama_context *c)
{
    size_t reserved, used, f16;
    plugin.cache_bytes(&reserved, &used, &f16);
    report(reserved > 0 && used > 0 && used <= reserved,
           "%s: the cache is compressed (%zu of %zu bytes are used, f16 takes %zu)", name, used, reserved,
           f16);
    size_t known = buffers_bytes(c, BUFFERS_CACHE, "TADA");
    report(known == reserved, "%s: llama.cpp knows its size (%zu, %zu bytes)", name, known, reserved);
}

static void check_plain(const char *name)
{
    char line[512] = "";
    size_t f16 = 1;
    int n = log_find("TADA: ", "", line, sizeof line);
    plugin.cache_bytes(NULL, NULL, &f16);
    report(f16 == 0, "%s: nothing is compressed", name);
    report(n == 1 && strstr(line, "flash attention"), "%s: one line says why (%d lines; %s)", name, n, line);
}

static void run_way(const model_shape *shape, const way *w)
{
    char name[128];
    bool plain = w->flash == LLAMA_FLASH_ATTN_TYPE_DISABLED;
    snprintf(name, sizeof name, "%s: %s", shape->name, w->name);
    struct llama_model_params params = llama_model_default_params();
    params.n_gpu_layers = w->gpu_layers == LEAVE ? params.n_gpu_layers : w->gpu_layers;
    struct llama_model *model = random_model_load(shape, params);
    answers want = answers_make(), got = answers_make();
    struct llama_context *stock = context(model, "f16", params_of(w));
    if (stock) {
        do_everything(&want, model, stock, "f16", w);
        llama_free(stock);
    }
    struct llama_context *ours = context(model, spec, params_of(w));
    report(stock && ours, "%s: contexts are made", name);
    if (ours) {
        report(splits() == 1, "%s: one split a graph (%d)", name, splits());
        if (decode_tokens(ours, 0, 1, 0, 1) == 0 && decode_tokens(ours, 0, 1, 1, 1) == 0) {
            (plain ? check_plain(name) : check_compressed(name, ours));
        }
        llama_memory_clear(llama_get_memory(ours), true);
        do_everything(&got, model, ours, spec, w);
        llama_free(ours);
        double error = answers_error(&got, &want);
        if (plain) {
            report(answers_same(&got, &want), "%s: the same as without the plug-in, bit for bit (%.3g)", name,
                   error);
        } else {
            report(error <= bound, "%s: prompt, steps, copies, shift, state (error %.4f of %d rows)", name,
                   error, got.n);
        }
    }
    free(want.rows);
    free(got.rows);
    llama_model_free(model);
}

/* V of another type than K: neither can be compressed. */
static void run_mixed(struct llama_model *model, const model_shape *shape)
{
    size_t bytes[2] = {0, 0}, reserved = 1;
    for (int i = 0; i < 2; i++) {
        struct llama_context_params params = params_of(&ways[1]);
        params.type_v = GGML_TYPE_Q8_0;
        struct llama_context *c = context(model, i ? spec : "f16", params);
        bytes[i] = c ? buffers_bytes(c, BUFFERS_CACHE, "") : 0;
        plugin.cache_bytes(&reserved, NULL, NULL);
        report(c && decode_tokens(c, 0, 1, 0, PROMPT) == 0, "%s: K in f16, V in q8_0", shape->name);
        llama_free(c);
    }
    report(bytes[0] > 0 && bytes[0] == bytes[1] && reserved == 0,
           "%s: ... take what they take without the plug-in, before and after (%zu, %zu bytes; %zu)",
           shape->name, bytes[1], bytes[0], reserved);
}

/* ---- whoever looks at each node ---- */

typedef struct watcher {
    const char *only; /* nodes whose names begin so; "": all */
    int seen;
    uint64_t names; /* of those seen, in their order */
    float *attended;
    int n_attended, room;
} watcher;

static bool watch(struct ggml_tensor *node, bool is_question, void *data)
{
    watcher *w = data;
    bool wanted = strncmp(node->name, w->only, strlen(w->only)) == 0;
    if (is_question || !wanted) {
        return is_question ? wanted : true;
    }
    size_t size = ggml_nbytes(node);
    char *bytes = malloc(size + 1);
    w->seen++;
    for (const char *at = node->name; *at; at++) {
        w->names = (w->names ^ (uint8_t)*at) * 1099511628211u;
    }
    ggml_backend_tensor_get(node, bytes, 0, size);
    int n = (int)(size / sizeof(float));
    if (strncmp(node->name, "kqv_out", 7) == 0 && node->type == GGML_TYPE_F32) {
        if (w->n_attended + n > w->room) {
            w->room = 2 * (w->n_attended + n);
            w->attended = realloc(w->attended, (size_t)w->room * sizeof *w->attended);
        }
        memcpy(w->attended + w->n_attended, bytes, (size_t)n * sizeof(float));
        w->n_attended += n;
    }
    free(bytes);
    return true;
}

static void run_watched(struct llama_model *model, const model_shape *shape, const char *only)
{
    watcher watchers[2] = {{.only = only}, {.only = only}};
    answers rows[2] = {answers_make(), answers_make()};
    int n_told = 0, n_caches = shape->swa ? 2 : 1;
    for (int i = 0; i < 2; i++) {
        struct llama_context_params params = params_of(&ways[1]);
        params.cb_eval = watch;
        params.cb_eval_user_data = &watchers[i];
        struct llama_context *c = context(model, i ? spec : "f16", params);
        rows[i].failed = !c;
        if (c) {
            ask(&rows[i], c, 0, 1, 0, PROMPT);
            for (int s = 0; s < 70; s++) {
                ask(&rows[i], c, 0, 1, PROMPT + s, 1);
            }
            n_told = log_find("TADA: layers ", "planes compressed", NULL, 0);
            llama_free(c);
        }
    }
    watcher *stock = &watchers[0], *ours = &watchers[1];
    double error = answers_error(&rows[1], &rows[0]), within = 0;
    if (stock->n_attended > 0 && stock->n_attended == ours->n_attended) {
        within = relative_error(ours->attended, stock->attended, stock->n_attended);
    }
    const char *what = *only ? only : "every node";
    report(stock->seen == ours->seen && stock->names == ours->names && stock->seen > 0,
           "%s: cb_eval for %s sees the same nodes (%d, %d)", shape->name, what, stock->seen, ours->seen);
    report(error <= bound, "%s: cb_eval for %s: the logits (error %.4f)", shape->name, what, error);
    report(within <= 3 * bound, "%s: cb_eval for %s: what attention gives (error %.4f)", shape->name, what,
           within);
    report(n_told == n_caches, "%s: cb_eval for %s: each cache is told of once (%d lines for %d)",
           shape->name, what, n_told, n_caches);
    for (int i = 0; i < 2; i++) {
        free(rows[i].rows);
        free(watchers[i].attended);
    }
}

/* ---- a state that is shifted before anything is computed ---- */

static void run_shifted_first(struct llama_model *model, const model_shape *shape)
{
    answers rows[2] = {answers_make(), answers_make()};
    int n = 0;
    for (int i = 0; i < 2; i++) {
        const char *cache = i ? spec : "f16";
        struct llama_context *from = context(model, cache, params_of(&ways[1]));
        struct llama_context *to = context(model, cache, params_of(&ways[1]));
        llama_memory_t memory = llama_get_memory(to);
        rows[i].failed = decode_tokens(from, 0, 1, 0, PROMPT) != 0;
        size_t size = llama_state_seq_get_size(from, 0);
        uint8_t *state = malloc(size);
        log_forget();
        rows[i].failed = rows[i].failed || llama_state_seq_get_data(from, state, size, 0) != size ||
                         llama_state_seq_set_data(to, state, size, 0) != size;
        if (llama_memory_can_shift(memory) && llama_memory_seq_rm(memory, 0, 20, 70)) {
            llama_memory_seq_add(memory, 0, 70, -1, -50);
        }
        for (int pos = (int)llama_memory_seq_pos_max(memory, 0) + 1, end = pos + STEPS; pos < end; pos++) {
            ask(&rows[i], to, 0, 1, pos, 1);
        }
        n = log_find("TADA: ", "flash attention", NULL, 0);
        llama_free(from);
        llama_free(to);
        free(state);
    }
    double error = answers_error(&rows[1], &rows[0]);
    report(error <= bound, "%s: a state is shifted before anything is computed (error %.4f)", shape->name,
           error);
    report(n == 0, "%s: a shift does not say that attention is missing (%d lines)", shape->name, n);
    free(rows[0].rows);
    free(rows[1].rows);
}

/* ---- aborts ---- */

typedef struct alarm_clock {
    long calls, at; /* 0: never */
} alarm_clock;

static bool is_time(void *data)
{
    alarm_clock *clock = data;
    return clock->at && ++clock->calls >= clock->at;
}

/* Steps after a prompt that was aborted, and taken up again: where it stopped, or from the beginning. */
static void after_abort(answers *a, struct llama_context *c, alarm_clock *clock, long at, bool from_start)
{
    llama_memory_t memory = llama_get_memory(c);
    *clock = (alarm_clock){0, at};
    int status = decode_tokens(c, 0, 1, 0, PROMPT);
    clock->at = 0;
    if (status != 0) {
        if (from_start) {
            llama_memory_seq_rm(memory, 0, -1, -1);
        }
        int from = (int)llama_memory_seq_pos_max(memory, 0) + 1;
        a->failed = a->failed || status != 2 || decode_tokens(c, 0, 1, from, PROMPT - from) != 0;
    }
    for (int i = 0; i < 40; i++) {
        /* Steps are aborted, too, each at another node. */
        *clock = (alarm_clock){0, i % 2 ? 0 : 1 + (at * 7 + i * 13) % 160};
        status = at ? decode_tokens(c, 0, 1, PROMPT + i, 1) : 0;
        clock->at = 0;
        if (at) {
            llama_memory_seq_rm(memory, 0, PROMPT + i, -1);
        }
        a->failed = a->failed || (status != 0 && status != 2);
        ask(a, c, 0, 1, PROMPT + i, 1);
    }
}

static void run_aborted(struct llama_model *model, const model_shape *shape)
{
    alarm_clock clock = {0, 0};
    struct llama_context_params params = params_of(&ways[1]);
    params.abort_callback = is_time;
    params.abort_callback_data = &clock;
    answers want = answers_make();
    struct llama_context *c = context(model, "f16", params);
    after_abort(&want, c, &clock, 0, false);
    llama_free(c);
    double worst = 0;
    int n = 0;
    for (long at = 1; at < 420; at += 1 + at / 9, n++) {
        answers got = answers_make();
        c = context(model, spec, params);
        after_abort(&got, c, &clock, at, n % 2);
        llama_free(c);
        double error = answers_error(&got, &want);
        if (!(error <= bound)) {
            report(false, "%s: aborted at node %ld%s (error %.4f%s)", shape->name, at,
                   n % 2 ? ", from the beginning again" : "", error, got.failed ? ", a decode failed" : "");
        }
        worst = fmax(worst, error);
        free(got.rows);
    }
    report(worst <= bound, "%s: %d aborts in a prompt and in steps, and on from there (error %.4f)",
           shape->name, n, worst);
    free(want.rows);
}

/* ---- embeddings ---- */

static void run_embeddings(struct llama_model *model, const model_shape *shape,
                           enum llama_pooling_type pooling, enum llama_attention_type attention)
{
    float *rows[2] = {NULL, NULL};
    int width = llama_model_n_embd(model);
    for (int i = 0; i < 2; i++) {
        struct llama_context_params params = params_of(&ways[9]);
        params.n_ubatch = 3 * PROMPT; /* llama.cpp wants a multiple of the sequences */
        params.embeddings = true;
        params.pooling_type = pooling;
        params.attention_type = attention;
        struct llama_context *c = context(model, i ? spec : "f16", params);
        if (c && decode_tokens(c, 0, 3, 0, PROMPT) == 0) {
            const float *row = pooling == LLAMA_POOLING_TYPE_NONE
                                   ? llama_get_embeddings_ith(c, 3 * PROMPT - 1)
                                   : llama_get_embeddings_seq(c, 2);
            if (row) {
                rows[i] = malloc((size_t)width * sizeof(float));
                memcpy(rows[i], row, (size_t)width * sizeof(float));
            }
        }
        llama_free(c);
    }
    double error = rows[0] && rows[1] ? relative_error(rows[1], rows[0], width) : INFINITY;
    report(error <= bound, "%s: embeddings, pooling %d, attention %d (error %.4f)", shape->name, (int)pooling,
           (int)attention, error);
    free(rows[0]);
    free(rows[1]);
}

/* ---- all ---- */

static void run_shape(const model_shape *shape)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (ways[i].whole_swa || shape->swa) {
            run_way(shape, &ways[i]);
        }
    }
    struct llama_model *model = random_model_load(shape, llama_model_default_params());
    run_watched(model, shape, "");
    run_watched(model, shape, "kqv_out");
    run_watched(model, shape, "Kcur");
    run_shifted_first(model, shape);
    if (shape->family != FAMILY_MLA) { /* whose V is K */
        run_mixed(model, shape);
    }
    run_aborted(model, shape);
    run_embeddings(model, shape, LLAMA_POOLING_TYPE_NONE, LLAMA_ATTENTION_TYPE_CAUSAL);
    run_embeddings(model, shape, LLAMA_POOLING_TYPE_MEAN, LLAMA_ATTENTION_TYPE_CAUSAL);
    if (shape->family == FAMILY_LLAMA) {
        run_embeddings(model, shape, LLAMA_POOLING_TYPE_LAST, LLAMA_ATTENTION_TYPE_NON_CAUSAL);
    }
    llama_model_free(model);
}

/* Everything that is written to stderr goes to a file of no name. */
static int divert_stderr(void)
{
    FILE *file = tmpfile();
    if (!file || dup2(fileno(file), STDERR_FILENO) < 0) {
        exit(1);
    }
    return fileno(file);
}

static void check_stderr(int file)
{
    char text[4096] = "";
    fflush(stderr);
    ssize_t n = pread(file, text, sizeof text - 1, 0);
    report(n == 0, "nothing is printed past the log callback%s%s", n ? ": " : "", text);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: test_ways LIB_DIR PLUGIN SPEC BOUND\n");
        return 2;
    }
    spec = argv[3];
    bound = atof(argv[4]);
    if (!load_plugin(argv[1], argv[2], spec) || !find_plugin_functions()) {
        return 1;
    }
    llama_log_set(log_keep, NULL);
    int printed = divert_stderr();
    static const char *const names[] = {"gqa-64", "window-64", "mla", "sinks"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        run_shape(shape_named(names[i]));
    }
    check_stderr(printed);
    return failures > 0;
}
