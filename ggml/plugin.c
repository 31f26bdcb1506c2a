/*
 * The entry points. The registry has no device: the plug-in changes how the CPU's device works (hooks.h), and
 * hands out what programs ask for (tada_plugin.h).
 */
#include "tada_plugin.h"

#include "cache/cache.h"
#include "cache/states.h"
#include "metrics/exporter.h"
#include "graph/hooks.h"
#include "policy/host.h"
#include "base/log.h"
#include "probe/measure.h"
#include "metrics/metrics.h"
#include "graph/model.h"
#include "policy/policy.h"
#include "probe/statistics.h"

#include <stdlib.h>
#include <string.h>

static int plugin_version(void)
{
    return TADA_PLUGIN_VERSION;
}

/* What stands behind the names of TADA_PLUGIN_FUNCTIONS; each has the type that is written there. */
static const struct {
#define X(result, name, arguments) result(*name) arguments;
    TADA_PLUGIN_FUNCTIONS(X)
#undef X
} functions = {
    .set_cache = policy_set_cache,
    .set_plan = policy_set_plan,
    .cache_bytes = cache_bytes,
    .scratch_bytes = cache_scratch_bytes,
    .model_fingerprint = model_fingerprint,
    .statistics_watch = statistics_watch,
    .statistics_get = statistics_get,
    .statistics_rows = statistics_rows,
    .measure_begin = measure_begin,
    .measure_planes = measure_planes,
    .measure_end = measure_end,
    .state_bytes = states_bytes,
    .state_save = states_save,
    .state_restore = states_restore,
    .cache_key = policy_key,
    .count_prompt = metrics_prompt,
};

static const char *registry_name(ggml_backend_reg_t reg)
{
    (void)reg;
    return "TADA";
}

static size_t registry_device_count(ggml_backend_reg_t reg)
{
    (void)reg;
    return 0;
}

static ggml_backend_dev_t registry_device(ggml_backend_reg_t reg, size_t index)
{
    (void)reg;
    (void)index;
    return NULL;
}

static void *registry_proc(ggml_backend_reg_t reg, const char *name)
{
    (void)reg;
    if (strcmp(name, TADA_PLUGIN_VERSION_NAME) == 0) {
        return (void *)plugin_version;
    }
#define X(result, function, arguments)                                                                       \
    if (strcmp(name, "tada_plugin_" #function) == 0) {                                                       \
        return (void *)functions.function;                                                                   \
    }
    TADA_PLUGIN_FUNCTIONS(X)
#undef X
    return NULL;
}

static struct ggml_backend_reg registry = {
    .api_version = GGML_BACKEND_API_VERSION,
    .iface = {registry_name, registry_device_count, registry_device, registry_proc},
};

/* The host calls it each time that it loads all backends. */
static ggml_backend_reg_t plugin_init(void)
{
    static bool done;
    if (!done) {
        if (!policy_init()) {
            log_line(GGML_LOG_LEVEL_ERROR, "out of memory: going on without compression");
            return NULL;
        }
        tada_error error;
        if (exporter_set(getenv("TADA_METRICS"), &error) != TADA_OK) {
            log_line(GGML_LOG_LEVEL_ERROR, "%s", error.text);
        }
        if (exporter_reader()) {
            metrics_init(exporter_reader());
        }
        done = true;
    }
    if (!hooks_set()) {
        log_line(GGML_LOG_LEVEL_WARN,
                 "the host has no CPU device yet: nothing is compressed until the plug-in is "
                 "loaded after it (set GGML_BACKEND_PATH, which is loaded last)");
    }
    return &registry;
}

static int plugin_score(void)
{
    return host_fits() ? 1 : 0;
}

GGML_BACKEND_DL_IMPL(plugin_init)
GGML_BACKEND_DL_SCORE_IMPL(plugin_score)
