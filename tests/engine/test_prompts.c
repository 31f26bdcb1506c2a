/*
 * States of sequences in the caches' own form, through the plug-in's functions: what is restored, here or in
 * another slot, gives the logits that it gave, bit for bit, and damaged states are refused.
 *     engine_prompts LIB_DIR PLUGIN [MODEL TOKENS PROMPTS]
 * With a model it measures instead: bytes, resident memory and times of prompts of so many tokens.
 */
#include "checks.h"
#include "plugin_functions.h"
#include "random_model.h"
#include "state_file.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CELLS = 1024, PROMPT = 400, STEP = 4001 };

typedef struct state {
    uint8_t *bytes;
    size_t size;
} state;

typedef struct call {
    struct llama_context *context;
    int sequence;
    unsigned flags;
} call;

static int n_vocab;
static const char label[] = "what the caller wants to know of a state";

static size_t get(void *host, uint8_t *to, size_t size)
{
    const call *c = host;
    return llama_state_seq_get_data_ext(c->context, to, size, c->sequence, c->flags);
}

static size_t set(void *host, const uint8_t *from, size_t size)
{
    const call *c = host;
    return llama_state_seq_set_data_ext(c->context, from, size, c->sequence, c->flags);
}

static state save(struct llama_context *context, int sequence, unsigned flags)
{
    call c = {context, sequence, flags};
    size_t plain = llama_state_seq_get_size_ext(context, sequence, flags);
    state s = {.size = plugin.state_bytes(get, &c, plain, sizeof label)};
    s.bytes = malloc(s.size + 1);
    if (s.size > 0 && plugin.state_save(get, &c, plain, label, sizeof label, s.bytes, s.size) != s.size) {
        report(false, "a state of %zu bytes is not saved in as many", s.size);
        s.size = 0;
    }
    size_t bytes = 0, hidden;
    const void *found = s.size > 0 ? state_label(s.bytes, 64, &bytes) : NULL;
    report(s.size == 0 || (found && bytes == sizeof label && memcmp(found, label, bytes) == 0),
           "a state has its label in front");
    report(!state_label(s.bytes, s.size < 63 ? s.size : 63, &hidden), "which its first bytes tell");
    report(s.size == 0 || state_check(s.bytes, s.size), "its checksums are right");
    return s;
}

static bool restore(struct llama_context *context, int sequence, unsigned flags, const state *s)
{
    call c = {context, sequence, flags};
    bool done = plugin.state_restore(set, &c, s->bytes, s->size);
    if (!done) {
        llama_memory_seq_rm(llama_get_memory(context), sequence, -1, -1);
    }
    return done;
}

static struct llama_context *make_context(struct llama_model *model, int cells, int slots, bool unified)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)(cells * slots);
    params.n_batch = params.n_ubatch = 256;
    params.n_seq_max = (uint32_t)slots;
    params.kv_unified = unified;
    params.n_threads = params.n_threads_batch = 1;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    return llama_init_from_model(model, params);
}

/* Tokens that follow from a seed, at positions [from, from + n). */
static void feed(struct llama_context *c, int sequence, int seed, int from, int n)
{
    for (int done = 0; done < n; done += 256) {
        int many = n - done < 256 ? n - done : 256;
        struct llama_batch batch = llama_batch_init(many, 0, 1);
        for (int i = 0; i < many; i++) {
            int pos = from + done + i;
            batch.token[i] =
                (int)((unsigned)(pos * 2654435761u + (unsigned)seed * 40503u) >> 7) % (n_vocab - 3) + 2;
            batch.pos[i] = pos;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = sequence;
            batch.logits[i] = done + i == n - 1;
        }
        batch.n_tokens = many;
        if (llama_decode(c, batch) != 0) {
            report(false, "a batch is not decoded");
        }
        llama_batch_free(batch);
    }
}

static void forget(struct llama_context *c, int sequence, int from)
{
    llama_memory_seq_rm(llama_get_memory(c), sequence, from, -1);
}

/* Logits of the token after a prompt. */
static float *look(struct llama_context *c, int sequence, int n)
{
    float *logits = malloc((size_t)n_vocab * sizeof *logits);
    feed(c, sequence, 5, n, 1);
    memcpy(logits, llama_get_logits_ith(c, -1), (size_t)n_vocab * sizeof *logits);
    return logits;
}

