/*
 * Sessions that llama.cpp saves to files, packed and unpacked: restored, they give the same logits, bit for
 * bit. test_sessions LIB_DIR PLUGIN SPEC                 on tiny random models test_sessions LIB_DIR PLUGIN
 * SPEC MODEL TEXT N    what restoring into other cells costs after N tokens of a text
 */
#include "../unit/folder.h"
#include "checks.h"
#include "plugin_functions.h"
#include "random_model.h"
#include "session.h"

#include <math.h>
#include <string.h>

enum { PROMPT = 700, FOLLOW = 10, UBATCH = 32, MOST = 512 };

static const model_shape shapes[] = {
    {"gqa-64", FAMILY_LLAMA, 4, 2, 64, 0, 0, 0, 0},
    {"gqa-96", FAMILY_LLAMA, 6, 2, 96, 0, 0, 0, 0},
    {"window-64", FAMILY_GEMMA2, 4, 2, 64, 0, 64, 0, 0},
    {"mla", FAMILY_MLA, 4, 1, 64, 64, 0, 0, 0},
};

/* ---- contexts ---- */

/* What the sequences say: token i of the first one. */
typedef struct speech {
    llama_token *tokens;
    int n;
} speech;

static const char *our_spec;

static struct llama_context *context(struct llama_model *model, bool ours, int n_cells)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)n_cells;
    params.n_batch = MOST;
    params.n_ubatch = UBATCH;
    params.n_seq_max = 4;
    params.n_threads = params.n_threads_batch = 2;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.kv_unified = true;
    params.swa_full = true;
    set_cache(ours ? our_spec : "f16");
    return llama_init_from_model(model, params);
}

/* Tokens [from, to) at their positions, of n_seq sequences from `seq` on, interleaved. */
static bool decode(struct llama_context *c, const speech *s, int seq, int n_seq, int from, int to)
{
    bool done = true;
    int most = MOST / n_seq;
    for (int at = from; at < to && done; at += most) {
        int n = to - at < most ? to - at : most;
        struct llama_batch batch = llama_batch_init(n * n_seq, 0, 1);
        for (int i = 0; i < n * n_seq; i++) {
            int pos = at + i / n_seq;
            batch.token[i] = s->tokens[(pos + 7 * (i % n_seq)) % s->n];
            batch.pos[i] = pos;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = seq + i % n_seq;
            batch.logits[i] = i == n * n_seq - 1;
        }
        batch.n_tokens = n * n_seq;
        done = llama_decode(c, batch) == 0;
        llama_batch_free(batch);
    }
    return done;
}

/* The logits after each of n tokens that follow, one by one, [n][n_vocab]; NAN where it fails. */
static float *follow(struct llama_context *c, const speech *s, int seq, int from, int n)
{
    size_t n_vocab = (size_t)llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(c)));
    float *logits = malloc((size_t)n * n_vocab * sizeof *logits);
    for (int i = 0; i < n; i++) {
        if (!decode(c, s, seq, 1, from + i, from + i + 1)) {
            logits[0] = NAN;
            break;
        }
        memcpy(logits + (size_t)i * n_vocab, llama_get_logits_ith(c, -1), n_vocab * sizeof *logits);
    }
    return logits;
}

static bool same_files(const char *a, const char *b)
{
    FILE *x = fopen(a, "rb"), *y = fopen(b, "rb");
    int from_x, from_y;
    do {
        from_x = x ? getc(x) : 0;
        from_y = y ? getc(y) : 1;
    } while (from_x == from_y && from_x != EOF);
    if (x) {
        fclose(x);
    }
    if (y) {
        fclose(y);
    }
    return from_x == from_y;
}

