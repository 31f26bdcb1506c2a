/*
 * What sequences have, as far as it is known: tokens from position 0 on. Prompts are stored before they go.
 */
#include "sequences.h"

#include <stdlib.h>
#include <string.h>

/* ---- what a sequence has ---- */

void sequence_drop_ahead(sequence *q)
{
    free(q->ahead.bytes);
    q->ahead = (stored_prompt){.bytes = NULL};
}

void sequence_make_empty(sequence *q)
{
    sequence_drop_ahead(q);
    q->n = q->there = 0;
    q->more = false;
}

/* It has the first n of its tokens, and is known no further. */
void sequence_cut(sequence *q, size_t n, bool more)
{
    q->n = q->n < n ? q->n : n;
    q->there = q->there < q->n ? q->there : q->n;
    q->more = more;
    if (q->there == q->n) {
        sequence_drop_ahead(q);
    }
}

bool sequence_reserve(sequence *q, size_t n)
{
    if (n > q->room) {
        size_t room = 2 * q->room > n ? 2 * q->room : n + 512;
        int32_t *grown = realloc(q->tokens, room * sizeof *grown);
        if (!grown) {
            return false;
        }
        q->tokens = grown;
        q->room = room;
    }
    return true;
}

/* ---- storing ---- */

static prompt_label *label_of(tracked *t, const sequence *q, size_t *bytes)
{
    *bytes = 0;
    if (q->n == 0 || q->more || q->there != q->n || tracked_key(t) == 0) {
        return NULL;
    }
    prompt_label *label = malloc(sizeof *label + q->n * sizeof *label->tokens);
    if (label) {
        label->key = t->key;
        memcpy(label->tokens, q->tokens, q->n * sizeof *label->tokens);
        *bytes = sizeof *label + q->n * sizeof *label->tokens;
    }
    return label;
}

prompt_label *sequences_label(const struct llama_context *context, llama_seq_id s, size_t *bytes)
{
    tracked *t = tracked_of(context);
    const sequence *q = sequence_of(t, s);
    *bytes = 0;
    return q ? label_of(t, q, bytes) : NULL;
}

static bool is_worth_storing(tracked *t, const sequence *q)
{
    return q->n >= STORED_LEAST && !q->more && q->there == q->n && tracked_key(t) != 0 &&
           !folder_has(t->key, q->tokens, q->n);
}

/* Stores a prompt that is about to go. */
void sequence_store(tracked *t, llama_seq_id s)
{
    const sequence *q = &t->sequences[s];
    const plugin_functions *plugin = prompts_plugin();
    if (!plugin || !is_worth_storing(t, q)) {
        return;
    }
    state_call c = {t->context, s, 0};
    size_t label_bytes, plain = prompts_host()->llama_state_seq_get_size_ext(t->context, s, 0);
    prompt_label *label = label_of(t, q, &label_bytes);
    size_t size = label ? plugin->state_bytes(prompts_get, &c, plain, label_bytes) : 0;
    uint8_t *bytes = size > 0 ? malloc(size) : NULL;
    if (bytes && plugin->state_save(prompts_get, &c, plain, label, label_bytes, bytes, size) == size) {
        folder_put(bytes, size);
        bytes = NULL;
    }
    free(bytes);
    free(label);
}

void sequences_saved(const prompt_label *label, size_t label_bytes, const uint8_t *bytes, size_t size)
{
    size_t n = (label_bytes - sizeof *label) / sizeof *label->tokens;
    if (n < STORED_LEAST || folder_has(label->key, label->tokens, n)) {
        return;
    }
    uint8_t *copy = malloc(size);
    if (copy) {
        memcpy(copy, bytes, size);
        folder_put(copy, size);
    }
}

void sequences_set(const struct llama_context *context, llama_seq_id s, const prompt_label *label,
                   size_t bytes)
{
    tracked *t = tracked_of(context);
    sequence *q = sequence_of(t, s);
    if (!q) {
        return;
    }
    sequence_make_empty(q);
    size_t n = label && bytes > sizeof *label ? (bytes - sizeof *label) / sizeof *label->tokens : 0;
    q->more = n == 0 || label->key != tracked_key(t) || !sequence_reserve(q, n);
    if (!q->more) {
        memcpy(q->tokens, label->tokens, n * sizeof *q->tokens);
        q->n = q->there = n;
    }
}

/* ---- what changes sequences ---- */

