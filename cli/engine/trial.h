/* Trials: how far caches are from a reference on a text, all of them side by side. */
#ifndef TADA_CLI_ENGINE_TRIAL_H
#define TADA_CLI_ENGINE_TRIAL_H

#include "engine.h"
#include "output/progress.h"
#include "output/statistics.h"
#include "tada.h"

struct trial {
    const char *spec;      /* of the cache; with a plan, its name */
    const tada_plan *plan; /* NULL: the cache is as the spec says */
    struct estimate kld;   /* result: mean KL divergence, nats */
    size_t bytes, scratch; /* result: bytes of the cache, and the scratch among them */
};

/* How far the work is, for a progress line. */
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
 * Runs n trials in groups. `work` advances by the tokens that each cache decodes. *reference_bytes: bytes of
 * the reference's cache; may be NULL. Returns an exit status. After Ctrl-C: EXIT_INTERRUPTED, and the trials
 * of the last group have no result.
 */
int trials_run(const struct model *model, const struct trial_text *text, struct trial *trials, int n,
               struct work *work, size_t *reference_bytes);

#endif
