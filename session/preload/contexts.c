/*
 * Contexts whose prompts are stored and restored, and what speaks against it: a part of a sequence must be
 * removable, and rows must be all that tokens say.
 */
#include "sequences.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_bool active;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tracked *contexts;

void sequences_begin(void)
{
    active = true;
}

bool sequences_active(void)
{
    return active;
}

/* ---- contexts ---- */

/* By either of the two; the other one is NULL, which no context has. */
static tracked *find_tracked(const struct llama_context *context, llama_memory_t memory)
{
    tracked *t = NULL;
    if (active) {
        pthread_mutex_lock(&lock);
        t = contexts;
        while (t && t->context != context && t->memory != memory) {
            t = t->next;
        }
        pthread_mutex_unlock(&lock);
    }
    return t;
}

tracked *tracked_of(const struct llama_context *context)
{
    return find_tracked(context, NULL);
}

tracked *tracked_by(llama_memory_t memory)
{
    return find_tracked(NULL, memory);
}

static void turn_off(tracked *t, const char *why)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    t->off = true;
    if (!atomic_flag_test_and_set(&told)) {
        preload_log("prompts are neither stored nor restored: %s", why);
    }
}

/* What keeps a part of a sequence from being removed, or from being all that its tokens say. */
static const char *obstacle(const struct llama_model *model, const struct llama_context *context,
                            const struct llama_context_params *params)
{
    const host_functions *h = prompts_host();
    if (h->llama_model_is_recurrent(model) || h->llama_model_is_hybrid(model) ||
        h->llama_n_rs_seq(context) > 0) {
        return "recurrent layers of this model cannot go back";
    }
    if (h->llama_model_n_swa(model) > 0 && !params->swa_full) {
        return "layers of this model keep only a window (--swa-full keeps all)";
    }
    if (h->llama_model_has_encoder(model)) {
        return "this model has an encoder";
    }
    if (params->embeddings) {
        return "this server is for embeddings";
    }
    return NULL;
}

EXPORT struct llama_context *llama_init_from_model(struct llama_model *model,
                                                   struct llama_context_params params)
{
    const host_functions *h = prompts_host();
    struct llama_context *context = h->llama_init_from_model(model, params);
    llama_memory_t memory = context && active ? h->llama_get_memory(context) : NULL;
    tracked *t = memory ? calloc(1, sizeof *t) : NULL;
    if (t) {
        *t = (tracked){.context = context, .memory = memory, .model = model, .params = params};
        t->n_sequences = (int)h->llama_n_seq_max(context);
        t->sequences = calloc((size_t)t->n_sequences, sizeof *t->sequences);
        if (!t->sequences) {
            free(t);
            return context;
        }
        /* That of a draft model may share its cache with another; its prompts are soon computed. */
        t->off = params.ctx_other != NULL;
        const char *why = t->off ? NULL : obstacle(model, context, &params);
        if (why) {
            turn_off(t, why);
        }
        pthread_mutex_lock(&lock);
        t->next = contexts;
        contexts = t;
        pthread_mutex_unlock(&lock);
    }
    return context;
}

/* As numbers, so that what lies between members does not count. */
static uint64_t key_of_params(const struct llama_context_params *p, bool by_size, uint32_t size)
{
    const float reals[] = {p->rope_freq_base,   p->rope_freq_scale, p->yarn_ext_factor,
                           p->yarn_attn_factor, p->yarn_beta_fast,  p->yarn_beta_slow};
    const int64_t numbers[] = {p->ctx_type,        p->rope_scaling_type, p->attention_type,
                               p->flash_attn_type, p->yarn_orig_ctx,     p->type_k,
                               p->type_v,          p->swa_full,          by_size ? size : 0};
    return key_add(key_add(KEY_START, reals, sizeof reals), numbers, sizeof numbers);
}

/* 0: prompts cannot be told apart. */
uint64_t tracked_key(tracked *t)
{
    if (t->key == 0 && !t->off) {
        bool by_size;
        uint64_t keys[3] = {model_key(t->model, &by_size)};
        keys[1] = key_of_params(&t->params, by_size, prompts_host()->llama_n_ctx_seq(t->context));
        keys[2] = prompts_plugin() ? prompts_plugin()->cache_key() : 0;
        if (keys[0] == 0 || keys[2] == 0) {
            turn_off(t, keys[0] == 0 ? "the model's file cannot be read" : "the plug-in is not there");
            return 0;
        }
        t->key = key_add(KEY_START, keys, sizeof keys);
    }
    return t->off ? 0 : t->key;
}

