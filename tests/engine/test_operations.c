/*
 * Everything that llama.cpp does to a KV cache, done to the stock f16 cache and to ours in one process: the
 * logits must stay together.  test_operations LIB_DIR PLUGIN SPEC BOUND [SHAPE]    (BOUND: of the relative
 * error of the logits; PLUGIN may be rpc:HOST:PORT, an RPC server that has the plug-in and this spec)
 */
#include "checks.h"
#include "plugin_functions.h"
#include "random_model.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { CELLS = 768, UBATCH = 32, PROMPT = 330, MOST = 512 };

typedef struct pair {
    struct llama_context *stock, *ours;
    const char *what;
    double squares; /* of the relative errors of `steps` rows of logits */
    int steps;
    int n_vocab;
} pair;

static double bound;
static bool remote; /* ours is on an RPC server; else both are in this process */
static const char *our_spec;

/* The token that a sequence has at a position, the same in every run. */
static llama_token token_at(int seq, int pos, int salt)
{
    uint32_t x = (uint32_t)pos * 2654435761u ^ (uint32_t)(seq + 1) * 40503u ^ (uint32_t)salt * 97u;
    x ^= x >> 15;
    x *= 2246822519u;
    return (llama_token)((x >> 13) % MODEL_VOCAB);
}

/* whole: the cache of sliding windows too, so that tokens can be removed and shifted. */
static struct llama_context *context(struct llama_model *model, bool ours, int n_seq, bool unified,
                                     bool whole)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)(unified ? CELLS : CELLS * n_seq);
    params.n_batch = MOST;
    params.n_ubatch = UBATCH;
    params.n_seq_max = (uint32_t)n_seq;
    params.n_threads = params.n_threads_batch = 2;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.kv_unified = unified;
    params.swa_full = whole;
    if (!remote) {
        set_cache(ours ? our_spec : "f16");
    }
    params.offload_kqv = ours || !remote;
    return llama_init_from_model(model, params);
}

static pair pair_make(struct llama_model *model, const char *what, int n_seq, bool unified)
{
    return (pair){.stock = context(model, false, n_seq, unified, true),
                  .ours = context(model, true, n_seq, unified, true),
                  .what = what,
                  .n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model))};
}

static void pair_done(pair *p, const model_shape *shape)
{
    double error = p->steps ? sqrt(p->squares / p->steps) : 0;
    report(error <= bound, "%s: %s (error %.4f)", shape->name, p->what, error);
    llama_free(p->stock);
    llama_free(p->ours);
}

/* n tokens from position `first` on of each sequence in [seq, seq + n_seq), interleaved, in one batch. */
static bool decode(struct llama_context *c, int seq, int n_seq, int first, int n, int salt)
{
    struct llama_batch batch = llama_batch_init(n * n_seq, 0, 1);
    for (int i = 0; i < n; i++) {
        for (int s = 0; s < n_seq; s++) {
            int at = batch.n_tokens++;
            batch.token[at] = token_at(seq + s, first + i, salt);
            batch.pos[at] = first + i;
            batch.n_seq_id[at] = 1;
            batch.seq_id[at][0] = seq + s;
            batch.logits[at] = true;
        }
    }
    bool done = llama_decode(c, batch) == 0;
    llama_batch_free(batch);
    return done;
}

static void add_error(pair *p, double error)
{
    p->squares += error * error;
    p->steps++;
}

static void step(pair *p, int seq, int n_seq, int first, int n, int salt)
{
    if (!decode(p->stock, seq, n_seq, first, n, salt) || !decode(p->ours, seq, n_seq, first, n, salt)) {
        add_error(p, INFINITY);
        return;
    }
    for (int i = 0; i < n * n_seq; i++) {
        add_error(p, relative_error(llama_get_logits_ith(p->ours, i), llama_get_logits_ith(p->stock, i),
                                    p->n_vocab));
    }
}

static void prefill(pair *p, int seq, int n_seq, int from, int to, int salt)
{
    int most = MOST / n_seq;
    for (int at = from; at < to; at += most) {
        step(p, seq, n_seq, at, to - at < most ? to - at : most, salt);
    }
}

static bool remove_both(pair *p, int seq, int from, int to)
{
    bool stock = llama_memory_seq_rm(llama_get_memory(p->stock), seq, from, to);
    bool ours = llama_memory_seq_rm(llama_get_memory(p->ours), seq, from, to);
    if (stock != ours) {
        add_error(p, INFINITY);
    }
    return stock && ours;
}

