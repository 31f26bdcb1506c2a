/*
 * Stands before the functions with which llama-server keeps prompts of idle slots, and checkpoints, in
 * memory: where the plug-in has their caches, they are kept as its codes. What the host wrote itself can
 * still be restored, and what the plug-in cannot save is saved by the host.
 */
#include "prompts.h"

#include "ggml_version.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ON_DEVICE = 2 }; /* LLAMA_STATE_SEQ_FLAGS_ON_DEVICE: rows stay where they are */

static host_functions own;
static plugin_functions states;
static atomic_bool wanted, packs;
static pthread_once_t looked = PTHREAD_ONCE_INIT;
static pthread_once_t plugin_looked = PTHREAD_ONCE_INIT;

static void find_host(void)
{
#define FIND(name) preload_find(RTLD_NEXT, #name, &own.name);
    HOST_FUNCTIONS(FIND)
    HOST_PROMPT_FUNCTIONS(FIND)
#undef FIND
}

const host_functions *prompts_host(void)
{
    pthread_once(&looked, find_host);
    return &own;
}

static bool find_plugin(void)
{
    void *(*by_name)(const char *) = NULL, *(*get_proc)(void *, const char *) = NULL;
    int (*version)(void) = NULL;
    preload_find(RTLD_DEFAULT, "ggml_backend_reg_by_name", &by_name);
    preload_find(RTLD_DEFAULT, "ggml_backend_reg_get_proc_address", &get_proc);
    void *registry = by_name && get_proc ? by_name("TADA") : NULL;
    void *found = registry ? get_proc(registry, TADA_PLUGIN_VERSION_NAME) : NULL;
    memcpy(&version, &found, sizeof version);
    if (!version || version() != TADA_PLUGIN_VERSION) {
        return false;
    }
#define FIND(result, name, arguments)                                                                        \
    found = get_proc(registry, "tada_plugin_" #name);                                                        \
    memcpy(&states.name, &found, sizeof found);                                                              \
    if (!found) {                                                                                            \
        return false;                                                                                        \
    }
    TADA_PLUGIN_FUNCTIONS(FIND)
#undef FIND
    return true;
}

static void look(void)
{
    packs = wanted && prompts_host()->llama_get_memory && own.llama_memory_seq_rm && find_plugin();
}

const plugin_functions *prompts_plugin(void)
{
    pthread_once(&plugin_looked, look);
    return packs ? &states : NULL;
}

void prompts_begin(void)
{
    wanted = true;
}

#ifdef TADA_STORES
/* Structs of llama.cpp go through the functions that we stand before: they must be those that we know. */
static bool host_fits(void)
{
    const char *(*version)(void), *(*commit)(void);
    preload_find(RTLD_DEFAULT, "ggml_version", &version);
    preload_find(RTLD_DEFAULT, "ggml_commit", &commit);
    return version &&
           ggml_version_fits(version(), commit ? commit() : "unknown", TADA_GGML_VERSION, TADA_GGML_COMMIT);
}

void prompts_store(const char *path, uint64_t most)
{
    if (!host_fits()) {
        preload_log("--prompt-cache is for the llama.cpp with ggml " TADA_GGML_VERSION " (" TADA_GGML_COMMIT
                    "): leave it out, or build TaDA for this one");
        _exit(1);
    }
    folder_begin(path, most);
    sequences_begin();
}
#endif

size_t prompts_get(void *context, uint8_t *to, size_t size)
{
    const state_call *c = context;
    return own.llama_state_seq_get_data_ext(c->context, to, size, c->sequence, c->flags);
}

size_t prompts_set(void *context, const uint8_t *from, size_t size)
{
    const state_call *c = context;
    return own.llama_state_seq_set_data_ext(c->context, from, size, c->sequence, c->flags);
}

/* Whether a state with these flags may be packed. */
static bool may_pack(uint32_t flags)
{
    return prompts_plugin() && !(flags & ON_DEVICE);
}

/* Only whole states are prompts. */
static prompt_label *label_of(const state_call *c, size_t *bytes)
{
    *bytes = 0;
    return c->flags == 0 ? sequences_label(c->context, c->sequence, bytes) : NULL;
}

EXPORT size_t llama_state_seq_get_size_ext(struct llama_context *context, llama_seq_id sequence,
                                           uint32_t flags)
{
    state_call c = {context, sequence, flags};
    size_t plain = 0, packed = 0, label_bytes;
    if (!prompts_host()->llama_state_seq_get_size_ext) {
        return 0;
    }
    sequences_complete(context, sequence);
    plain = own.llama_state_seq_get_size_ext(context, sequence, flags);
    if (may_pack(flags)) {
        free(label_of(&c, &label_bytes));
        packed = states.state_bytes(prompts_get, &c, plain, label_bytes);
    }
    return packed ? packed : plain;
}

EXPORT size_t llama_state_seq_get_data_ext(struct llama_context *context, uint8_t *to, size_t size,
                                           llama_seq_id sequence, uint32_t flags)
{
    state_call c = {context, sequence, flags};
    size_t packed = 0, label_bytes;
    if (!prompts_host()->llama_state_seq_get_data_ext) {
        return 0;
    }
    sequences_complete(context, sequence);
    if (may_pack(flags)) {
        prompt_label *label = label_of(&c, &label_bytes);
        packed =
            states.state_save(prompts_get, &c, own.llama_state_seq_get_size_ext(context, sequence, flags),
                              label, label_bytes, to, size);
        if (packed && label) {
            sequences_saved(label, label_bytes, to, packed);
        }
        free(label);
    }
    return packed ? packed : own.llama_state_seq_get_data_ext(context, to, size, sequence, flags);
}

EXPORT size_t llama_state_seq_set_data_ext(struct llama_context *context, const uint8_t *from, size_t size,
                                           llama_seq_id sequence, uint32_t flags)
{
    state_call c = {context, sequence, flags};
    size_t label_bytes = 0;
    if (!prompts_host()->llama_state_seq_set_data_ext) {
        return 0;
    }
    if (flags != 0) {
        sequences_complete(context, sequence); /* a part of it is set */
    }
    if (!may_pack(flags) || !state_is_packed(from, size)) {
        if (flags == 0) {
            sequences_set(context, sequence, NULL, 0);
        }
        return own.llama_state_seq_set_data_ext(context, from, size, sequence, flags);
    }
    if (!states.state_restore(prompts_set, &c, from, size)) {
        own.llama_memory_seq_rm(own.llama_get_memory(context), sequence, -1, -1);
        sequences_set(context, sequence, NULL, 0);
        return 0;
    }
    if (flags == 0) {
        const prompt_label *label = state_label(from, size, &label_bytes);
        sequences_set(context, sequence, label, label_bytes);
    }
    return size;
}
