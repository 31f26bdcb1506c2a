/*
 * What a batch begins with and a stored prompt has is not computed but restored. The host never sees more
 * than it asked for: a sequence has the positions that it has computed, or believes to have.
 */
#include "sequences.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a batch has of one sequence. */
typedef struct run {
    int n;
    bool odd; /* it does not go on from where the sequence ends, or there is more in it than tokens */
    llama_pos first;
    int n_before;      /* tokens before the first one whose result is wanted */
    int skip, skipped; /* that are not computed; counted while the rest is found */
    bool waits;        /* they are all in what is ahead */
    bool restored;
} run;

/* ---- restoring ---- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* Computes what was to be restored. Returns what llama_decode does. */
static int compute(tracked *t, llama_seq_id s)
{
    const host_functions *h = prompts_host();
    sequence *q = &t->sequences[s];
    size_t most = h->llama_n_batch(t->context);
    struct llama_batch_ext *batch = h->llama_batch_ext_init(t->context);
    int result = batch ? 0 : -2;
    h->llama_memory_seq_rm(t->memory, s, -1, -1);
    q->there = 0;
    while (result == 0 && q->there < q->n) {
        size_t end = q->n - q->there < most ? q->n : q->there + most;
        h->llama_batch_ext_clear(batch);
        for (size_t i = q->there; i < end; i++) {
            llama_pos pos = (llama_pos)i;
            int32_t index = h->llama_batch_ext_add_token(batch, s, q->tokens[i]);
            h->llama_batch_ext_set_pos(batch, index, &pos);
        }
        result = h->llama_process(t->context, LLAMA_PROCESS_TYPE_DECODE, batch);
        q->there = result == 0 ? end : q->there;
    }
    if (batch) {
        h->llama_batch_ext_free(batch);
    }
    return result;
}

/* Restores what is ahead, of which the first `upto` tokens are right: n at least. Returns what llama_decode
 * does; after 0 the sequence has them, or n. */
static int restore(tracked *t, llama_seq_id s, size_t upto)
{
    const host_functions *h = prompts_host();
    sequence *q = &t->sequences[s];
    if (!q->ahead.bytes) {
        return sequence_is_waiting(q) ? compute(t, s) : 0; /* it was tried before, and there was no room */
    }
    double from = now_ms();
    state_call c = {t->context, s, 0};
    bool done = prompts_plugin()->state_restore(prompts_set, &c, q->ahead.bytes, q->ahead.size) &&
                h->llama_memory_seq_rm(t->memory, s, (llama_pos)upto, -1) &&
                h->llama_memory_seq_pos_min(t->memory, s) == 0 &&
                h->llama_memory_seq_pos_max(t->memory, s) == (llama_pos)upto - 1;
    size_t gained = upto - q->there;
    if (done) {
        memcpy(q->tokens, q->ahead.tokens, upto * sizeof *q->tokens);
        q->n = q->there = upto;
        preload_log("slot %d: %zu tokens of a stored prompt are restored (%.1f MiB in %.0f ms)", (int)s,
                    gained, (double)q->ahead.size / 1048576, now_ms() - from);
        prompts_plugin()->count_prompt(gained, q->ahead.size);
        folder_touch(q->ahead.name);
    }
    sequence_drop_ahead(q);
    return done ? 0 : compute(t, s);
}

/* The sequence as the host believes it to be. */
void sequence_complete(tracked *t, llama_seq_id s)
{
    sequence *q = sequence_of(t, s);
    if (q && sequence_is_waiting(q) && restore(t, s, q->n) != 0) {
        sequence_cut(q, q->there, false); /* the host will find positions missing, and say so */
    }
}

void tracked_complete(tracked *t)
{
    for (llama_seq_id s = 0; s < t->n_sequences; s++) {
        sequence_complete(t, s);
    }
}

void sequences_complete(const struct llama_context *context, llama_seq_id s)
{
    tracked *t = tracked_of(context);
    if (t) {
        sequence_complete(t, s);
    }
}

/* ---- decoding ---- */

/* Cells that a stored prompt may take for a while: those of the sequence, and free ones. */
static size_t cells_for(const tracked *t, llama_seq_id s)
{
    const host_functions *h = prompts_host();
    size_t cells = h->llama_n_ctx_seq(t->context);
    if (t->params.kv_unified) {
        cells = h->llama_n_ctx(t->context);
        for (llama_seq_id i = 0; i < t->n_sequences; i++) {
            llama_pos last = i == s ? -1 : h->llama_memory_seq_pos_max(t->memory, i);
            size_t used = last < 0 ? 0 : (size_t)(last - h->llama_memory_seq_pos_min(t->memory, i) + 1);
            cells -= cells < used ? cells : used;
        }
    }
    return cells;
}