static void store_all(tracked *t)
{
    for (llama_seq_id s = 0; s < t->n_sequences; s++) {
        sequence_store(t, s);
    }
}

EXPORT void llama_free(struct llama_context *context)
{
    tracked *t = tracked_of(context);
    if (t) {
        store_all(t);
        folder_flush();
        pthread_mutex_lock(&lock);
        tracked **at = &contexts;
        while (*at != t) {
            at = &(*at)->next;
        }
        *at = t->next;
        pthread_mutex_unlock(&lock);
        for (llama_seq_id s = 0; s < t->n_sequences; s++) {
            sequence_make_empty(&t->sequences[s]);
            free(t->sequences[s].tokens);
        }
        free(t->sequences);
        free(t->index);
        free(t);
    }
    prompts_host()->llama_free(context);
}

/* llama-server calls it when it is to end. It frees its contexts only when all of its clients have gone, and
 * may be killed before. */
EXPORT void llama_backend_free(void)
{
    pthread_mutex_lock(&lock);
    tracked *t = contexts;
    pthread_mutex_unlock(&lock);
    for (; t; t = t->next) {
        store_all(t);
    }
    folder_flush();
    prompts_host()->llama_backend_free();
}

/* ---- what makes rows other than tokens say, or wants more than the last results ---- */

EXPORT struct llama_model *llama_model_load_from_file(const char *path, struct llama_model_params params)
{
    struct llama_model *model = prompts_host()->llama_model_load_from_file(path, params);
    if (model && active && path) {
        model_key_note(model, &path, 1, params.kv_overrides);
    }
    return model;
}

EXPORT struct llama_model *llama_model_load_from_splits(const char **paths, size_t n,
                                                        struct llama_model_params params)
{
    struct llama_model *model = prompts_host()->llama_model_load_from_splits(paths, n, params);
    if (model && active) {
        model_key_note(model, paths, n, params.kv_overrides);
    }
    return model;
}

static void stop(struct llama_context *context, const char *why)
{
    tracked *t = tracked_of(context);
    if (t && !t->off) {
        tracked_complete(t);
        turn_off(t, why);
    }
}

EXPORT void llama_set_embeddings(struct llama_context *context, bool wanted)
{
    if (wanted) {
        stop(context, "embeddings are asked for");
    }
    prompts_host()->llama_set_embeddings(context, wanted);
}

EXPORT int32_t llama_set_adapters_lora(struct llama_context *context, struct llama_adapter_lora **adapters,
                                       size_t n, float *scales)
{
    for (size_t i = 0; i < n; i++) {
        if (scales[i] != 0) {
            stop(context, "adapters (--lora) change what tokens stand for");
        }
    }
    return prompts_host()->llama_set_adapters_lora(context, adapters, n, scales);
}

EXPORT int32_t llama_set_adapter_cvec(struct llama_context *context, const float *data, size_t size,
                                      int32_t n, int32_t first, int32_t last)
{
    if (data) {
        stop(context, "control vectors change what tokens stand for");
    }
    return prompts_host()->llama_set_adapter_cvec(context, data, size, n, first, last);
}

/* Functions of C++, by the names that they have in the library. */
#define SET_NEXTN "_Z26llama_set_embeddings_nextnP13llama_contextbb"
#define SET_INPUTS "_Z30llama_set_embeddings_layer_inpP13llama_contextjb"

EXPORT void set_embeddings_nextn(struct llama_context *context, bool wanted, bool masked) __asm__(SET_NEXTN);
EXPORT void set_embeddings_inputs(struct llama_context *context, uint32_t layer,
                                  bool wanted) __asm__(SET_INPUTS);

void set_embeddings_nextn(struct llama_context *context, bool wanted, bool masked)
{
    void (*next)(struct llama_context *, bool, bool);
    preload_find(RTLD_NEXT, SET_NEXTN, &next);
    if (wanted) {
        stop(context, "drafts want the results of all tokens");
    }
    if (next) {
        next(context, wanted, masked);
    }
}

void set_embeddings_inputs(struct llama_context *context, uint32_t layer, bool wanted)
{
    void (*next)(struct llama_context *, uint32_t, bool);
    preload_find(RTLD_NEXT, SET_INPUTS, &next);
    if (wanted) {
        stop(context, "drafts want the results of all tokens");
    }
    if (next) {
        next(context, layer, wanted);
    }
}
