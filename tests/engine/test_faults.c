/*
 * Each allocation of the plug-in fails once: llama.cpp hears of it, nothing crashes, and the same work done
 * again gives the same logits.  test_faults LIB_DIR PLUGIN SPEC
 */
#include "../unit/folder.h"
#include "checks.h"
#include "random_model.h"

#include <dlfcn.h>
#include <math.h>
#include <string.h>

enum { UBATCH = 32, PROMPT = 4 * UBATCH, FOLLOW = 2, MOST = 5000 };

static const model_shape shape = {
    .name = "gqa-64", .family = FAMILY_LLAMA, .heads = 4, .kv_heads = 2, .head_dim = 64};

static void (*faults_start)(long n);
static bool (*faults_stop)(void);

static struct llama_context *context(struct llama_model *model)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 256;
    params.n_batch = params.n_ubatch = UBATCH;
    params.n_threads = params.n_threads_batch = 1;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    params.offload_kqv = true;
    return llama_init_from_model(model, params);
}

static bool decode(struct llama_context *c, int from, int n)
{
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; i++) {
        batch.token[i] = (from + i) * 37 % 199 + 3;
        batch.pos[i] = from + i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = i == n - 1;
    }
    batch.n_tokens = n;
    bool done = llama_decode(c, batch) == 0;
    llama_batch_free(batch);
    return done;
}

/* What a run of the work has met. */
typedef struct outcome {
    bool hit;   /* an allocation has failed */
    bool told;  /* llama.cpp returned an error */
    bool other; /* it did without one, or did not recover */
    float logits[MODEL_VOCAB * (FOLLOW + 1)];
} outcome;

/* Tries a decode; a second time when an allocation has failed. */
static void try_decode(struct llama_context *c, int from, int n, outcome *o)
{
    if (!decode(c, from, n)) {
        o->hit = faults_stop();
        o->told = true;
        o->other = o->other || !o->hit || !decode(c, from, n);
    }
}

/* The n-th allocation fails; 0: none. */
static void work(struct llama_model *model, long n, outcome *o)
{
    memset(o, 0, sizeof *o);
    faults_start(n);
    struct llama_context *c = context(model);
    if (!c) {
        o->hit = faults_stop();
        o->told = true;
        c = context(model);
        if (!o->hit || !c) {
            o->other = true;
            return;
        }
    }
    for (int i = 0; i < PROMPT; i += UBATCH) {
        try_decode(c, i, UBATCH, o);
    }
    /* As when a context is full: the first half goes, the rest moves up. */
    llama_memory_seq_rm(llama_get_memory(c), 0, 4, PROMPT / 2);
    llama_memory_seq_add(llama_get_memory(c), 0, PROMPT / 2, -1, -(PROMPT / 2 - 4));
    for (int i = 0; i <= FOLLOW; i++) {
        try_decode(c, PROMPT / 2 + 4 + i, 1, o);
        memcpy(o->logits + i * MODEL_VOCAB, llama_get_logits_ith(c, -1), MODEL_VOCAB * sizeof *o->logits);
    }
    o->hit = faults_stop() || o->hit;
    llama_free(c);
}

static bool all_finite(const outcome *o)
{
    for (size_t i = 0; i < sizeof o->logits / sizeof *o->logits; i++) {
        if (!isfinite(o->logits[i])) {
            return false;
        }
    }
    return true;
}

/* Relative, of the logits. A row that is written again gets another cell, so that sums are in another order
 * and another tile is compressed. */
static double difference(const outcome *a, const outcome *b)
{
    double error = 0, energy = 0;
    for (size_t i = 0; i < sizeof a->logits / sizeof *a->logits; i++) {
        double d = (double)a->logits[i] - (double)b->logits[i];
        error += d * d;
        energy += (double)a->logits[i] * (double)a->logits[i];
    }
    return sqrt(error / energy);
}

/* llama.cpp only logs when the shift of positions fails, and goes on without: then all that there is to see
 * is that nothing crashes. */
static void run(struct llama_model *model)
{
    static outcome want, got;
    int told = 0, silent = 0, n = 0;
    double most = 0;
    work(model, 0, &want);
    report(!want.hit && !want.told && all_finite(&want), "without failures");
    for (n = 1; n < MOST; n++) {
        work(model, n, &got);
        if (!got.hit) {
            break;
        }
        told += got.told;
        silent += !got.told;
        most = got.told ? fmax(most, difference(&want, &got)) : most;
        if (got.other || !all_finite(&got) || (got.told && difference(&want, &got) > 0.1)) {
            report(false, "allocation %d: %s", n,
                   got.other ? "an error without a reason, or once more" : "other logits afterwards");
        }
    }
    report(n > 20 && n < MOST,
           "%d allocations failed: %d were told (logits then differ by up to %.3g), %d not", n - 1, told,
           most, silent);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: test_faults LIB_DIR PLUGIN SPEC\n");
        return 2;
    }
    if (!load_plugin(argv[1], argv[2], argv[3]) || !make_folder()) {
        return 1;
    }
    void *plugin = dlopen(argv[2], RTLD_NOW | RTLD_NOLOAD);
    *(void **)&faults_start = plugin ? dlsym(plugin, "tada_faults_start") : NULL;
    *(void **)&faults_stop = plugin ? dlsym(plugin, "tada_faults_stop") : NULL;
    if (!faults_start || !faults_stop) {
        fprintf(stderr, "%s has no failing allocations\n", argv[2]);
        return 1;
    }
    const char *path = path_of("model.gguf");
    struct llama_model *model = random_model_write(&shape, path)
                                    ? llama_model_load_from_file(path, llama_model_default_params())
                                    : NULL;
    report(model, "a model is loaded");
    if (model) {
        run(model);
        llama_model_free(model);
    }
    remove_folder();
    return failures > 0;
}