/* Of the first tokens of a sequence, those that a stored prompt begins with. */
static size_t match_of(const sequence *q, size_t wanted, const stored_prompt *p)
{
    return tokens_common(p->tokens, q->tokens, p->n < wanted ? p->n : wanted);
}

/* Of the tokens that a sequence has and gets now, as many as a stored prompt, which is ahead then. */
static size_t look_ahead(const tracked *t, llama_seq_id s, size_t wanted)
{
    sequence *q = &t->sequences[s];
    stored_prompt found;
    char name[sizeof found.name];
    size_t match = q->ahead.bytes ? match_of(q, wanted, &q->ahead) : 0;
    if (match == wanted || wanted - q->there < GAINED_LEAST) {
        return match;
    }
    size_t least = (match > q->n ? match : q->n) + GAINED_LEAST - 1, most = cells_for(t, s);
    for (int tries = 0; tries < 8 && folder_find(t->key, q->tokens, wanted, least, most, name) > 0; tries++) {
        if (folder_load(name, t->key, &found)) {
            size_t same = match_of(q, wanted, &found);
            if (same > least && found.n <= most) {
                sequence_drop_ahead(q);
                q->ahead = found;
                return same;
            }
            free(found.bytes); /* another file has this name now; the folder is looked through again */
            break;
        }
    }
    return match;
}

/* What of a run is restored, or waits. Returns what llama_decode does. */
static int plan_run(tracked *t, llama_seq_id s, run *r)
{
    sequence *q = &t->sequences[s];
    if (r->odd || !prompts_plugin() || tracked_key(t) == 0) {
        return restore(t, s, q->n);
    }
    if (!sequence_is_waiting(q) && r->n_before < GAINED_LEAST) {
        return 0;
    }
    size_t had = q->n, wanted = had + (size_t)r->n_before, match = look_ahead(t, s, wanted);
    if (!q->ahead.bytes) {
        return restore(t, s, had);
    }
    if (match == wanted && r->n_before == r->n) {
        r->skip = r->n;
        r->waits = true;
        return 0;
    }
    int result = restore(t, s, match);
    r->restored = true;
    r->skip = result == 0 ? (int)(q->n - had) : 0;
    return result;
}

/* Computes a batch without what is skipped of each run. */
static int process_rest(tracked *t, const batch_copy *copy, run *runs)
{
    const host_functions *h = prompts_host();
    int n = 0, result = 0;
    if (copy->n > t->index_room) {
        int32_t *grown = realloc(t->index, (size_t)copy->n * sizeof *grown);
        if (!grown) {
            return -2;
        }
        t->index = grown;
        t->index_room = copy->n;
    }
    struct llama_batch_ext *rest = h->llama_batch_ext_init(t->context);
    if (!rest) {
        return -2;
    }
    for (int i = 0; i < copy->n && result == 0; i++) {
        const batch_entry *e = &copy->entries[i];
        t->index[i] = -1;
        if (runs[e->sequence].skipped++ >= runs[e->sequence].skip) {
            t->index[i] = h->llama_batch_ext_add_token(rest, e->sequence, e->token);
            result = t->index[i] >= 0 && h->llama_batch_ext_set_pos(rest, t->index[i], &e->pos) ? 0 : -1;
            if (e->has_output) {
                h->llama_batch_ext_set_output_logits(rest, t->index[i], true);
            }
            n++;
        }
    }
    if (result == 0 && n > 0) {
        result = h->llama_process(t->context, LLAMA_PROCESS_TYPE_DECODE, rest);
    }
    t->n_index = copy->n;
    h->llama_batch_ext_free(rest);
    return result;
}

