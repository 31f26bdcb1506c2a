/*
 * The tokens of every sequence, as llama.cpp keeps them for nobody: contexts.c knows contexts, sequences.c
 * what their sequences have, decoding.c what comes to them.
 */
#ifndef TADA_PRELOAD_SEQUENCES_H
#define TADA_PRELOAD_SEQUENCES_H

#include "prompts.h"

typedef struct sequence {
    int32_t *tokens; /* [room]; n of positions from 0, and those of the batch that is being decoded */
    size_t n, room;
    bool more;    /* it has other rows, of which nothing is known */
    size_t there; /* rows that are in the cache: n, unless others of them are still ahead */
    /* Holds all n tokens, and is restored as soon as it is known how many of them go on. */
    stored_prompt ahead;
} sequence;

typedef struct tracked {
    struct llama_context *context;
    llama_memory_t memory;
    const struct llama_model *model;
    struct llama_context_params params;
    uint64_t key; /* 0: not known yet */
    bool off;     /* nothing is stored or restored */
    int n_sequences;
    sequence *sequences;
    int32_t
        *index; /* of the last batch, of which a part was computed: index of each token in that part, or -1 */
    int n_index, index_room;
    struct tracked *next;
} tracked;

/* ---- contexts.c ---- */

/* NULL: it is not known. */
tracked *tracked_of(const struct llama_context *context);
tracked *tracked_by(llama_memory_t memory);
/* What stored prompts of the context have in common; 0: they cannot be told apart, and are off. */
uint64_t tracked_key(tracked *t);

/* NULL: there is no such one. */
static inline sequence *sequence_of(const tracked *t, llama_seq_id s)
{
    return t && s >= 0 && s < t->n_sequences ? &t->sequences[s] : NULL;
}

/* Rows that the host believes to be there are not yet. */
static inline bool sequence_is_waiting(const sequence *q)
{
    return q->there < q->n;
}

/* ---- sequences.c ---- */

void sequence_make_empty(sequence *q);
void sequence_drop_ahead(sequence *q);
/* It has the first n of its tokens; more: and other rows. */
void sequence_cut(sequence *q, size_t n, bool more);
/* Room for n tokens. False: memory is short. */
bool sequence_reserve(sequence *q, size_t n);
/* Stores a prompt that is about to go, where that is worth it. */
void sequence_store(tracked *t, llama_seq_id s);

/* ---- decoding.c ---- */

/* The sequence, or all of them, as the host believes it to be. */
void sequence_complete(tracked *t, llama_seq_id s);
void tracked_complete(tracked *t);

#endif
