/*
 * The tokens of every sequence, as llama.cpp keeps them for nobody: by them prompts are stored before they
 * go, and found again. What a batch begins with and a stored prompt has is not computed but restored. The
 * host never sees more than it asked for: a sequence has the positions that it has computed, or believes to
 * have.
 */
#include "prompts.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static tracked *tracked_of(const struct llama_context *context)
{
    tracked *t = NULL;
    if (active) {
        pthread_mutex_lock(&lock);
        t = contexts;
        while (t && t->context != context) {
            t = t->next;
        }
        pthread_mutex_unlock(&lock);
    }
    return t;
}

static tracked *tracked_by(llama_memory_t memory)
{
    tracked *t = NULL;
    if (active) {
        pthread_mutex_lock(&lock);
        t = contexts;
        while (t && t->memory != memory) {
            t = t->next;
        }
        pthread_mutex_unlock(&lock);
    }
    return t;
}

static sequence *sequence_of(const tracked *t, llama_seq_id s)
{
    return t && s >= 0 && s < t->n_sequences ? &t->sequences[s] : NULL;
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
    return params->ctx_other ? "a context depends on another one" : NULL;
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
        const char *why = obstacle(model, context, &params);
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
static uint64_t key_of(tracked *t)
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

/* ---- what a sequence has ---- */

/* Rows that the host believes to be there are not yet. */
static bool is_waiting(const sequence *q)
{
    return q->there < q->n;
}

static void drop_ahead(sequence *q)
{
    free(q->ahead.bytes);
    q->ahead = (stored_prompt){.bytes = NULL};
}

static void make_empty(sequence *q)
{
    drop_ahead(q);
    q->n = q->there = 0;
    q->more = false;
}

/* It has the first n of its tokens, and is known no further. */
static void cut_at(sequence *q, size_t n, bool more)
{
    q->n = q->n < n ? q->n : n;
    q->there = q->there < q->n ? q->there : q->n;
    q->more = more;
    if (q->there == q->n) {
        drop_ahead(q);
    }
}

static bool make_room_for(sequence *q, size_t n)
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
    if (q->n == 0 || q->more || q->there != q->n || key_of(t) == 0) {
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
    return q->n >= STORED_LEAST && !q->more && q->there == q->n && key_of(t) != 0 &&
           !folder_has(t->key, q->tokens, q->n);
}

/* Stores a prompt that is about to go. */
static void store(tracked *t, llama_seq_id s)
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

void sequences_saved(const struct llama_context *context, const prompt_label *label, size_t label_bytes,
                     const uint8_t *bytes, size_t size)
{
    size_t n = (label_bytes - sizeof *label) / sizeof *label->tokens;
    (void)context;
    if (n < STORED_LEAST || folder_has(label->key, label->tokens, n)) {
        return;
    }
    uint8_t *copy = malloc(size);
    if (copy) {
        memcpy(copy, bytes, size);
        folder_put(copy, size);
    }
}

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
        return is_waiting(q) ? compute(t, s) : 0; /* it was tried before, and there was no room */
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
    drop_ahead(q);
    return done ? 0 : compute(t, s);
}

/* The sequence as the host believes it to be. */
static void complete(tracked *t, llama_seq_id s)
{
    sequence *q = sequence_of(t, s);
    if (q && is_waiting(q) && restore(t, s, q->n) != 0) {
        cut_at(q, q->there, false); /* the host will find positions missing, and say so */
    }
}

static void complete_all(tracked *t)
{
    for (llama_seq_id s = 0; s < t->n_sequences; s++) {
        complete(t, s);
    }
}

