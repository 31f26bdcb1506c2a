/*
 * What a cache loses by the ways in which its state came about: the same text again and again after rewinds,
 * regenerations, swaps, restores and context shifts, against the stock f16 cache that went the same ways.
 * For measuring.
 *
 *     states LIB_DIR PLUGIN SPEC MODEL TEXT PART [TOKENS [CELLS [TURNS [UBATCH]]]]
 *
 * PART: requests (the same request at temperature 0 on a cached prefix of TOKENS: are the logits those of the
 * last time?), or rewinds, regenerations, swaps, moves, shifts (mean KL divergence to f16 after each turn),
 * or afresh (the same after the text that shifts has left at that turn, computed anew).
 */
#include "checks.h"
#include "plugin_functions.h"

#include <string.h>

enum { PROBE = 64, ANSWER = 100, LONGEST = 400 };

typedef struct side {
    struct llama_context *c;
    llama_memory_t memory;
} side;

static llama_token *text;
static int n_text, n_vocab, n_cells, n_ubatch;
static side sides[2]; /* f16, ours */

static bool make_side(struct llama_model *model, const char *spec, int n_seq, side *s)
{
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)n_cells;
    params.n_batch = 2048;
    params.n_ubatch = (uint32_t)n_ubatch;
    params.n_seq_max = (uint32_t)n_seq;
    params.kv_unified = true;
    params.n_threads = params.n_threads_batch = 2;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    set_cache(spec);
    s->c = llama_init_from_model(model, params);
    s->memory = s->c ? llama_get_memory(s->c) : NULL;
    return s->c != NULL;
}

/* Tokens [from, from + n) of the text at positions from `pos` on; logits of all of them or of the last one.
 */
static void feed(const side *s, int seq, int from, int pos, int n, bool all)
{
    for (int done = 0; done < n; done += n_ubatch) {
        int many = n - done < n_ubatch ? n - done : n_ubatch;
        struct llama_batch batch = llama_batch_init(many, 0, 1);
        for (int i = 0; i < many; i++) {
            batch.token[i] = text[from + done + i];
            batch.pos[i] = pos + done + i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = seq;
            batch.logits[i] = all || done + i == n - 1;
        }
        batch.n_tokens = many;
        if (llama_decode(s->c, batch) != 0) {
            fprintf(stderr, "states: llama_decode failed: give it more CELLS\n");
            exit(1);
        }
        llama_batch_free(batch);
    }
}

static double divergence(const float *p, const float *q)
{
    double p_top = p[0], q_top = q[0], p_sum = 0, q_sum = 0, kl = 0;
    for (int i = 0; i < n_vocab; i++) {
        p_top = fmax(p_top, p[i]);
        q_top = fmax(q_top, q[i]);
    }
    for (int i = 0; i < n_vocab; i++) {
        p_sum += exp(p[i] - p_top);
        q_sum += exp(q[i] - q_top);
    }
    double shift = q_top + log(q_sum) - p_top - log(p_sum);
    for (int i = 0; i < n_vocab; i++) {
        kl += exp(p[i] - p_top) / p_sum * (p[i] - q[i] + shift);
    }
    return kl;
}

/* The mean over PROBE tokens of the text that follow at `pos`, which are removed afterwards. */
static double probe(int seq, int from, int pos)
{
    double sum = 0;
    for (int done = 0; done < PROBE; done += n_ubatch) {
        int many = PROBE - done < n_ubatch ? PROBE - done : n_ubatch;
        for (int s = 0; s < 2; s++) {
            feed(&sides[s], seq, from + done, pos + done, many, true);
        }
        for (int i = 0; i < many; i++) {
            sum += divergence(llama_get_logits_ith(sides[0].c, i), llama_get_logits_ith(sides[1].c, i));
        }
    }
    for (int s = 0; s < 2; s++) {
        llama_memory_seq_rm(sides[s].memory, seq, pos, -1);
    }
    return sum / PROBE;
}

static void both(int seq, int from, int pos, int n)
{
    for (int s = 0; s < 2; s++) {
        feed(&sides[s], seq, from, pos, n, false);
    }
}

static void remove_both(int seq, int from, int to)
{
    for (int s = 0; s < 2; s++) {
        llama_memory_seq_rm(sides[s].memory, seq, from, to);
    }
}

/* Saves a sequence, takes it out, has `gap` cells of another one written, and restores it behind them. */
static void move_both(int seq, int other, int gap)
{
    for (int s = 0; s < 2; s++) {
        size_t size = llama_state_seq_get_size(sides[s].c, seq);
        uint8_t *state = malloc(size);
        if (!state || llama_state_seq_get_data(sides[s].c, state, size, seq) != size) {
            exit(1);
        }
        llama_memory_seq_rm(sides[s].memory, seq, -1, -1);
        llama_memory_seq_rm(sides[s].memory, other, -1, -1);
        feed(&sides[s], other, n_text / 2, 0, gap, false);
        if (llama_state_seq_set_data(sides[s].c, state, size, seq) == 0) {
            fprintf(stderr, "states: there is no room to restore a sequence: give it more CELLS\n");
            exit(1);
        }
        free(state);
    }
}

/* Greedy answers of 20 to LONGEST tokens, the first of which is the longest; when each first differs in its
 * logits from the last one that came as far. */