/* Packs a file and unpacks it again; returns packed bytes over its own. */
static double round_trip(const char *what, const char *saved, const char *back)
{
    tada_error error = {"the files differ"};
    session_sizes sizes = {0};
    bool good = session_pack_file(saved, path_of("packed"), true, NULL, &sizes, &error) == TADA_OK &&
                session_unpack_file(path_of("packed"), back, true, NULL, NULL, &error) == TADA_OK &&
                same_files(saved, back);
    double part = (double)sizes.packed / (double)sizes.plain;
    report(good, "%s: comes back byte for byte from %.1f %% (%.1f %% of its rows raw)%s%s", what, 100 * part,
           100 * (double)sizes.raw_rows / (double)sizes.rows, good ? "" : ": ", good ? "" : error.text);
    return part;
}

static bool save(struct llama_context *c, int seq, const char *path)
{
    return llama_state_seq_save_file(c, path, seq, NULL, 0) > 0;
}

static bool restore(struct llama_context *c, int seq, const char *path)
{
    size_t n;
    llama_token none;
    return llama_state_seq_load_file(c, path, seq, &none, 1, &n) > 0;
}

/* ---- random models ---- */

static void one_sequence(struct llama_model *model, const model_shape *shape, const speech *s)
{
    char what[80];
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    size_t bytes = (size_t)n_vocab * FOLLOW * sizeof(float);
    struct llama_context *first = context(model, true, 1024), *second = context(model, true, 1024);
    report(decode(first, s, 0, 1, 0, PROMPT) && save(first, 0, path_of("saved")), "%s: a sequence is saved",
           shape->name);
    snprintf(what, sizeof what, "%s: a sequence", shape->name);
    report(round_trip(what, path_of("saved"), path_of("back")) < 0.55, "%s: it is small", shape->name);
    float *before = follow(first, s, 0, PROMPT, FOLLOW);
    report(restore(second, 0, path_of("back")), "%s: a fresh context restores it", shape->name);
    report(save(second, 0, path_of("again")) && same_files(path_of("saved"), path_of("again")),
           "%s: saved from there it is the same", shape->name);
    float *after = follow(second, s, 0, PROMPT, FOLLOW);
    /* Sliding windows are saved without what lies before them, and come back in other cells. */
    bool exact = shape->swa == 0;
    report(!exact || memcmp(before, after, bytes) == 0, "%s: the logits are the same, bit for bit%s",
           shape->name, exact ? "" : " (not looked at: windows come back in other cells)");
    free(before);
    free(after);

    llama_memory_clear(llama_get_memory(second), true);
    report(llama_state_save_file(first, path_of("saved"), s->tokens, PROMPT), "%s: a context is saved",
           shape->name);
    snprintf(what, sizeof what, "%s: a context", shape->name);
    round_trip(what, path_of("saved"), path_of("back"));
    llama_token *tokens = malloc(PROMPT * sizeof *tokens);
    size_t n = 0;
    report(llama_state_load_file(second, path_of("back"), tokens, PROMPT, &n) && n == PROMPT,
           "%s: and restored", shape->name);
    before = follow(first, s, 0, PROMPT + FOLLOW, FOLLOW);
    after = follow(second, s, 0, PROMPT + FOLLOW, FOLLOW);
    report(!exact || memcmp(before, after, bytes) == 0, "%s: with the same logits, bit for bit%s",
           shape->name, exact ? "" : " (not looked at)");
    free(tokens);
    free(before);
    free(after);
    llama_free(first);
    llama_free(second);
}

/* Sequences that share tiles: a file has some cells of each. */
static void four_sequences(struct llama_model *model, const model_shape *shape, const speech *s)
{
    char what[80];
    struct llama_context *c = context(model, true, 1536);
    bool done = decode(c, s, 0, 4, 0, 200);
    for (int i = 0; i < 100 && done; i++) {
        done = decode(c, s, 0, 4, 200 + i, 201 + i);
    }
    llama_memory_seq_rm(llama_get_memory(c), 1, 100, 120);
    llama_memory_seq_rm(llama_get_memory(c), 2, -1, -1);
    snprintf(what, sizeof what, "%s: one of four sequences in one cache, with a hole", shape->name);
    report(done && save(c, 1, path_of("saved")), "%s is saved", what);
    report(round_trip(what, path_of("saved"), path_of("back")) < 0.6, "%s is small", what);
    report(restore(c, 2, path_of("back")), "%s is restored as another one", what);
    llama_free(c);
}