/* Tokens of a batch, by sequence; false: they cannot be told apart. */
static bool find_runs(tracked *t, const batch_copy *copy, run *runs)
{
    bool simple = copy->n > 0 && !copy->failed;
    for (int i = 0; i < copy->n; i++) {
        const batch_entry *e = &copy->entries[i];
        sequence *q = sequence_of(t, e->sequence);
        if (!q) {
            return false;
        }
        run *r = &runs[e->sequence];
        if (r->n == 0) {
            r->first = e->pos;
            r->odd = q->more || e->pos != (llama_pos)q->n;
        }
        r->odd = r->odd || e->has_embd || e->is_shared || e->token < 0 || e->pos != r->first + r->n ||
                 !sequence_reserve(q, q->n + (size_t)r->n + 1);
        if (!r->odd) {
            q->tokens[q->n + (size_t)r->n] = e->token;
        }
        r->n_before += r->n_before == r->n && !e->has_output;
        r->n++;
        simple = simple && !e->has_embd && !e->is_shared && e->token >= 0;
    }
    for (int i = 0; i < copy->n_shared; i++) {
        llama_seq_id s = copy->shared[i];
        if (!sequence_of(t, s)) {
            return false;
        }
        runs[s].odd = true;
        runs[s].n += runs[s].n == 0;
    }
    return simple;
}

/* What a sequence has after a batch. */
static void note_run(tracked *t, llama_seq_id s, const run *r, int result)
{
    const host_functions *h = prompts_host();
    sequence *q = &t->sequences[s];
    size_t first = r->first < 0 ? 0 : (size_t)r->first;
    if (r->odd) {
        sequence_cut(q, first, true);
    } else if (result == 0) {
        q->n = first + (size_t)r->n;
        q->there = r->waits ? q->there : q->n;
    } else if (r->waits || r->restored) {
        /* The host has been told of no token of this batch. */
        h->llama_memory_seq_rm(t->memory, s, (llama_pos)first, -1);
        sequence_cut(q, first, false);
    } else {
        llama_pos last = h->llama_memory_seq_pos_max(t->memory, s);
        q->n = q->there = first + (size_t)r->n;
        sequence_cut(q, last < 0 ? 0 : (size_t)last + 1, false);
    }
}

/* Nothing is known of a context any more. */
static void lose_all(tracked *t)
{
    tracked_complete(t);
    for (llama_seq_id s = 0; s < t->n_sequences; s++) {
        sequence_cut(&t->sequences[s], 0, true);
    }
}

static int decode(tracked *t, const batch_copy *copy, struct llama_batch_ext *batch)
{
    run *runs = calloc((size_t)t->n_sequences + 1, sizeof *runs);
    bool simple = runs && find_runs(t, copy, runs), skips = false;
    int result = 0;
    if (!runs || copy->failed || copy->n == 0) {
        free(runs);
        lose_all(t);
        return prompts_host()->llama_process(t->context, LLAMA_PROCESS_TYPE_DECODE, batch);
    }
    for (llama_seq_id s = 0; s < t->n_sequences && result == 0; s++) {
        if (runs[s].n > 0) {
            runs[s].odd = runs[s].odd || !simple;
            result = plan_run(t, s, &runs[s]);
            skips = skips || runs[s].skip > 0;
        }
    }
    if (result == 0) {
        result = skips ? process_rest(t, copy, runs)
                       : prompts_host()->llama_process(t->context, LLAMA_PROCESS_TYPE_DECODE, batch);
    }
    for (llama_seq_id s = 0; s < t->n_sequences; s++) {
        if (runs[s].n > 0) {
            note_run(t, s, &runs[s], result);
        }
    }
    free(runs);
    return result;
}

EXPORT int32_t llama_process(struct llama_context *context, enum llama_process_type type,
                             struct llama_batch_ext *batch)
{
    tracked *t = type == LLAMA_PROCESS_TYPE_DECODE ? tracked_of(context) : NULL;
    if (t) {
        t->n_index = 0;
    }
    if (!t || t->off) {
        return prompts_host()->llama_process(context, type, batch);
    }
    const batch_copy *copy = batch_copy_of(batch);
    if (!copy) {
        lose_all(t);
        return prompts_host()->llama_process(context, type, batch);
    }
    return decode(t, copy, batch);
}

/* llama-server does not call it. */
EXPORT int32_t llama_decode(struct llama_context *context, struct llama_batch batch)
{
    tracked *t = tracked_of(context);
    if (t) {
        t->n_index = 0;
        lose_all(t);
    }
    return prompts_host()->llama_decode(context, batch);
}

int32_t sequences_index(const struct llama_context *context, int32_t i)
{
    const tracked *t = tracked_of(context);
    if (!t || i < 0 || i >= t->n_index) {
        return i;
    }
    return t->index[i] >= 0 ? t->index[i] : INT_MAX;
}
