/* The text that is measured on: a file, or written by the model. */
#include "text.h"

#include "output/note.h"
#include "output/progress.h"
#include "output/random.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- from a file ---- */

/* *text is the caller's to free. */
static int read_text(const char *path, char **text, size_t *length)
{
    FILE *file = fopen(path, "rb");
    size_t room = 1 << 16, used = 0;
    char *bytes = file ? malloc(room) : NULL;
    *text = NULL;
    while (bytes) {
        size_t n = fread(bytes + used, 1, room - used, file);
        used += n;
        if (n == 0) {
            break;
        }
        if (used == room) {
            char *more = realloc(bytes, room *= 2);
            if (!more) {
                free(bytes);
            }
            bytes = more;
        }
    }
    bool readable = file && !ferror(file);
    int why = errno;
    if (file) {
        fclose(file);
    }
    if (!readable) {
        free(bytes);
        cli_fail("The text %s cannot be read (%s): give the path of a text file.", path, strerror(why));
        return EXIT_USAGE;
    }
    if (!bytes) {
        return cli_fail("Memory is too short for the text %s: use a smaller one.", path);
    }
    *text = bytes;
    *length = used;
    return 0;
}

/* Where it stops being text in UTF-8; its length: nowhere. It may be cut off within a character. */
static size_t length_of_text(const char *text, size_t length)
{
    enum { LONGEST = 4 };
    size_t at = 0;
    while (at < length) {
        unsigned char next[LONGEST + 1] = {0};
        size_t left = length - at;
        memcpy(next, text + at, left < LONGEST ? left : LONGEST);
        bool control = *next < ' ' && !strchr("\t\n\v\f\r\b\033", *next);
        int n = control || *next == '\0' ? 0 : utf8_length(next);
        if (n == 0) {
            bool cut = left < LONGEST && *next >= 0xC2;
            return cut ? length : at;
        }
        at += (size_t)n;
    }
    return length;
}

/* What else helps when a text is short. Not every command has windows to leave out. */
static const char *or_less(const struct eval_options *options)
{
    return options->n_chunks > 1 ? ", a smaller context (-c) or fewer chunks (--chunks)"
                                 : " or a smaller context (-c)";
}

static int file_tokens(const struct model *model, const struct eval_options *options, int n_wanted,
                       llama_token **tokens, int *n)
{
    const char *path = options->text_path;
    char *text;
    size_t length = 0;
    int status = read_text(path, &text, &length);
    size_t sound = status == 0 ? length_of_text(text, length) : 0;
    if (status == 0 && sound < length) {
        cli_fail("%s is not a text in UTF-8 (byte %zu): give a text file, or convert it, as with iconv.",
                 path, sound);
        free(text);
        return EXIT_USAGE;
    }
    if (status == 0) {
        status = model_tokenize(model, text, length, true, false, tokens, n);
        free(text);
    }
    if (status == 0 && *n < n_wanted) {
        cli_fail("%s has %d tokens, but %d are needed: give a longer text%s.", path, *n, n_wanted,
                 or_less(options));
        free(*tokens);
        *tokens = NULL;
        return EXIT_USAGE;
    }
    return status;
}

/* ---- written by the model ---- */

/* A token with the probability that the logits give it. */
static llama_token draw_token(const float *logits, int n, double random)
{
    float max = logits[0];
    for (int i = 1; i < n; i++) {
        max = logits[i] > max ? logits[i] : max;
    }
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += exp((double)logits[i] - max);
    }
    double left = random * sum;
    for (int i = 0; i < n; i++) {
        left -= exp((double)logits[i] - max);
        if (left < 0) {
            return i;
        }
    }
    return n - 1; /* only rounding leads here */
}

static llama_token first_token(const struct model *model)
{
    llama_token bos = model->engine->llama_vocab_bos(model->vocab);
    llama_token eos = model->engine->llama_vocab_eos(model->vocab);
    return bos != LLAMA_TOKEN_NULL ? bos : eos != LLAMA_TOKEN_NULL ? eos : 0;
}

/* Windows of n_ctx tokens, each begun anew: the cache need not be larger than when measuring. */
static int write_text(struct cache *cache, int n_ctx, uint32_t seed, llama_token *tokens, int n)
{
    struct progress progress;
    uint64_t state = seed;
    int status = 0;
    progress_start(&progress, "writing text");
    for (int i = 0; i < n && status == 0; i++) {
        int position = i % n_ctx;
        if (interrupted()) {
            status = EXIT_INTERRUPTED;
        } else if (position == 0) {
            cache_clear(cache);
            tokens[i] = first_token(cache->model);
        } else if ((status = cache_decode(cache, &tokens[i - 1], 1, position - 1, 1)) == 0 &&
                   (status = cache_check_logits(cache, 1)) == 0) {
            tokens[i] = draw_token(cache_logits(cache, 0), cache->model->n_vocab, random_share(&state));
        }
        progress_show(&progress, i + 1, n, "");
    }
    progress_clear(&progress);
    return status;
}

static int own_tokens(const struct model *model, const struct eval_options *options, int n_wanted,
                      llama_token **tokens, int *n)
{
    struct cache cache;
    int n_ctx = n_wanted < options->n_ctx ? n_wanted : options->n_ctx;
    llama_token *list = malloc((size_t)n_wanted * sizeof *list);
    if (!list) {
        return cli_fail("Memory is too short for %d tokens: use a smaller context (-c).", n_wanted);
    }
    int status = cache_open(model,
                            &(struct cache_options){.spec = "f16",
                                                    .n_ctx = n_ctx,
                                                    .n_batch = options->n_ubatch,
                                                    .n_ubatch = options->n_ubatch,
                                                    .n_threads = options->n_threads},
                            &cache);
    if (status == 0) {
        status = write_text(&cache, n_ctx, options->seed, list, n_wanted);
        cache_close(&cache);
    }
    if (status != 0) {
        free(list);
        return status;
    }
    *tokens = list;
    *n = n_wanted;
    return 0;
}

int text_tokens(const struct model *model, const struct eval_options *options, int n_wanted,
                llama_token **tokens, int *n)
{
    *tokens = NULL;
    *n = 0;
    return options->text_path ? file_tokens(model, options, n_wanted, tokens, n)
                              : own_tokens(model, options, n_wanted, tokens, n);
}