static void generation(struct llama_model *model, const model_shape *shape)
{
    pair p = pair_make(model, "prompt and tokens one by one", 1, true);
    prefill(&p, 0, 1, 0, PROMPT, 0);
    for (int i = 0; i < 80; i++) {
        step(&p, 0, 1, PROMPT + i, 1, 0);
    }
    pair_done(&p, shape);
}

/* Sliding windows in caches of their own size, which are rings. */
static void rings(struct llama_model *model, const model_shape *shape)
{
    pair p = {.stock = context(model, false, 2, false, false),
              .ours = context(model, true, 2, false, false),
              .what = "sliding windows as rings",
              .n_vocab = MODEL_VOCAB};
    prefill(&p, 0, 2, 0, PROMPT, 0);
    for (int i = 0; i < 150; i++) {
        step(&p, 0, 2, PROMPT + i, 1, 0);
    }
    pair_done(&p, shape);
}

/* Drafts of eight tokens, of which some are rejected and others take their place. */
static void speculation(struct llama_model *model, const model_shape *shape)
{
    pair p = pair_make(model, "drafts that are rejected in part", 1, true);
    prefill(&p, 0, 1, 0, PROMPT, 0);
    for (int i = 0, at = PROMPT; i < 20; i++) {
        step(&p, 0, 1, at, 8, i);
        at += 1 + i % 8;
        if (!remove_both(&p, 0, at, -1)) {
            add_error(&p, INFINITY);
        }
    }
    pair_done(&p, shape);
}

static void removal(struct llama_model *model, const model_shape *shape)
{
    pair p = pair_make(model, "removal and other tokens instead", 1, true);
    prefill(&p, 0, 1, 0, PROMPT, 0);
    if (remove_both(&p, 0, 150, -1)) {
        prefill(&p, 0, 1, 150, PROMPT + 40, 7);
        step(&p, 0, 1, PROMPT + 40, 1, 7);
    }
    pair_done(&p, shape);
}

static void shift(struct llama_model *model, const model_shape *shape)
{
    pair p = pair_make(model, "shift of positions", 1, true);
    prefill(&p, 0, 1, 0, PROMPT, 0);
    llama_memory_t stock = llama_get_memory(p.stock), ours = llama_get_memory(p.ours);
    bool can = llama_memory_can_shift(stock);
    if (can != llama_memory_can_shift(ours)) {
        add_error(&p, INFINITY);
    } else if (can && remove_both(&p, 0, 70, 170)) {
        llama_memory_seq_add(stock, 0, 170, -1, -100);
        llama_memory_seq_add(ours, 0, 170, -1, -100);
        for (int i = 0; i < 10; i++) {
            step(&p, 0, 1, PROMPT - 100 + i, 1, 3);
        }
        prefill(&p, 0, 1, PROMPT - 90, PROMPT, 3);
    }
    pair_done(&p, shape);
}

static uint8_t *state_of_seq(struct llama_context *c, int seq, size_t *size)
{
    *size = llama_state_seq_get_size(c, seq);
    uint8_t *data = malloc(*size);
    *size = llama_state_seq_get_data(c, data, *size, seq);
    return data;
}

static uint8_t *state_of(struct llama_context *c, size_t *size)
{
    return state_of_seq(c, 0, size);
}

/* A state ends with the last layer's row of the last token. Cells that lie among those of other sequences are
 * read one by one: from what is there now, not from what was there when they were read last. */
static void fresh_rows(pair *p, const model_shape *shape, int seq, int pos)
{
    static const uint8_t none[32];
    size_t size;
    bool fresh = true;
    for (int i = 0; i < 3; i++) {
        step(p, seq, 1, pos + i, 1, 9);
        uint8_t *state = state_of_seq(p->ours, seq, &size);
        fresh = fresh && size > sizeof none && memcmp(state + size - sizeof none, none, sizeof none) != 0;
        free(state);
    }
    report(fresh, "%s: a state has the rows that were written last", shape->name);
}

/* Makes the shift happen that was asked for: it waits for the next batch. Another sequence's token, which
 * leaves the tiles alone that are compared. */
static bool settle_shift(struct llama_context *c)
{
    return decode(c, 1, 1, 0, 1, 0);
}

static double value_of(uint16_t half)
{
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double size = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return half & 0x8000 ? -size : size;
}

/* How far two states of as many bytes are apart, in the size of the rows that differ. */
static double distance_of(const uint8_t *a, const uint8_t *b, size_t size)
{
    double error = 0, energy = 0;
    for (size_t i = 0; i + 1 < size; i += 2) {
        uint16_t x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        if (x != y) {
            error += (value_of(x) - value_of(y)) * (value_of(x) - value_of(y));
            energy += value_of(y) * value_of(y);
        }
    }
    return energy > 0 ? sqrt(error / energy) : 0;
}

