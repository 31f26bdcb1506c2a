/* What `tada serve` finds out before the server starts. */
#ifndef TADA_CLI_SERVE_SERVE_H
#define TADA_CLI_SERVE_SERVE_H

#include "engine/plans.h"
#include "launch/launch.h"
#include "launch/server_options.h"

#include <limits.h>
#include <stdint.h>

struct serve {
    struct launch launch;
    const char *plans;     /* --plans; NULL: the usual folder */
    double budget;         /* of f16's bytes that a plan may keep */
    char *prompts;         /* --prompt-cache: a folder for prompts; NULL: none */
    uint64_t prompt_bytes; /* that it may have */
    struct server_options server;
    char cache[PATH_MAX + 16]; /* the spec that names the plan that was found */
    char summary[PATH_MAX + 512];
    char kept[384]; /* what beside the cache takes memory; "": nothing */
};

/* Bytes of the cache, that of a draft model among them. */
struct serve_memory {
    double bytes, f16; /* 0: unknown */
    double usual;      /* bytes with the default cache, where a plan was found that takes more; else 0 */
    bool at_most;
    bool goes_back; /* slots have checkpoints */
};

/* Writes the summary, and what is kept beside the cache. */
void serve_summarise(struct serve *serve, const struct server_cache *cache, const struct serve_memory *memory,
                     const struct found_plan *found);

/*
 * Looks at the model: takes the plan that belongs to it, unless a cache was asked for, and writes the
 * summary. Where it cannot, the cache is that of the launch, and the summary says what is known. `asked`: a
 * cache was. Prints what is wrong with a plan that was asked for, and returns an exit status.
 */
int serve_look(struct serve *serve, bool asked);

#endif
