/*
 * Prompts: what the parts share that stand before functions of llama.cpp (prompts.c, batches.c, contexts.c,
 * sequences.c, decoding.c) and keep prompts in a folder (folder.c). doc/design/prompts.md says how it works.
 */
#ifndef TADA_PRELOAD_PROMPTS_H
#define TADA_PRELOAD_PROMPTS_H

#include "folder.h"
#include "preload.h"

#include "state_file.h"
#include "tada_plugin.h"

#include <stdint.h>

#ifdef TADA_STORES
#include "llama.h"
#else
/* What is used of llama.cpp, as it is there: this library needs none of its headers, and fits many versions.
 */
struct llama_context;
typedef struct llama_memory_i *llama_memory_t;
typedef int32_t llama_seq_id;
typedef int32_t llama_pos;
size_t llama_state_seq_get_size_ext(struct llama_context *, llama_seq_id, uint32_t);
size_t llama_state_seq_get_data_ext(struct llama_context *, uint8_t *, size_t, llama_seq_id, uint32_t);
size_t llama_state_seq_set_data_ext(struct llama_context *, const uint8_t *, size_t, llama_seq_id, uint32_t);
llama_memory_t llama_get_memory(const struct llama_context *);
bool llama_memory_seq_rm(llama_memory_t, llama_seq_id, llama_pos, llama_pos);
#endif

#define EXPORT __attribute__((visibility("default")))

enum {
    STORED_LEAST = 256, /* a prompt of fewer tokens is not stored: it is soon computed */
    GAINED_LEAST = 64,  /* and is not restored for fewer */
};

/* The functions of llama.cpp that are stood before, and others that are used, by their names there. */
#define HOST_FUNCTIONS(X)                                                                                    \
    X(llama_state_seq_get_size_ext)                                                                          \
    X(llama_state_seq_get_data_ext)                                                                          \
    X(llama_state_seq_set_data_ext)                                                                          \
    X(llama_get_memory)                                                                                      \
    X(llama_memory_seq_rm)

#ifdef TADA_STORES
#define HOST_PROMPT_FUNCTIONS(X)                                                                             \
    X(llama_init_from_model)                                                                                 \
    X(llama_free)                                                                                            \
    X(llama_backend_free)                                                                                    \
    X(llama_model_load_from_file)                                                                            \
    X(llama_model_load_from_splits)                                                                          \
    X(llama_model_n_swa)                                                                                     \
    X(llama_model_is_recurrent)                                                                              \
    X(llama_model_is_hybrid)                                                                                 \
    X(llama_model_has_encoder)                                                                               \
    X(llama_n_ctx)                                                                                           \
    X(llama_n_ctx_seq)                                                                                       \
    X(llama_n_batch)                                                                                         \
    X(llama_n_seq_max)                                                                                       \
    X(llama_n_rs_seq)                                                                                        \
    X(llama_process)                                                                                         \
    X(llama_decode)                                                                                          \
    X(llama_batch_ext_init)                                                                                  \
    X(llama_batch_ext_free)                                                                                  \
    X(llama_batch_ext_clear)                                                                                 \
    X(llama_batch_ext_add)                                                                                   \
    X(llama_batch_ext_add_token)                                                                             \
    X(llama_batch_ext_add_embd)                                                                              \
    X(llama_batch_ext_add_seq)                                                                               \
    X(llama_batch_ext_set_embd_token)                                                                        \
    X(llama_batch_ext_set_output_embd)                                                                       \
    X(llama_batch_ext_set_output_logits)                                                                     \
    X(llama_batch_ext_set_pos)                                                                               \
    X(llama_memory_clear)                                                                                    \
    X(llama_memory_seq_cp)                                                                                   \
    X(llama_memory_seq_keep)                                                                                 \
    X(llama_memory_seq_add)                                                                                  \
    X(llama_memory_seq_div)                                                                                  \
    X(llama_memory_seq_pos_min)                                                                              \
    X(llama_memory_seq_pos_max)                                                                              \
    X(llama_set_embeddings)                                                                                  \
    X(llama_set_adapters_lora)                                                                               \
    X(llama_set_adapter_cvec)                                                                                \
    X(llama_state_seq_save_file)                                                                             \
    X(llama_state_seq_load_file)