EXPORT bool llama_memory_seq_rm(llama_memory_t memory, llama_seq_id s, llama_pos from, llama_pos to)
{
    const host_functions *h = prompts_host();
    tracked *t = tracked_by(memory);
    if (!t || t->off) {
        return h->llama_memory_seq_rm(memory, s, from, to);
    }
    for (llama_seq_id i = s < 0 ? 0 : s; i < (s < 0 ? t->n_sequences : s + 1); i++) {
        sequence *q = sequence_of(t, i);
        size_t first = from > 0 ? (size_t)from : 0;
        if (!q || first > q->n) {
            continue;
        }
        if (q->n - first >= STORED_LEAST) {
            sequence_store(t, i);
        }
        bool to_end = to < 0 || (!q->more && (size_t)to >= q->n);
        if (!to_end) {
            sequence_complete(t, i);
        }
        sequence_cut(q, first, !to_end);
    }
    bool removed = h->llama_memory_seq_rm(memory, s, from, to);
    for (llama_seq_id i = 0; i < t->n_sequences; i++) {
        if (h->llama_memory_seq_pos_max(memory, i) < 0 && !sequence_is_waiting(&t->sequences[i])) {
            sequence_make_empty(&t->sequences[i]);
        }
    }
    return removed;
}

EXPORT void llama_memory_clear(llama_memory_t memory, bool data)
{
    tracked *t = tracked_by(memory);
    for (llama_seq_id s = 0; t && s < t->n_sequences; s++) {
        sequence_store(t, s);
        sequence_make_empty(&t->sequences[s]);
    }
    prompts_host()->llama_memory_clear(memory, data);
}

EXPORT void llama_memory_seq_cp(llama_memory_t memory, llama_seq_id from, llama_seq_id to, llama_pos first,
                                llama_pos last)
{
    tracked *t = tracked_by(memory);
    const sequence *source = sequence_of(t, from);
    sequence *q = sequence_of(t, to);
    if (source && q && from != to) {
        sequence_complete(t, from);
        sequence_complete(t, to);
        size_t n = last < 0 || (size_t)last > source->n ? source->n : (size_t)last;
        bool known = first <= 0 && q->n == 0 && !q->more && sequence_reserve(q, n);
        if (known) {
            memcpy(q->tokens, source->tokens, n * sizeof *q->tokens);
            q->n = q->there = n;
        }
        q->more = known ? source->more : true;
    }
    prompts_host()->llama_memory_seq_cp(memory, from, to, first, last);
}

EXPORT void llama_memory_seq_keep(llama_memory_t memory, llama_seq_id s)
{
    tracked *t = tracked_by(memory);
    for (llama_seq_id i = 0; t && i < t->n_sequences; i++) {
        if (i != s) {
            sequence_store(t, i);
            sequence_make_empty(&t->sequences[i]);
        }
    }
    prompts_host()->llama_memory_seq_keep(memory, s);
}

/* Positions from `first` on change. */
static void move(llama_memory_t memory, llama_seq_id s, llama_pos first)
{
    tracked *t = tracked_by(memory);
    for (llama_seq_id i = s < 0 ? 0 : s; t && i < (s < 0 ? t->n_sequences : s + 1); i++) {
        sequence *q = sequence_of(t, i);
        if (q && (q->n > 0 || q->more)) {
            sequence_complete(t, i);
            sequence_cut(q, first > 0 ? (size_t)first : 0, true);
        }
    }
}

EXPORT void llama_memory_seq_add(llama_memory_t memory, llama_seq_id s, llama_pos first, llama_pos last,
                                 llama_pos delta)
{
    if (delta != 0) {
        move(memory, s, first);
    }
    prompts_host()->llama_memory_seq_add(memory, s, first, last, delta);
}

EXPORT void llama_memory_seq_div(llama_memory_t memory, llama_seq_id s, llama_pos first, llama_pos last,
                                 int by)
{
    move(memory, s, first);
    prompts_host()->llama_memory_seq_div(memory, s, first, last, by);
}

/* What waits to be restored is there, for the host. */
EXPORT llama_pos llama_memory_seq_pos_min(llama_memory_t memory, llama_seq_id s)
{
    const sequence *q = sequence_of(tracked_by(memory), s);
    return q && sequence_is_waiting(q) ? 0 : prompts_host()->llama_memory_seq_pos_min(memory, s);
}

EXPORT llama_pos llama_memory_seq_pos_max(llama_memory_t memory, llama_seq_id s)
{
    const sequence *q = sequence_of(tracked_by(memory), s);
    return q && sequence_is_waiting(q) ? (llama_pos)q->n - 1
                                       : prompts_host()->llama_memory_seq_pos_max(memory, s);
}

EXPORT size_t llama_state_seq_save_file(struct llama_context *context, const char *path, llama_seq_id s,
                                        const llama_token *tokens, size_t n)
{
    sequences_complete(context, s);
    return prompts_host()->llama_state_seq_save_file(context, path, s, tokens, n);
}

EXPORT size_t llama_state_seq_load_file(struct llama_context *context, const char *path, llama_seq_id s,
                                        llama_token *tokens, size_t room, size_t *n)
{
    sequences_set(context, s, NULL, 0);
    return prompts_host()->llama_state_seq_load_file(context, path, s, tokens, room, n);
}