/* Whether the ROPE of a shift makes rows longer. */
static bool stretches(const model_shape *shape)
{
    return shape->family == FAMILY_LLAMA3 || shape->family == FAMILY_QWEN2;
}

/*
 * What a shift leaves is what the CPU's shift of the decoded rows leaves: but for roundings of f16 where
 * whole tiles move, and for what codes lose where parts of them do.
 */
static void exact_shift(struct llama_model *model, const model_shape *shape, bool whole_tiles)
{
    pair p = pair_make(model, "", 2, true);
    llama_memory_t stock = llama_get_memory(p.stock), ours = llama_get_memory(p.ours);
    size_t size, shifted_size, want_size;
    bool done = decode(p.ours, 0, 1, 0, PROMPT, 0);
    uint8_t *state = state_of(p.ours, &size);
    done = done && llama_state_seq_set_data(p.stock, state, size, 0) > 0;
    /* By two distances; the first tile stays. */
    int from = whole_tiles ? 64 : 100, to = whole_tiles ? 192 : 200;
    for (int i = 0; i < 2; i++) {
        llama_memory_seq_add(i ? ours : stock, 0, from, to, 50);
        llama_memory_seq_add(i ? ours : stock, 0, whole_tiles ? 256 : 250, -1, 77);
    }
    done = done && settle_shift(p.stock) && settle_shift(p.ours);
    uint8_t *shifted = state_of(p.ours, &shifted_size), *want = state_of(p.stock, &want_size);
    bool moved = size == shifted_size && memcmp(state, shifted, size) != 0;
    double apart = size == want_size ? distance_of(shifted, want, size) : INFINITY;
    report(done && moved && apart < (whole_tiles && !stretches(shape) ? 1.5e-3 : bound),
           "%s: a shift of %s is that of the CPU backend on decoded rows (apart by %.5f)", shape->name,
           whole_tiles ? "whole tiles" : "parts of tiles", apart);
    free(state);
    free(shifted);
    free(want);
    llama_free(p.stock);
    llama_free(p.ours);
}

/* The error in the mean of ten tokens from `at` on, and afterwards none. */
static double error_of_ten(pair *p, int at)
{
    p->squares = p->steps = 0;
    for (int i = 0; i < 10; i++) {
        step(p, 0, 1, at + i, 1, 5);
    }
    double error = sqrt(p->squares / p->steps);
    p->squares = p->steps = 0;
    return error;
}

/* The same sequence at other positions, again and again: nothing is rounded once more but rows in f16. The
 * tokens that are compared are others afterwards, whose errors differ by half; rows that are encoded at each
 * shift give 20 times as much. */
static void many_shifts(struct llama_model *model, const model_shape *shape)
{
    enum { SHIFTS = 30, BY = 7 };
    pair p = pair_make(model, "", 1, true);
    prefill(&p, 0, 1, 0, PROMPT, 0);
    double before = error_of_ten(&p, PROMPT);
    int at = PROMPT + 10;
    for (int i = 0; i < SHIFTS; i++, at += BY + 1) {
        llama_memory_seq_add(llama_get_memory(p.stock), 0, 0, -1, BY);
        llama_memory_seq_add(llama_get_memory(p.ours), 0, 0, -1, BY);
        step(&p, 0, 1, at + BY, 1, 5);
    }
    double after = error_of_ten(&p, at);
    report(after <= 2 * before + 1e-3, "%s: %d shifts (error %.4f, before %.4f)", shape->name, SHIFTS, after,
           before);
    llama_free(p.stock);
    llama_free(p.ours);
}

/* What a context cannot give back by removal alone (rings, recurrent states) it takes from a checkpoint:
 * drafts that are rejected in part, as the server does it. */
