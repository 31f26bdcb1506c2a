/* Caches that read a text side by side, row by row of their logits. */
#ifndef TADA_CLI_MEASURE_ALONG_H
#define TADA_CLI_MEASURE_ALONG_H

#include "engine/lineup.h"
#include "engine/trial.h"
#include "team.h"

struct along {
    struct lineup *lineup;
    struct work *work;    /* what a progress line needs; NULL: there is none */
    const float **logits; /* [step][lineup->n] rows of one step */
    thread_team *team;
    int step; /* tokens that are read at once */
};

/* Of a position of the text: the logits of every cache there, that is what each thinks of the next token.
 * Rows are given to several threads at once. */
typedef void (*along_row)(void *context, int position, const float *const *logits);

/* These print what is wrong and return an exit status, 0 when all is well. */

/* along_close frees it, also after an error. The caches stay the caller's. */
int along_open(struct along *along, struct lineup *lineup, int n_threads);
void along_close(struct along *along); /* of zeros: fine */

/*
 * Reads tokens first...end - 1 of a text, whose tokens before `first` the caches have read (0: they forget
 * everything), and gives the rows of positions scored... to `row`. After Ctrl-C EXIT_INTERRUPTED.
 */
int along_read(struct along *along, const llama_token *tokens, int first, int end, int scored, along_row row,
               void *context);

#endif