static void random_models(void)
{
    llama_token tokens[2048];
    const speech s = {tokens, 2048};
    for (int i = 0; i < s.n; i++) {
        uint32_t x = (uint32_t)i * 2654435761u;
        tokens[i] = (llama_token)((x ^ x >> 15) * 2246822519u >> 13) % MODEL_VOCAB;
        tokens[i] = tokens[i] < 0 ? -tokens[i] : tokens[i];
    }
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const char *path = path_of("model.gguf");
        struct llama_model *model = random_model_write(&shapes[i], path)
                                        ? llama_model_load_from_file(path, llama_model_default_params())
                                        : NULL;
        report(model, "%s: the model is loaded", shapes[i].name);
        if (model) {
            one_sequence(model, &shapes[i], &s);
            four_sequences(model, &shapes[i], &s);
            llama_model_free(model);
        }
    }
}

/* ---- a real model ---- */

static void to_log_probabilities(float *logits, int n)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) {
        most = logits[i] > most ? logits[i] : most;
    }
    for (int i = 0; i < n; i++) {
        sum += exp(logits[i] - most);
    }
    for (int i = 0; i < n; i++) {
        logits[i] = (float)(logits[i] - most - log(sum));
    }
}

/* Mean KL divergence over n tokens; `want` are log probabilities. */
static double divergence(const float *want, const float *logits, int n, int n_vocab)
{
    float *row = malloc((size_t)n_vocab * sizeof *row);
    double sum = 0;
    for (int t = 0; t < n; t++) {
        const float *p = want + (size_t)t * (size_t)n_vocab;
        memcpy(row, logits + (size_t)t * (size_t)n_vocab, (size_t)n_vocab * sizeof *row);
        to_log_probabilities(row, n_vocab);
        for (int i = 0; i < n_vocab; i++) {
            sum += exp(p[i]) * (p[i] - row[i]);
        }
    }
    free(row);
    return sum / n;
}

static bool read_text(const char *path, struct llama_model *model, int most, speech *s)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc((size_t)most * 16);
    size_t size = file ? fread(text, 1, (size_t)most * 16, file) : 0;
    s->tokens = malloc((size_t)most * 16 * sizeof *s->tokens);
    s->n = llama_tokenize(llama_model_get_vocab(model), text, (int)size, s->tokens, most * 16, true, false);
    free(text);
    if (file) {
        fclose(file);
    }
    return s->n >= most;
}

enum { TURNS = 4, AFTER = 64 };

/* One cache that is looked at, and how far the next tokens are from those of the f16 cache. */
typedef struct look {
    struct llama_context *c;
    const speech *s;
    const float *want; /* log probabilities [AFTER][n_vocab] */
    int n, n_vocab;
} look;

static double look_on(const look *l)
{
    float *logits = follow(l->c, l->s, 0, l->n, AFTER);
    double kld = divergence(l->want, logits, AFTER, l->n_vocab);
    free(logits);
    return kld;
}

/* An empty cache, but for so many cells of another sequence. */
static void begin_at(const look *l, int cell)
{
    llama_memory_clear(llama_get_memory(l->c), true);
    decode(l->c, l->s, 1, 1, 0, cell);
}

/* Each turn restores the session behind as many cells of another sequence, and saves it from there. */
static void take_turns(const look *l)
{
    static const int offsets[TURNS] = {37, 5, 50, 21};
    printf("first cell  computed there  restored there once  saved and restored in turn\n");
    for (int turn = 0; turn < TURNS; turn++) {
        begin_at(l, offsets[turn]);
        decode(l->c, l->s, 0, 1, 0, l->n);
        double computed = look_on(l);
        begin_at(l, offsets[turn]);
        bool good = restore(l->c, 0, path_of("saved"));
        double once = look_on(l);
        begin_at(l, offsets[turn]);
        good = good && restore(l->c, 0, path_of("back")) && save(l->c, 0, path_of("back"));
        if (!good) {
            report(false, "a session is restored and saved");
            return;
        }
        printf("%10d  %14.6f  %19.6f  %26.6f\n", offsets[turn], computed, once, look_on(l));
        fflush(stdout);
    }
}