static void checkpoints(struct llama_model *model, const model_shape *shape, bool on_device)
{
    enum { DRAFT = 6 };
    llama_state_seq_flags flags =
        LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY | (on_device ? LLAMA_STATE_SEQ_FLAGS_ON_DEVICE : 0);
    pair p = {.stock = context(model, false, 1, false, false),
              .ours = context(model, true, 1, false, false),
              .what = on_device ? "checkpoints on the device" : "checkpoints",
              .n_vocab = MODEL_VOCAB};
    struct llama_context *both[] = {p.stock, p.ours};
    prefill(&p, 0, 1, 0, PROMPT, 0);
    for (int i = 0, at = PROMPT; i < 12; i++) {
        uint8_t *saved[2];
        size_t size[2];
        for (int c = 0; c < 2; c++) {
            size[c] = llama_state_seq_get_size_ext(both[c], 0, flags);
            saved[c] = malloc(size[c] + 1);
            if (llama_state_seq_get_data_ext(both[c], saved[c], size[c], 0, flags) != size[c]) {
                add_error(&p, INFINITY);
            }
        }
        step(&p, 0, 1, at, DRAFT, i);
        for (int c = 0; c < 2; c++) {
            if (llama_state_seq_set_data_ext(both[c], saved[c], size[c], 0, flags) != size[c] ||
                !llama_memory_seq_rm(llama_get_memory(both[c]), 0, at, -1)) {
                add_error(&p, INFINITY);
            }
            free(saved[c]);
        }
        step(&p, 0, 1, at, 1 + i % DRAFT, i + 50);
        at += 1 + i % DRAFT;
    }
    pair_done(&p, shape);
}

/* Four sequences in one cache, then one of them removed and replaced by a copy of another. */
static void sequences(struct llama_model *model, const model_shape *shape, bool unified)
{
    pair p = pair_make(
        model, unified ? "four sequences in one cache" : "four sequences in caches of their own", 4, unified);
    prefill(&p, 0, 4, 0, 130, 0);
    for (int i = 0; i < 30; i++) {
        step(&p, 0, 4, 130 + i, 1, 0);
    }
    if (unified && shape->family == FAMILY_LLAMA) {
        fresh_rows(&p, shape, 3, 160);
    }
    remove_both(&p, 2, -1, -1);
    llama_memory_seq_cp(llama_get_memory(p.stock), 1, 2, -1, -1);
    llama_memory_seq_cp(llama_get_memory(p.ours), 1, 2, -1, -1);
    for (int i = 0; i < 20; i++) {
        step(&p, 1, 2, 160 + i, 1, 0);
    }
    remove_both(&p, 0, -1, -1);
    step(&p, 0, 1, 0, 40, 5);
    pair_done(&p, shape);
}

/* The logits of ten tokens that follow, [10][n_vocab]. */
static float *follow(struct llama_context *c, int n_vocab, int first)
{
    float *logits = malloc((size_t)n_vocab * 10 * sizeof *logits);
    for (int i = 0; i < 10; i++) {
        if (!decode(c, 0, 1, first + i, 1, 0)) {
            logits[0] = NAN;
            break;
        }
        memcpy(logits + (size_t)i * (size_t)n_vocab, llama_get_logits_ith(c, 0),
               (size_t)n_vocab * sizeof *logits);
    }
    return logits;
}

/* Saved and restored: the same logits, bit for bit. What is damaged is refused, and nothing is lost by it. */
static void saved_state(struct llama_model *model, const model_shape *shape)
{
    pair p = pair_make(model, "a state of ours in a stock cache", 1, true);
    size_t size, bytes = (size_t)p.n_vocab * 10 * sizeof(float);
    prefill(&p, 0, 1, 0, PROMPT, 0);
    /* Sliding windows come back in other cells. */
    bool exact = shape->swa == 0;
    uint8_t *state = state_of(p.ours, &size);
    float *before = follow(p.ours, p.n_vocab, PROMPT);
    llama_memory_t ours = llama_get_memory(p.ours);

    llama_memory_clear(ours, true);
    report(llama_state_seq_set_data(p.ours, state, size, 0) > 0, "%s: a state is restored", shape->name);
    float *after = follow(p.ours, p.n_vocab, PROMPT);
    report(exact ? memcmp(before, after, bytes) == 0 : relative_error(after, before, p.n_vocab) <= bound,
           "%s: the logits after it are those before%s", shape->name, exact ? ", bit for bit" : "");

    if (!llama_memory_seq_rm(ours, 0, PROMPT, -1)) {
        llama_memory_clear(ours, true);
        llama_state_seq_set_data(p.ours, state, size, 0);
    }
    size_t again_size;
    uint8_t *again = state_of(p.ours, &again_size);
    report(size == again_size && (!exact || memcmp(state, again, size) == 0),
           "%s: saved again it is the same state", shape->name);

    size_t restored = llama_state_seq_set_data(p.stock, state, size, 0);
    float *stock = follow(p.stock, p.n_vocab, PROMPT);
    add_error(&p, restored ? relative_error(stock, before, p.n_vocab) : INFINITY);

    /* Truncated, then foreign: refused, and the context goes on. */
    const size_t lengths[] = {0, 3, 100, size / 3, size - 1};
    bool refused = true;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        refused = refused && llama_state_seq_set_data(p.ours, state, lengths[i], 0) == 0;
    }
    report(refused, "%s: a truncated state is refused", shape->name);
    for (size_t i = 0; i < 64; i++) {
        again[i] = (uint8_t)token_at(0, (int)i, 1);
    }
    report(llama_state_seq_set_data(p.ours, again, size, 0) == 0, "%s: a foreign state is refused",
           shape->name);
    llama_memory_seq_rm(ours, 0, -1, -1);
    llama_state_seq_set_data(p.ours, state, size, 0);
    free(after);
    after = follow(p.ours, p.n_vocab, PROMPT);
    report(exact ? memcmp(before, after, bytes) == 0 : relative_error(after, before, p.n_vocab) <= bound,
           "%s: and the sound one is restored after that", shape->name);
    free(state);
    free(again);
    free(before);
    free(after);
    free(stock);
    pair_done(&p, shape);
}