static void requests(int n, int turns)
{
    const side *s = &sides[1];
    float *last = calloc((size_t)n_vocab * LONGEST, sizeof *last);
    int known = 0; /* tokens of the answer as it was the last time */
    feed(s, 0, 0, 0, n, false);
    for (int turn = 0; turn < turns; turn++) {
        int differs = -1, answer = turn == 0 ? LONGEST : 20 + turn * 97 % (LONGEST - 19);
        double most = 0;
        if (turn > 0) {
            llama_memory_seq_rm(s->memory, 0, n - 1, -1);
            feed(s, 0, n - 1, n - 1, 1, false);
        }
        for (int i = 0; i < answer; i++) {
            const float *logits = llama_get_logits_ith(s->c, -1);
            float *before = last + (size_t)i * (size_t)n_vocab;
            int best = 0;
            for (int v = 0; v < n_vocab; v++) {
                best = logits[v] > logits[best] ? v : best;
                most = i < known ? fmax(most, fabs((double)logits[v] - before[v])) : most;
            }
            if (differs < 0 && i < known && memcmp(before, logits, (size_t)n_vocab * sizeof *logits) != 0) {
                differs = i;
            }
            memcpy(before, logits, (size_t)n_vocab * sizeof *logits);
            llama_token kept = text[n_text - 1];
            text[n_text - 1] = best;
            feed(s, 0, n_text - 1, n + i, 1, false);
            text[n_text - 1] = kept;
        }
        known = differs < 0 && known > answer ? known : answer;
        if (turn > 0 && differs < 0) {
            printf("request %d: %d tokens, equal\n", turn + 1, answer);
        } else if (turn > 0) {
            printf("request %d: %d tokens, differs from token %d on, by up to %.4f\n", turn + 1, answer,
                   differs, most);
        }
    }
    fflush(stdout);
    free(last);
}

static void turns_of(const char *part, int n, int turns)
{
    int pos = n, from = n; /* where the text goes on, and with which token */
    for (int turn = 0; turn <= turns; turn++) {
        if (turn == 0) {
            both(0, 0, 0, n);
        } else if (strcmp(part, "rewinds") == 0) {
            int back = 1 + turn * 37 % 150;
            remove_both(0, n - back, -1);
            both(0, n - back, n - back, back);
        } else if (strcmp(part, "regenerations") == 0) {
            both(0, n_text / 2 + turn * 211 % (n_text / 4), n, ANSWER);
            remove_both(0, n, -1);
        } else if (strcmp(part, "swaps") == 0) {
            move_both(0, 1, 100 + turn * 41 % 128);
            remove_both(1, -1, -1);
        } else if (strcmp(part, "moves") == 0) {
            move_both(0, 1, 64 * (turn % 4) + turn * 29 % 64 + 1);
        } else if (strcmp(part, "shifts") == 0) {
            /* As hosts do it when a context is full: the first four tokens stay, the next 64 go. */
            remove_both(0, 4, 68);
            for (int s = 0; s < 2; s++) {
                llama_memory_seq_add(sides[s].memory, 0, 68, -1, -64);
            }
            both(0, from, pos - 64, 64);
            from += 64;
        } else if (strcmp(part, "afresh") == 0) {
            remove_both(0, 0, -1);
            from += 64;
            both(0, 0, 0, 4);
            both(0, from - n + 4, 4, n - 4);
        } else {
            fprintf(stderr, "states: there is no part '%s'\n", part);
            exit(2);
        }
        printf("%s %d: %.6f\n", part, turn, probe(0, from, pos));
        fflush(stdout);
    }
}

static bool load_text(const struct llama_vocab *vocab, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        return false;
    }
    enum { MOST = 200000 };
    char *bytes = malloc(MOST);
    int n = (int)fread(bytes, 1, MOST, file);
    fclose(file);
    text = malloc(MOST * sizeof *text);
    n_text = llama_tokenize(vocab, bytes, n, text, MOST, true, false);
    free(bytes);
    return n_text > 0;
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(stderr,
                "usage: states LIB_DIR PLUGIN SPEC MODEL TEXT PART [TOKENS [CELLS [TURNS [UBATCH]]]]\n");
        return 2;
    }
    int n = argc > 7 ? atoi(argv[7]) : 700, turns = argc > 9 ? atoi(argv[9]) : 10;
    n_cells = argc > 8 ? atoi(argv[8]) : 2048;
    n_ubatch = argc > 10 ? atoi(argv[10]) : 64;
    if (!load_plugin(argv[1], argv[2], argv[3]) || !find_plugin_functions()) {
        return 1;
    }
    struct llama_model *model = llama_model_load_from_file(argv[4], llama_model_default_params());
    if (!model || !load_text(llama_model_get_vocab(model), argv[5]) ||
        !make_side(model, "f16", 2, &sides[0]) || !make_side(model, argv[3], 2, &sides[1])) {
        fprintf(stderr, "states: model or text cannot be loaded\n");
        return 1;
    }
    n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    if (strcmp(argv[6], "requests") == 0) {
        requests(n, turns);
    } else {
        turns_of(argv[6], n, turns);
    }
    llama_free(sides[0].c);
    llama_free(sides[1].c);
    llama_model_free(model);
    free(text);
    return 0;
}