void sequences_complete(const struct llama_context *context, llama_seq_id s)
{
    tracked *t = tracked_of(context);
    if (t) {
        complete(t, s);
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
    make_empty(q);
    size_t n = label && bytes > sizeof *label ? (bytes - sizeof *label) / sizeof *label->tokens : 0;
    q->more = n == 0 || label->key != key_of(t) || !make_room_for(q, n);
    if (!q->more) {
        memcpy(q->tokens, label->tokens, n * sizeof *q->tokens);
        q->n = q->there = n;
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

/* Of the tokens that a sequence has and gets now, as many as a stored prompt, which is ahead then. */
static size_t look_ahead(const tracked *t, llama_seq_id s, size_t wanted)
{
    sequence *q = &t->sequences[s];
    stored_prompt found;
    char name[sizeof found.name];
    size_t match = 0;
    while (q->ahead.bytes && match < wanted && match < q->ahead.n &&
           q->ahead.tokens[match] == q->tokens[match]) {
        match++;
    }
    if (match == wanted || wanted - q->there < GAINED_LEAST) {
        return match;
    }
    size_t least = (match > q->n ? match : q->n) + GAINED_LEAST - 1, most = cells_for(t, s);
    for (int tries = 0; tries < 8 && folder_find(t->key, q->tokens, wanted, least, most, name) > 0; tries++) {
        if (folder_load(name, t->key, &found)) {
            size_t same = 0;
            while (same < wanted && same < found.n && found.tokens[same] == q->tokens[same]) {
                same++;
            }
            if (same > least && found.n <= most) {
                drop_ahead(q);
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
    if (r->odd || !prompts_plugin() || key_of(t) == 0) {
        return restore(t, s, q->n);
    }
    if (!is_waiting(q) && r->n_before < GAINED_LEAST) {
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
                 !make_room_for(q, q->n + (size_t)r->n + 1);
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
        cut_at(q, first, true);
    } else if (result == 0) {
        q->n = first + (size_t)r->n;
        q->there = r->waits ? q->there : q->n;
    } else if (r->waits || r->restored) {
        /* The host has been told of no token of this batch. */
        h->llama_memory_seq_rm(t->memory, s, (llama_pos)first, -1);
        cut_at(q, first, false);
    } else {
        llama_pos last = h->llama_memory_seq_pos_max(t->memory, s);
        q->n = q->there = first + (size_t)r->n;
        cut_at(q, last < 0 ? 0 : (size_t)last + 1, false);
    }
}

/* Nothing is known of a context any more. */
static void lose_all(tracked *t)
{
    complete_all(t);
    for (llama_seq_id s = 0; s < t->n_sequences; s++) {
        cut_at(&t->sequences[s], 0, true);
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
            store(t, i);
        }
        bool to_end = to < 0 || (!q->more && (size_t)to >= q->n);
        if (!to_end) {
            complete(t, i);
        }
        cut_at(q, first, !to_end);
    }
    bool removed = h->llama_memory_seq_rm(memory, s, from, to);
    for (llama_seq_id i = 0; i < t->n_sequences; i++) {
        if (h->llama_memory_seq_pos_max(memory, i) < 0 && !is_waiting(&t->sequences[i])) {
            make_empty(&t->sequences[i]);
        }
    }
    return removed;
}

EXPORT void llama_memory_clear(llama_memory_t memory, bool data)
{
    tracked *t = tracked_by(memory);
    for (llama_seq_id s = 0; t && s < t->n_sequences; s++) {
        store(t, s);
        make_empty(&t->sequences[s]);
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
        complete(t, from);
        complete(t, to);
        size_t n = last < 0 || (size_t)last > source->n ? source->n : (size_t)last;
        bool known = first <= 0 && q->n == 0 && !q->more && make_room_for(q, n);
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
            store(t, i);
            make_empty(&t->sequences[i]);
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
            complete(t, i);
            cut_at(q, first > 0 ? (size_t)first : 0, true);
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
    return q && is_waiting(q) ? 0 : prompts_host()->llama_memory_seq_pos_min(memory, s);
}

EXPORT llama_pos llama_memory_seq_pos_max(llama_memory_t memory, llama_seq_id s)
{
    const sequence *q = sequence_of(tracked_by(memory), s);
    return q && is_waiting(q) ? (llama_pos)q->n - 1 : prompts_host()->llama_memory_seq_pos_max(memory, s);
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

EXPORT void llama_free(struct llama_context *context)
{
    pthread_mutex_lock(&lock);
    tracked **at = &contexts;
    while (*at && (*at)->context != context) {
        at = &(*at)->next;
    }
    tracked *t = *at;
    pthread_mutex_unlock(&lock);
    for (llama_seq_id s = 0; t && s < t->n_sequences; s++) {
        store(t, s);
    }
    if (t) {
        folder_flush();
        pthread_mutex_lock(&lock);
        for (at = &contexts; *at && *at != t; at = &(*at)->next) {
        }
        *at = t->next;
        pthread_mutex_unlock(&lock);
        for (llama_seq_id s = 0; s < t->n_sequences; s++) {
            make_empty(&t->sequences[s]);
            free(t->sequences[s].tokens);
        }
        free(t->sequences);
        free(t->index);
        free(t);
    }
    prompts_host()->llama_free(context);
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
        complete_all(t);
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