/* Where the cells cut tiles elsewhere, what was exact may be rounded, and only nearly the same comes out. */
static bool same_logits(struct llama_context *c, int sequence, const float *want, bool nearly)
{
    float *got = look(c, sequence, PROMPT);
    bool same = nearly ? relative_error(got, want, n_vocab) < 0.02
                       : memcmp(got, want, (size_t)n_vocab * sizeof *got) == 0;
    free(got);
    return same;
}

static void damage(struct llama_context *c, const state *s)
{
    state bad = {malloc(s->size), s->size};
    int taken = 0, sound = 0;
    for (size_t at = 0; at < s->size; at += STEP) {
        memcpy(bad.bytes, s->bytes, s->size);
        bad.bytes[at] ^= (uint8_t)(1 + at % 255);
        taken += restore(c, 1, 0, &bad);
        /* Of the head, bytes without meaning and the version are no damage. */
        sound += at > 0 && state_check(bad.bytes, bad.size);
    }
    for (size_t cut = 0; cut < s->size; cut += STEP * 7) {
        taken += restore(c, 1, 0, &(state){s->bytes, cut});
        sound += state_check(s->bytes, cut);
    }
    report(taken == 0, "damaged states are refused");
    report(sound == 0, "and found before a cell is touched");
    free(bad.bytes);
}

static void one_model(const model_shape *shape, struct llama_model *model, bool unified)
{
    /* What is no longer used takes room, too: restored elsewhere, a state must not lack any. */
    struct llama_context *c = make_context(model, unified ? 4 * CELLS : CELLS, 2, unified);
    feed(c, 0, 1, 0, PROMPT);
    state s = save(c, 0, 0);
    size_t plain = llama_state_seq_get_size_ext(c, 0, 0);
    printf("%s, %s: %zu bytes instead of %zu\n", shape->name, unified ? "unified" : "split", s.size, plain);
    report(s.size > 0 && s.size < plain, "a state is smaller than the host's");
    float *want = look(c, 0, PROMPT);
    forget(c, 0, PROMPT);
    forget(c, 0, -1);
    feed(c, 0, 2, 0, 450);
    report(restore(c, 0, 0, &s) && same_logits(c, 0, want, false), "a state is restored where it was");
    forget(c, 0, PROMPT);
    if (!unified) {
        report(restore(c, 1, 0, &s) && same_logits(c, 1, want, false), "a state is restored in another slot");
        forget(c, 1, PROMPT);
        state moved = save(c, 1, 0);
        forget(c, 0, -1);
        report(restore(c, 0, 0, &moved) && same_logits(c, 0, want, false), "and back again");
        free(moved.bytes);
    } else {
        /* Behind another sequence, so that its tiles are cut elsewhere. */
        forget(c, 0, -1);
        feed(c, 1, 3, 0, 37);
        report(restore(c, 0, 0, &s) && same_logits(c, 0, want, true), "a state is restored at another place");
    }
    damage(c, &s);
    forget(c, 1, -1);
    report(restore(c, 1, 0, &s) && same_logits(c, 1, want, unified), "and afterwards a sound one is not");
    free(s.bytes);
    free(want);
    llama_free(c);
}

/* Sequences that share cells come and go; what is restored must be what was saved. */
static void shared_cells(const model_shape *shape, struct llama_model *model, unsigned seed)
{
    enum { SEQUENCES = 3, SAVED = 4, STEPS = 40 };
    set_cache("tada:8"); /* without refinements, which tiles may lose */
    struct llama_context *c = make_context(model, CELLS, SEQUENCES, true);
    set_cache("tada");
    state states[SAVED] = {{NULL, 0}};
    float *want[SAVED] = {NULL};
    int lengths[SAVED] = {0}, used[SEQUENCES] = {0}, n_restored = 0;
    double worst = 0;
    srand(seed);
    for (int step = 0; step < STEPS; step++) {
        int s = rand() % SEQUENCES, i = rand() % SAVED;
        forget(c, s, -1);
        used[s] = 0;
        int others = used[0] + used[1] + used[2];
        if (states[i].size > 0 && lengths[i] + others < SEQUENCES * CELLS - 8) {
            if (!restore(c, s, 0, &states[i])) {
                report(false, "a state is not restored");
                break;
            }
            float *got = look(c, s, lengths[i]);
            double error = relative_error(got, want[i], n_vocab);
            worst = error > worst ? error : worst;
            free(got);
            forget(c, s, lengths[i]);
            used[s] = lengths[i];
            n_restored++;
            if (rand() % 2) {
                continue;
            }
            forget(c, s, -1);
        }
        int n = 100 + rand() % 800;
        feed(c, s, step + 10, 0, n);
        free(states[i].bytes);
        free(want[i]);
        states[i] = save(c, s, 0);
        want[i] = look(c, s, n);
        forget(c, s, n);
        lengths[i] = used[s] = n;
    }
    printf("%s, seed %u: %d restored, worst %.4f\n", shape->name, seed, n_restored, worst);
    report(worst < 0.03, "what shares its cells with others is restored as it was saved");
    for (int i = 0; i < SAVED; i++) {
        free(states[i].bytes);
        free(want[i]);
    }
    llama_free(c);
}

