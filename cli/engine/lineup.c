/* Caches side by side: opening, prefilling and greedy answers, and what every table says of a cache. */
#include "lineup.h"

#include "output/json.h"
#include "output/note.h"
#include "output/progress.h"
#include "output/statistics.h"

#include <stdio.h>
#include <string.h>

int lineup_add(struct lineup *lineup, const struct eval_options *options, const char *spec, int n_ctx,
               int n_ubatch)
{
    struct cache_options cache_options = {.spec = spec,
                                          .n_ctx = n_ctx,
                                          .n_batch = 2 * options->n_ubatch,
                                          .n_ubatch = n_ubatch,
                                          .n_threads = options->n_threads};
    int status = cache_open(lineup->model, &cache_options, &lineup->caches[lineup->n]);
    lineup->n += status == 0;
    return status;
}

int lineup_open(struct lineup *lineup, const struct model *model, const struct eval_options *options,
                int n_ctx)
{
    memset(lineup, 0, sizeof *lineup);
    lineup->model = model;
    lineup->impossible = &options->impossible;
    int status = lineup_add(lineup, options, "f16", n_ctx, options->n_ubatch);
    for (int i = 0; status == 0 && i < options->n_caches; i++) {
        status = lineup_add(lineup, options, options->caches[i], n_ctx, options->n_ubatch);
    }
    return status;
}

void lineup_close(struct lineup *lineup)
{
    for (int i = 0; i < lineup->n; i++) {
        cache_close(&lineup->caches[i]);
    }
    lineup->n = 0;
}

/* ---- tables and JSON ---- */

int lineup_name_width(const struct lineup *lineup)
{
    int width = (int)strlen("floor");
    for (int i = 0; i < lineup->n; i++) {
        int length = (int)strlen(lineup->caches[i].spec);
        width = length > width ? length : width;
    }
    return width;
}

static double ratio_of(const struct lineup *lineup, int i)
{
    return memory_ratio(cache_bytes(&lineup->caches[i]), cache_bytes(&lineup->caches[0]));
}

void lineup_print_cache(const struct lineup *lineup, int i, const char *name)
{
    printf("%-*s  %8.2f  %6.1f %%", lineup_name_width(lineup), SHOWN(name),
           (double)cache_bytes(&lineup->caches[i]) / 1048576, 100 * ratio_of(lineup, i));
}

cJSON *lineup_report_cache(const struct lineup *lineup, int i, const char *name)
{
    cJSON *result = cJSON_CreateObject();
    cJSON_AddStringToObject(result, "cache", name);
    report_add_memory(result, cache_bytes(&lineup->caches[i]), cache_bytes(&lineup->caches[0]));
    return result;
}

/* ---- one cache ---- */

int cache_prefill(struct cache *cache, const llama_token *tokens, int n, int first)
{
    int status = 0;
    for (int i = first; status == 0 && i < n && !interrupted(); i += cache->n_batch) {
        int count = n - i < cache->n_batch ? n - i : cache->n_batch;
        status = cache_decode(cache, tokens + i, count, i, i + count == n);
    }
    return status;
}

llama_token greedy_token(const float *logits, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

/* Cuts the text at the first of the stops; true when there was one. */
static bool cut_at_stop(char *text, const char *const *stops)
{
    bool cut = false;
    for (; *stops; stops++) {
        char *place = strstr(text, *stops);
        if (place) {
            *place = '\0';
            cut = true;
        }
    }
    return cut;
}

int cache_answer(struct cache *cache, int position, int n_max, const char *const *stops, char *text,
                 size_t size)
{
    const struct model *model = cache->model;
    text[0] = '\0';
    for (int i = 0; i < n_max && !interrupted(); i++) {
        llama_token token = greedy_token(cache_logits(cache, 0), model->n_vocab);
        if (model->engine->llama_vocab_is_eog(model->vocab, token)) {
            break;
        }
        model_append_piece(model, token, text, size);
        if (cut_at_stop(text, stops) || i + 1 == n_max) {
            break;
        }
        int status = cache_decode(cache, &token, 1, position + i, 1);
        if (status) {
            return status;
        }
    }
    return 0;
}
