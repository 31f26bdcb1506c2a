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
        add(serve, used, ": %s%.1f MiB, nothing saved", at_most, memory->bytes / 1048576);
    } else if (memory->f16 > 0) {
        add(serve, used, ": %s%.1f MiB instead of %.1f MiB in f16, %.0f %% saved", at_most,
            memory->bytes / 1048576, memory->f16 / 1048576, 100 * (1 - memory->bytes / memory->f16));
    }
}