static void cleared(struct llama_model *model, const model_shape *shape)
{
    pair p = pair_make(model, "a cleared cache", 1, true);
    size_t bytes = (size_t)p.n_vocab * 10 * sizeof(float);
    prefill(&p, 0, 1, 0, PROMPT, 0);
    float *before = follow(p.ours, p.n_vocab, PROMPT);
    llama_memory_clear(llama_get_memory(p.ours), true);
    llama_memory_clear(llama_get_memory(p.stock), true);
    prefill(&p, 0, 1, 0, PROMPT, 0);
    float *after = follow(p.ours, p.n_vocab, PROMPT);
    report(memcmp(before, after, bytes) == 0, "%s: a cleared cache gives the same again", shape->name);
    free(before);
    free(after);
    pair_done(&p, shape);
}

/* Loads llama.cpp with the devices of an RPC server. */
static bool load_server(const char *libraries, const char *endpoint)
{
    llama_log_set(quiet, NULL);
    ggml_backend_load_all_from_path(libraries);
    ggml_backend_reg_t rpc = ggml_backend_reg_by_name("RPC");
    ggml_backend_reg_t (*add)(const char *) = NULL;
    if (rpc) {
        *(void **)&add = ggml_backend_reg_get_proc_address(rpc, "ggml_backend_rpc_add_server");
    }
    ggml_backend_reg_t server = add ? add(endpoint) : NULL;
    if (server) {
        ggml_backend_register(server);
    } else {
        fprintf(stderr, "the server %s cannot be used\n", endpoint);
    }
    return server != NULL;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: test_operations LIB_DIR PLUGIN SPEC BOUND [SHAPE]\n");
        return 2;
    }
    const char *server = strncmp(argv[2], "rpc:", 4) == 0 ? argv[2] + 4 : NULL;
    bound = atof(argv[4]);
    remote = server != NULL;
    our_spec = argv[3];
    if (remote ? !load_server(argv[1], server)
               : !load_plugin(argv[1], argv[2], argv[3]) || !find_plugin_functions()) {
        return 1;
    }
    for (int i = 0; random_model_shape(i); i++) {
        const model_shape *shape = random_model_shape(i);
        const char *name = shape->name;
        char path[] = "tada-model-XXXXXX";
        if (argc > 5 && strcmp(argv[5], name) != 0) {
            continue;
        }
        int file = mkstemp(path);
        bool written = file >= 0 && random_model_write(shape, path);
        struct llama_model *model =
            written ? llama_model_load_from_file(path, llama_model_default_params()) : NULL;
        close(file);
        unlink(path);
        if (!model) {
            report(false, "%s: the model is not loaded", name);
            continue;
        }
        generation(model, shape);
        if (shape->swa) {
            rings(model, shape);
        }
        if (shape->swa || model_is_hybrid(shape)) {
            checkpoints(model, shape, false);
            checkpoints(model, shape, true);
        }
        if (!model_is_hybrid(shape)) {
            speculation(model, shape);
        }
        removal(model, shape);
        shift(model, shape);
        if (shape->swa == 0 && !model_is_hybrid(shape) && shape->family != FAMILY_MPT) {
            exact_shift(model, shape, true);
            exact_shift(model, shape, false);
            if (!stretches(shape)) {
                many_shifts(model, shape);
            }
        }
        sequences(model, shape, true);
        sequences(model, shape, false);
        saved_state(model, shape);
        cleared(model, shape);
        llama_model_free(model);
    }
    printf("%d checks failed\n", failures);
    return failures > 0;
}