#else
#define HOST_PROMPT_FUNCTIONS(X)
#endif

#define MEMBER(name) __typeof__(name) *name;
typedef struct host_functions {
    HOST_FUNCTIONS(MEMBER)
    HOST_PROMPT_FUNCTIONS(MEMBER)
} host_functions;
#undef MEMBER

#define MEMBER(result, name, arguments) result(*name) arguments;
typedef struct plugin_functions {
    TADA_PLUGIN_FUNCTIONS(MEMBER)
} plugin_functions;
#undef MEMBER

/* ---- prompts.c ---- */

/* All that are there. */
const host_functions *prompts_host(void);
/* NULL: states are the host's own, as there is no plug-in or nobody wants otherwise. */
const plugin_functions *prompts_plugin(void);

/* A state of a sequence, for the plug-in's functions. */
typedef struct state_call {
    struct llama_context *context;
    llama_seq_id sequence;
    uint32_t flags;
} state_call;

size_t prompts_get(void *call, uint8_t *to, size_t size);
size_t prompts_set(void *call, const uint8_t *from, size_t size);

#ifdef TADA_STORES

/* ---- model_key.c ---- */

/* Notes from which files a model was loaded. */
void model_key_note(const struct llama_model *model, const char *const *paths, size_t n,
                    const struct llama_model_kv_override *overrides);
/* Tells models apart whose rows would differ, by parts of all of their tensors; 0: it cannot be told.
 * *by_size: its positions depend on the size of the context. */
uint64_t model_key(const struct llama_model *model, bool *by_size);

/* ---- contexts.c, sequences.c, decoding.c: the tokens of sequences ---- */

/* From now on they are known, and prompts are stored and restored. */
void sequences_begin(void);
bool sequences_active(void);
/* The label of a state of a sequence, to be freed; NULL: it has none. */
prompt_label *sequences_label(const struct llama_context *context, llama_seq_id sequence, size_t *bytes);
/* Before a sequence is read from outside: its rows are there then. */
void sequences_complete(const struct llama_context *context, llama_seq_id sequence);
/* A sequence has been set to a state with this label; NULL: it is not known what it has. */
void sequences_set(const struct llama_context *context, llama_seq_id sequence, const prompt_label *label,
                   size_t bytes);
/* A state with this label has been saved: it is worth being stored. */
void sequences_saved(const prompt_label *label, size_t label_bytes, const uint8_t *bytes, size_t size);

/* ---- batches.c: what is in a batch, which llama.cpp does not tell ---- */

typedef struct batch_entry {
    llama_token token; /* -1: none */
    llama_pos pos;
    llama_seq_id sequence;
    bool has_embd, has_output, is_shared; /* shared: with other sequences */
} batch_entry;

typedef struct batch_copy {
    struct llama_batch_ext *batch;
    batch_entry *entries;
    int n, room;
    bool failed;          /* memory was short: entries are missing */
    llama_seq_id *shared; /* other sequences that tokens belong to, in no order */
    int n_shared, shared_room;
    struct batch_copy *next;
} batch_copy;

/* NULL: it is not known. */
batch_copy *batch_copy_of(const struct llama_batch_ext *batch);

/* The index that a token of the last batch has in what was computed of it. */
int32_t sequences_index(const struct llama_context *context, int32_t i);

#else

/* Without a folder nobody needs to know what sequences have. */
static inline prompt_label *sequences_label(const struct llama_context *context, llama_seq_id sequence,
                                            size_t *bytes)
{
    (void)context;
    (void)sequence;
    *bytes = 0;
    return NULL;
}

static inline void sequences_complete(const struct llama_context *context, llama_seq_id sequence)
{
    (void)context;
    (void)sequence;
}

static inline void sequences_set(const struct llama_context *context, llama_seq_id sequence,
                                 const prompt_label *label, size_t bytes)
{
    (void)context;
    (void)sequence;
    (void)label;
    (void)bytes;
}

static inline void sequences_saved(const prompt_label *label, size_t label_bytes, const uint8_t *bytes,
                                   size_t size)
{
    (void)label;
    (void)label_bytes;
    (void)bytes;
    (void)size;
}

#endif

#endif
