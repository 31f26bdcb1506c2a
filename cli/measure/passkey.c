#include "passkey.h"

#include "output/note.h"
#include "output/progress.h"
#include "output/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ANSWER_TOKENS = 16,
    MAX_SENTENCE = 80, /* bytes */
};

static const char introduction[] = "Somewhere in the following text there is a pass key. Remember it.\n\n";
static const char question[] = "\n\nWhat is the pass key?";
static const char answer_start[] = "The pass key is";

static const char *const filler[] = {
    "The road goes down to the harbour.",
    "Two boats lie at the pier.",
    "A baker opens the shop at six.",
    "The old bridge is made of stone.",
    "In the morning there is fog on the river.",
    "Children walk to school along the wall.",
    "The mill has not worked for many years.",
    "On Tuesdays there is a market in the square.",
    "Apples grow behind the church.",
    "The train stops here only in summer.",
    "A cat sleeps on the warm roof.",
    "Rain is expected in the evening.",
    "The library has a small garden.",
    "Someone is painting the fence green.",
    "Swallows nest under the eaves of the barn.",
    "The path to the hill begins at the well.",
};
enum { N_FILLER = sizeof filler / sizeof *filler };

/* The text with the key after depth percent of n_sentences; the same for the same seed. The caller's to free;
 * NULL: memory is short. */
static char *hide_key(const char *key, int depth, int n_sentences, uint64_t seed)
{
    size_t size = sizeof introduction + sizeof question + (size_t)(n_sentences + 2) * MAX_SENTENCE;
    char *text = malloc(size);
    int before = (n_sentences * depth + 50) / 100, last = -1;
    char *end = text ? stpcpy(text, introduction) : NULL;
    for (int i = 0; text && i <= n_sentences; i++) {
        if (i == before) {
            end += snprintf(end, MAX_SENTENCE, "The pass key is %s. Remember it. %s is the pass key. ", key,
                            key);
        }
        int pick = (int)(random_next(&seed) % N_FILLER);
        pick = pick == last ? (pick + 1) % N_FILLER : pick; /* never the same sentence twice in a row */
        last = pick;
        if (i < n_sentences) {
            end = stpcpy(stpcpy(end, filler[pick]), " ");
        }
    }
    if (text) {
        stpcpy(end - 1, question); /* instead of the last blank */
    }
    return text;
}

/* The text as the model's chat template has it, or as it is without one that llama.cpp knows, and the start
 * of the answer. The caller's to free; NULL: memory is short. */
static char *as_prompt(const struct model *model, const char *text)
{
    const struct engine *engine = model->engine;
    const char *template = engine->llama_model_chat_template(model->llama, NULL);
    struct llama_chat_message message = {"user", text};
    int32_t length = template ? engine->llama_chat_apply_template(template, &message, 1, true, NULL, 0) : -1;
    size_t room = length > 0 ? (size_t)length : strlen(text) + 1;
    char *prompt = malloc(room + 1 + sizeof answer_start);
    if (!prompt) {
        return NULL;
    }
    if (length > 0) {
        engine->llama_chat_apply_template(template, &message, 1, true, prompt, length + 1);
        prompt[length] = '\0';
    } else {
        stpcpy(stpcpy(prompt, text), "\n");
    }
    return strcat(prompt, answer_start);
}

static int tokenize_question(const struct model *model, const struct passkey_wish *wish, int n_sentences,
                             llama_token **tokens, int *n)
{
    *tokens = NULL; /* the caller frees them whatever happens */
    *n = 0;
    char *text = hide_key(wish->key, wish->depth, n_sentences, wish->seed);
    char *prompt = text ? as_prompt(model, text) : NULL;
    int status = prompt ? model_tokenize(model, prompt, strlen(prompt), true, true, tokens, n)
                        : cli_fail("Memory is too short for the text: use a smaller context.");
    free(text);
    free(prompt);
    return status;
}

int passkey_make(const char *command, const struct model *model, const struct passkey_wish *wish,
                 llama_token **tokens, int *n_tokens)
{
    /* The number of sentences, each of at least five words, is bisected. */
    int most = wish->length - ANSWER_TOKENS, low = 0, high = most / 5;
    *tokens = NULL;
    while (low < high) {
        int middle = low + (high - low + 1) / 2, n;
        llama_token *list;
        int status = tokenize_question(model, wish, middle, &list, &n);
        free(list);
        if (status) {
            return status;
        }
        low = n <= most ? middle : low;
        high = n <= most ? high : middle - 1;
    }
    if (low == 0) {
        return cli_usage(command,
                         "A text of %d tokens has no room for the pass key and the question: give a larger "
                         "context (-c).",
                         wish->length);
    }
    return tokenize_question(model, wish, low, tokens, n_tokens);
}

int passkey_ask(struct cache *cache, const llama_token *tokens, int n, const char *key, bool *found)
{
    static const char *const no_stops[] = {NULL};
    char answer[1024] = "";
    cache_clear(cache);
    int status = cache_prefill(cache, tokens, n, 0);
    if (status == 0 && !interrupted()) {
        status = cache_answer(cache, n, ANSWER_TOKENS, no_stops, answer, sizeof answer);
    }
    *found = strstr(answer, key) != NULL;
    return status;
}