/* Ten tokens less at a third of the sequence, and the later ones moved there. */
static void move(struct llama_context *c, const speech *s, int n)
{
    llama_memory_t memory = llama_get_memory(c);
    llama_memory_seq_rm(memory, 0, n / 3, n / 3 + 10);
    llama_memory_seq_add(memory, 0, n / 3 + 10, -1, -10);
    /* It happens when something is computed next. */
    decode(c, s, 0, 1, n - 10, n - 9);
    llama_memory_seq_rm(memory, 0, n - 10, -1);
}

/* want: of the f16 cache after the same shift. */
static void shift(const look *l, const float *want)
{
    look moved = *l;
    moved.n = l->n - 10;
    moved.want = want;
    begin_at(l, 0);
    restore(l->c, 0, path_of("saved"));
    move(l->c, l->s, l->n);
    save(l->c, 0, path_of("back"));
    round_trip("a session that was shifted", path_of("back"), path_of("again"));
    double before = look_on(&moved);
    begin_at(l, 0);
    restore(l->c, 0, path_of("again"));
    double after = look_on(&moved);
    printf("shifted: never saved %.6f, restored into the same cells %.6f\n", before, after);
}

/* Log probabilities of the next tokens. */
static float *next_of(struct llama_context *c, const speech *s, int n, int n_vocab)
{
    float *logits = follow(c, s, 0, n, AFTER);
    for (int i = 0; i < AFTER; i++) {
        to_log_probabilities(logits + (size_t)i * (size_t)n_vocab, n_vocab);
    }
    return logits;
}

static void real_model(const char *path, const char *text, int n)
{
    struct llama_model *model = llama_model_load_from_file(path, llama_model_default_params());
    speech s;
    if (!model || !read_text(text, model, n + 2 * AFTER, &s)) {
        report(false, "the model or the text (%d tokens) cannot be read", n + 2 * AFTER);
        return;
    }
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model)), n_cells = n + 2 * AFTER + 256;
    struct llama_context *f16 = context(model, false, n_cells);
    decode(f16, &s, 0, 1, 0, n);
    float *want = next_of(f16, &s, n, n_vocab);
    llama_memory_seq_rm(llama_get_memory(f16), 0, n, -1);
    move(f16, &s, n);
    float *want_moved = next_of(f16, &s, n - 10, n_vocab);
    llama_free(f16);
    look l = {context(model, true, n_cells), &s, want, n, n_vocab};
    decode(l.c, &s, 0, 1, 0, n);
    save(l.c, 0, path_of("saved"));
    round_trip("a session", path_of("saved"), path_of("back"));
    double never = look_on(&l);
    begin_at(&l, 0);
    restore(l.c, 0, path_of("back"));
    printf(
        "mean KL divergence from f16 of the next %d tokens: never saved %.6f, restored into the same cells "
        "%.6f\n",
        AFTER, never, look_on(&l));
    take_turns(&l);
    shift(&l, want_moved);
    free(want);
    free(want_moved);
    free(s.tokens);
    llama_free(l.c);
    llama_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 7) {
        fprintf(stderr, "usage: test_sessions LIB_DIR PLUGIN SPEC [MODEL TEXT N]\n");
        return 2;
    }
    our_spec = argv[3];
    if (!load_plugin(argv[1], argv[2], argv[3]) || !find_plugin_functions() || !make_folder()) {
        return 1;
    }
    if (argc == 7) {
        real_model(argv[4], argv[5], atoi(argv[6]));
    } else {
        random_models();
    }
    return !remove_folder() || failures > 0;
}
