/* Trials: how far caches are from a reference on a text, all of them side by side. */
#ifndef TADA_CLI_ENGINE_TRIAL_H
#define TADA_CLI_ENGINE_TRIAL_H

#include "engine.h"
#include "output/progress.h"
#include "output/statistics.h"
#include "tada.h"

struct trial {
    const char *spec;      /* the cache; of a plan: what to call it */
    const tada_plan *plan; /* NULL: the spec says it */
    struct estimate kld;   /* result: mean KL divergence in nats */
    size_t bytes, scratch; /* result: of the cache, the latter a part of it */
};

/* What a progress line needs. */
struct work {
    struct progress progress;
    double done, total; /* tokens decoded */
    const char *detail;
};

struct trial_text {
    const llama_token *tokens; /* n_windows windows of n_ctx, the second half of each is scored */
    int n_windows, n_ctx, n_ubatch, n_threads;
    const char *reference; /* a spec */
};

/*
 * Runs n trials in groups; `work` goes on by the tokens that each cache decodes. reference_bytes: of the
 * reference (NULL: not wanted). Returns an exit status;
 * after Ctrl-C EXIT_INTERRUPTED, and then the trials of the last group have no result.
 */
int trials_run(const struct model *model, const struct trial_text *text, struct trial *trials, int n,
               struct work *work, size_t *reference_bytes);

#endif