static void random_models(void)
{
    char path[64];
    snprintf(path, sizeof path, "prompts-%d.gguf", (int)getpid());
    for (int i = 0; random_model_shape(i); i++) {
        const model_shape *shape = random_model_shape(i);
        /* Hybrids and windows save other things beside. */
        if (!random_model_write(shape, path)) {
            report(false, "a model cannot be written");
            continue;
        }
        struct llama_model *model = llama_model_load_from_file(path, llama_model_default_params());
        unlink(path);
        n_vocab = MODEL_VOCAB;
        if (shape->family == FAMILY_LLAMA || shape->family == FAMILY_QWEN2) {
            one_model(shape, model, false);
            one_model(shape, model, true);
            for (unsigned seed = 1; seed <= 3; seed++) {
                shared_cells(shape, model, seed);
            }
        }
        llama_model_free(model);
    }
}

/* ---- for measuring ---- */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double resident(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%*d %ld", &pages) != 1) {
        pages = 0;
    }
    if (file) {
        fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

static void measure(const char *path, int n, int prompts)
{
    struct llama_model *model = llama_model_load_from_file(path, llama_model_default_params());
    n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    struct llama_context *c = make_context(model, n + 256, 1, false);
    state *states = calloc((size_t)prompts, sizeof *states);
    double from = seconds(), save_least = 1e9, restore_least = 1e9, plain_save = 1e9, plain_restore = 1e9;
    feed(c, 0, 1, 0, n);
    double computed = seconds() - from;
    size_t plain = llama_state_seq_get_size(c, 0);
    uint8_t *stock = malloc(plain);
    free(save(c, 0, 0).bytes);
    double before = resident(), bytes = 0;
    for (int i = 0; i < prompts; i++) {
        from = seconds();
        states[i] = save(c, 0, 0);
        save_least = fmin(save_least, seconds() - from);
        bytes += (double)states[i].size / 1048576;
    }
    double grown = resident() - before;
    for (int i = 0; i < prompts; i++) {
        from = seconds();
        report(restore(c, 0, 0, &states[i]), "restored");
        restore_least = fmin(restore_least, seconds() - from);
    }
    for (int i = 0; i < 3; i++) {
        from = seconds();
        llama_state_seq_get_data(c, stock, plain, 0);
        plain_save = fmin(plain_save, seconds() - from);
        from = seconds();
        llama_state_seq_set_data(c, stock, plain, 0);
        plain_restore = fmin(plain_restore, seconds() - from);
    }
    printf("%d prompts of %d tokens: %.1f MiB, resident memory grew by %.1f MiB, in f16 %.1f MiB (%.1f %%)\n",
           prompts, n, bytes, grown, (double)plain * prompts / 1048576,
           100 * bytes * 1048576 / ((double)plain * prompts));
    printf("CPU seconds: computed %.2f; saved %.4f, restored %.4f; as f16 rows %.4f, %.4f\n", computed,
           save_least, restore_least, plain_save, plain_restore);
    for (int i = 0; i < prompts; i++) {
        free(states[i].bytes);
    }
    free(states);
    free(stock);
    llama_free(c);
    llama_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 6) {
        fprintf(stderr, "usage: engine_prompts LIB_DIR PLUGIN [MODEL TOKENS PROMPTS]\n");
        return 2;
    }
    if (!load_plugin(argv[1], argv[2], "tada") || !find_plugin_functions()) {
        return 1;
    }
    if (argc == 6) {
        measure(argv[3], atoi(argv[4]), atoi(argv[5]));
    } else {
        random_models();
    }
    return failures > 0;
}
