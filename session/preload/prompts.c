/*
 * Stands before the functions with which llama-server keeps prompts of idle slots, and checkpoints, in
 * memory: where the plug-in has their caches, they are kept as its codes. What the host wrote itself can
 * still be restored, and what the plug-in cannot save is saved by the host.
 */
#include "preload.h"

#include "tada_plugin.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { ON_DEVICE = 2 }; /* LLAMA_STATE_SEQ_FLAGS_ON_DEVICE: rows stay where they are */

typedef struct llama_context llama_context;

/* What is used of llama.cpp, by its names there. */
typedef struct host {
    size_t (*get_size)(llama_context *, int32_t, uint32_t);
    size_t (*get_data)(llama_context *, uint8_t *, size_t, int32_t, uint32_t);
    size_t (*set_data)(llama_context *, const uint8_t *, size_t, int32_t, uint32_t);
    void *(*get_memory)(const llama_context *);
    bool (*remove)(void *, int32_t, int32_t, int32_t);
} host;

/* ... and of the plug-in. */
typedef struct plugin {
    size_t (*bytes)(tada_host_get get, void *host, size_t plain, size_t label_bytes);
    size_t (*save)(tada_host_get get, void *host, size_t plain, const void *label, size_t label_bytes,
                   void *to, size_t size);
    bool (*is_packed)(const void *from, size_t size);
    bool (*restore)(tada_host_set set, void *host, const void *from, size_t size);
} plugin;

static host own;
static plugin states;
static atomic_bool wanted, packs;
static pthread_once_t looked = PTHREAD_ONCE_INIT;

/* One call of llama-server's. */
typedef struct call {
    llama_context *context;
    int32_t sequence;
    uint32_t flags;
} call;

void prompts_begin(void)
{
    wanted = true;
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
    const struct {
        const char *name;
        void *function;
    } all[] = {{"tada_plugin_state_bytes", &states.bytes},
               {"tada_plugin_state_save", &states.save},
               {"tada_plugin_state_is_packed", &states.is_packed},
               {"tada_plugin_state_restore", &states.restore}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        found = get_proc(registry, all[i].name);
        memcpy(all[i].function, &found, sizeof found);
    }
    return states.bytes && states.save && states.is_packed && states.restore;
}

static void look(void)
{
    preload_find(RTLD_NEXT, "llama_state_seq_get_size_ext", &own.get_size);
    preload_find(RTLD_NEXT, "llama_state_seq_get_data_ext", &own.get_data);
    preload_find(RTLD_NEXT, "llama_state_seq_set_data_ext", &own.set_data);
    preload_find(RTLD_DEFAULT, "llama_get_memory", &own.get_memory);
    preload_find(RTLD_DEFAULT, "llama_memory_seq_rm", &own.remove);
    packs = wanted && own.get_memory && own.remove && find_plugin();
}

/* Whether a state with these flags may be packed. */
static bool may_pack(uint32_t flags)
{
    pthread_once(&looked, look);
    return packs && !(flags & ON_DEVICE);
}

static size_t get(void *context, uint8_t *to, size_t size)
{
    const call *c = context;
    return own.get_data(c->context, to, size, c->sequence, c->flags);
}

static size_t set(void *context, const uint8_t *from, size_t size)
{
    const call *c = context;
    return own.set_data(c->context, from, size, c->sequence, c->flags);
}

EXPORT size_t llama_state_seq_get_size_ext(llama_context *context, int32_t sequence, uint32_t flags)
{
    call c = {context, sequence, flags};
    bool may = may_pack(flags);
    size_t plain = own.get_size ? own.get_size(context, sequence, flags) : 0;
    size_t packed = may ? states.bytes(get, &c, plain, 0) : 0;
    return packed ? packed : plain;
}

EXPORT size_t llama_state_seq_get_data_ext(llama_context *context, uint8_t *to, size_t size, int32_t sequence,
                                           uint32_t flags)
{
    call c = {context, sequence, flags};
    size_t packed =
        may_pack(flags) ? states.save(get, &c, own.get_size(context, sequence, flags), NULL, 0, to, size) : 0;
    return packed ? packed : own.get_data ? own.get_data(context, to, size, sequence, flags) : 0;
}

EXPORT size_t llama_state_seq_set_data_ext(llama_context *context, const uint8_t *from, size_t size,
                                           int32_t sequence, uint32_t flags)
{
    call c = {context, sequence, flags};
    if (!may_pack(flags) || !states.is_packed(from, size)) {
        return own.set_data ? own.set_data(context, from, size, sequence, flags) : 0;
    }
    if (!states.restore(set, &c, from, size)) {
        own.remove(own.get_memory(context), sequence, -1, -1);
        return 0;
    }
    return size;
}
