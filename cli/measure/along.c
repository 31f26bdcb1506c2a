#include "along.h"

#include "output/note.h"

#include <stdlib.h>
#include <string.h>

int along_open(struct along *along, struct lineup *lineup, int n_threads)
{
    int step = lineup->caches[0].n_batch;
    *along = (struct along){.lineup = lineup, .step = step};
    along->logits = malloc((size_t)step * (size_t)lineup->n * sizeof *along->logits);
    along->team = team_create(n_threads);
    return along->logits && along->team ? 0 : cli_fail("Memory is too short: use a smaller context (-c).");
}

void along_close(struct along *along)
{
    team_free(along->team);
    free(along->logits);
    *along = (struct along){.lineup = NULL};
}

/* The rows of one step. */
struct rows {
    const struct along *along;
    along_row row;
    void *context;
    int position; /* of the first one */
};

static void give_row(void *context, int thread, int64_t i)
{
    const struct rows *rows = context;
    (void)thread;
    rows->row(rows->context, rows->position + (int)i, rows->along->logits + i * rows->along->lineup->n);
}

static int read_step(struct along *along, const llama_token *tokens, int n, int position, int n_rows)
{
    int status = 0, n_caches = along->lineup->n;
    for (int i = 0; i < n_caches && status == 0; i++) {
        struct cache *cache = &along->lineup->caches[i];
        status = interrupted() ? EXIT_INTERRUPTED : cache_decode(cache, tokens, n, position, n_rows);
        if (status == 0 && i == 0) {
            status = cache_check_logits(cache, n_rows);
        }
        for (int row = 0; row < n_rows && status == 0; row++) {
            along->logits[row * n_caches + i] = cache_logits(cache, row);
        }
        if (along->work) {
            along->work->done += n;
            progress_show(&along->work->progress, along->work->done, along->work->total, along->work->detail);
        }
    }
    return status;
}

int along_read(struct along *along, const llama_token *tokens, int first, int end, int scored, along_row row,
               void *context)
{
    int status = 0;
    for (int i = 0; i < along->lineup->n && first == 0; i++) {
        cache_clear(&along->lineup->caches[i]);
    }
    for (int at = first; at < end && status == 0; at += along->step) {
        int n = end - at < along->step ? end - at : along->step;
        int from = at > scored ? at : scored, n_rows = at + n > from ? at + n - from : 0;
        status = read_step(along, tokens + at, n, at, n_rows);
        if (status == 0 && n_rows > 0) {
            struct rows rows = {along, row, context, from};
            team_each(along->team, n_rows, give_row, &rows);
        }
    }
    return status;
}
