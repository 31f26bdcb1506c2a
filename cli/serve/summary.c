/* The one line that `tada serve` prints before the server starts. */
#include "serve.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static int add(struct serve *serve, int used, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int add(struct serve *serve, int used, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = sizeof serve->summary - (size_t)used;
    int n = vsnprintf(serve->summary + used, room, format, arguments);
    va_end(arguments);
    return n < 0 || (size_t)n >= room ? (int)sizeof serve->summary - 1 : used + n;
}

/* What the cache is, as in the line of `tada run`. */
static int add_cache(struct serve *serve, int used, const struct found_plan *found)
{
    if (!found->plan) {
        return add(serve, used, "cache %s, ", serve->launch.cache);
    }
    used = add(serve, used, "cache of the plan %s", found->path);
    if (isfinite(found->kld)) {
        used = add(serve, used, " (KL divergence %.5f at %.1f %%)", found->kld, 100 * found->memory);
    }
    return add(serve, used, ", ");
}

/* Prompts of idle slots, by their size when a slot is full, and checkpoints. */
static void note_kept(struct serve *serve, const struct server_cache *cache,
                      const struct serve_memory *memory)
{
    int mib = server_options_cache_ram(&serve->server), slots = cache->unified ? 1 : cache->slots;
    double bytes = memory->bytes / slots, f16 = memory->f16 / slots, room = 1048576.0 * mib;
    char prompts[160] = "", checkpoints[80] = "";
    if (serve->launch.spec.stock || serve->server.models) {
        return;
    }
    if (memory->goes_back) {
        snprintf(checkpoints, sizeof checkpoints, "; each slot up to %d checkpoints (--ctx-checkpoints)",
                 server_options_checkpoints(&serve->server));
    }
    if (mib < 0 && f16 > 0) {
        snprintf(prompts, sizeof prompts, ": %.1f MiB for a full context, instead of %.1f", bytes / 1048576,
                 f16 / 1048576);
    } else if (f16 > 0) {
        snprintf(prompts, sizeof prompts, ": %.0f of a full context, instead of %.0f", floor(room / bytes),
                 floor(room / f16));
    }
    char limit[48] = "any amount";
    if (mib > 0) {
        snprintf(limit, sizeof limit, "at most %d MiB", mib);
    }
    if (mib != 0) {
        snprintf(serve->kept, sizeof serve->kept, "prompts of idle slots take %s of RAM (--cache-ram)%s%s",
                 limit, prompts, checkpoints);
    } else if (*checkpoints) {
        snprintf(serve->kept, sizeof serve->kept, "no prompts of idle slots%s", checkpoints);
    }
}

void serve_summarise(struct serve *serve, const struct server_cache *cache, const struct serve_memory *memory,
                     const struct found_plan *found)
{
    int used = add_cache(serve, 0, found);
    const char *at_most = cache->at_most ? "at most " : "";
    if (serve->server.models) {
        used = add(serve, used, "a router, which starts a server for each model");
    } else if (cache->cells == 0) {
        used = add(serve, used, "context as the model says, %d slot%s", cache->slots,
                   cache->slots > 1 ? "s" : "");
    } else if (cache->slots == 1) {
        used = add(serve, used, "context %s%lld, 1 slot", at_most, cache->cells);
    } else {
        used = add(serve, used,
                   cache->unified ? "context %s%lld, shared by %d slots (unified cache)"
                                  : "context %s%lld each for %d slots (split cache)",
                   at_most, cache->cells, cache->slots);
    }
    at_most = memory->at_most ? "at most " : "";
    if (memory->f16 > 0 && memory->bytes >= memory->f16) {
        used = add(serve, used, ": %s%.1f MiB, nothing saved", at_most, memory->bytes / 1048576);
    } else if (memory->f16 > 0) {
        used = add(serve, used, ": %s%.1f MiB instead of %.1f MiB in f16, %.0f %% saved", at_most,
                   memory->bytes / 1048576, memory->f16 / 1048576, 100 * (1 - memory->bytes / memory->f16));
    }
    if (memory->f16 > 0 && serve->server.draft) {
        used = add(serve, used, ", with the draft model's");
    }
    if (memory->usual > 0) {
        add(serve, used, "; the default, --cache tada, takes %.1f MiB", memory->usual / 1048576);
    }
    note_kept(serve, cache, memory);
}
