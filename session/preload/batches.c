/*
 * Batches of llama.cpp cannot be read, so a copy is made of what is put into them. Also here: the functions
 * that give results by the index of a token in the batch, as of a batch only a part may be computed.
 */
#include "prompts.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static batch_copy *copies; /* the one that was asked for last comes first; a server has a few */

/* Takes it out of the list. */
static batch_copy *take_copy(const struct llama_batch_ext *batch)
{
    for (batch_copy **at = &copies; *at; at = &(*at)->next) {
        batch_copy *found = *at;
        if (found->batch == batch) {
            *at = found->next;
            return found;
        }
    }
    return NULL;
}

batch_copy *batch_copy_of(const struct llama_batch_ext *batch)
{
    if (!sequences_active()) {
        return NULL;
    }
    pthread_mutex_lock(&lock);
    batch_copy *copy = copies && copies->batch == batch ? copies : take_copy(batch);
    if (copy && copy != copies) {
        copy->next = copies;
        copies = copy;
    }
    pthread_mutex_unlock(&lock);
    return copy;
}

EXPORT struct llama_batch_ext *llama_batch_ext_init(struct llama_context *context)
{
    struct llama_batch_ext *batch = prompts_host()->llama_batch_ext_init(context);
    batch_copy *copy = batch && sequences_active() ? calloc(1, sizeof *copy) : NULL;
    if (copy) {
        copy->batch = batch;
        pthread_mutex_lock(&lock);
        copy->next = copies;
        copies = copy;
        pthread_mutex_unlock(&lock);
    }
    return batch;
}

EXPORT void llama_batch_ext_free(struct llama_batch_ext *batch)
{
    if (sequences_active()) {
        pthread_mutex_lock(&lock);
        batch_copy *copy = take_copy(batch);
        pthread_mutex_unlock(&lock);
        if (copy) {
            free(copy->entries);
            free(copy->shared);
            free(copy);
        }
    }
    prompts_host()->llama_batch_ext_free(batch);
}

EXPORT void llama_batch_ext_clear(struct llama_batch_ext *batch)
{
    batch_copy *copy = batch_copy_of(batch);
    if (copy) {
        copy->n = copy->n_shared = 0;
        copy->failed = false;
    }
    prompts_host()->llama_batch_ext_clear(batch);
}

/* ---- what is added ---- */

/* `index`: that llama.cpp gave the token, negative if it took none. */
static int32_t add(struct llama_batch_ext *batch, int32_t index, llama_seq_id sequence, llama_token token,
                   bool has_embd)
{
    batch_copy *copy = batch_copy_of(batch);
    if (!copy || index == -1 || index == -3) {
        return index;
    }
    if (copy->n == copy->room) {
        int room = copy->room ? 2 * copy->room : 512;
        batch_entry *grown = realloc(copy->entries, (size_t)room * sizeof *grown);
        if (!grown) {
            copy->failed = true;
            return index;
        }
        copy->entries = grown;
        copy->room = room;
    }
    copy->entries[copy->n++] =
        (batch_entry){.token = token, .pos = -1, .sequence = sequence, .has_embd = has_embd};
    copy->failed = copy->failed || index != copy->n - 1; /* also one that was taken in vain */
    return index;
}

static batch_entry *entry_of(struct llama_batch_ext *batch, int32_t index)
{
    batch_copy *copy = batch_copy_of(batch);
    return copy && index >= 0 && index < copy->n ? &copy->entries[index] : NULL;
}

EXPORT int32_t llama_batch_ext_add(struct llama_batch_ext *batch, llama_seq_id sequence)
{
    return add(batch, prompts_host()->llama_batch_ext_add(batch, sequence), sequence, -1, false);
}

EXPORT int32_t llama_batch_ext_add_token(struct llama_batch_ext *batch, llama_seq_id sequence, llama_token id)
{
    return add(batch, prompts_host()->llama_batch_ext_add_token(batch, sequence, id), sequence, id, false);
}

EXPORT int32_t llama_batch_ext_add_embd(struct llama_batch_ext *batch, llama_seq_id sequence,
                                        struct llama_embd embd)
{
    return add(batch, prompts_host()->llama_batch_ext_add_embd(batch, sequence, embd), sequence, -1, true);
}

/* Notes another sequence that a token of the batch belongs to. */
static void add_shared(batch_copy *copy, llama_seq_id sequence)
{
    if (copy->n_shared == copy->shared_room) {
        int room = copy->shared_room ? 2 * copy->shared_room : 64;
        llama_seq_id *grown = realloc(copy->shared, (size_t)room * sizeof *grown);
        if (!grown) {
            copy->failed = true;
            return;
        }
        copy->shared = grown;
        copy->shared_room = room;
    }
    copy->shared[copy->n_shared++] = sequence;
}

EXPORT bool llama_batch_ext_add_seq(struct llama_batch_ext *batch, int32_t index, llama_seq_id sequence)
{
    batch_entry *entry = entry_of(batch, index);
    if (entry && sequence != entry->sequence) {
        entry->is_shared = true;
        add_shared(batch_copy_of(batch), sequence);
    }
    return prompts_host()->llama_batch_ext_add_seq(batch, index, sequence);
}

EXPORT bool llama_batch_ext_set_embd_token(struct llama_batch_ext *batch, int32_t index,
                                           struct llama_embd embd)
{
    batch_entry *entry = entry_of(batch, index);
    if (entry) {
        entry->has_embd = true;
    }
    return prompts_host()->llama_batch_ext_set_embd_token(batch, index, embd);
}

EXPORT bool llama_batch_ext_set_pos(struct llama_batch_ext *batch, int32_t index, const llama_pos *pos)
{
    batch_entry *entry = entry_of(batch, index);
    if (entry && pos) {
        entry->pos = *pos;
    }
    return prompts_host()->llama_batch_ext_set_pos(batch, index, pos);
}

EXPORT bool llama_batch_ext_set_output_logits(struct llama_batch_ext *batch, int32_t index, bool value)
{
    batch_entry *entry = entry_of(batch, index);
    if (entry) {
        entry->has_output = value;
    }
    return prompts_host()->llama_batch_ext_set_output_logits(batch, index, value);
}

EXPORT bool llama_batch_ext_set_output_embd(struct llama_batch_ext *batch, int32_t index, bool value)
{
    batch_entry *entry = entry_of(batch, index);
    if (entry) {
        entry->has_output = value;
    }
    return prompts_host()->llama_batch_ext_set_output_embd(batch, index, value);
}

/* ---- results, by index ---- */

#define BY_INDEX(type, name)                                                                                 \
    EXPORT type name(struct llama_context *context, int32_t i)                                               \
    {                                                                                                        \
        static _Atomic(__typeof__(name) *) next;                                                             \
        if (!next) {                                                                                         \
            __typeof__(name) *found;                                                                         \
            preload_find(RTLD_NEXT, #name, &found);                                                          \
            next = found;                                                                                    \
        }                                                                                                    \
        return next(context, sequences_index(context, i));                                                   \
    }

BY_INDEX(float *, llama_get_logits_ith)
BY_INDEX(float *, llama_get_embeddings_ith)
BY_INDEX(llama_token, llama_get_sampled_token_ith)
BY_INDEX(float *, llama_get_sampled_probs_ith)
BY_INDEX(uint32_t, llama_get_sampled_probs_count_ith)
BY_INDEX(float *, llama_get_sampled_logits_ith)
BY_INDEX(uint32_t, llama_get_sampled_logits_count_ith)
BY_INDEX(llama_token *, llama_get_sampled_candidates_ith)
BY_INDEX(uint32_t, llama_get_sampled_candidates_count_ith)
