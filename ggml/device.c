/* Entry points, registry and device. llama.cpp asks a layer's device for the memory of its KV cache: that is
 * all we want. */
#include "host.h"
#include "metrics.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static plugin_spec spec_of_process;
static _Atomic(const char *) refusal;
static atomic_uint_fast64_t model_fingerprint;
static atomic_bool plan_in_use; /* the model that the plan is for has been seen */

void tada_plugin_log(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "TADA: %s\n", line); /* at once, so that lines of different threads do not mix */
}

bool tada_plugin_wants(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value && strcmp(value, "0") != 0;
}

/* ---- pools ---- */

typedef struct pool_entry {
    tada_pool *pool;
    struct pool_entry *next;
} pool_entry;

static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static pool_entry *pools;
static size_t pools_peak;

static size_t pools_bytes(void)
{
    size_t bytes = 0;
    for (const pool_entry *entry = pools; entry; entry = entry->next) {
        bytes += tada_pool_bytes(entry->pool);
    }
    return bytes;
}

static void pools_measure(void)
{
    size_t bytes = pools_bytes();
    pools_peak = bytes > pools_peak ? bytes : pools_peak;
}

tada_pool *tada_plugin_pool_create(void)
{
    pool_entry *entry = malloc(sizeof *entry);
    tada_pool *pool = entry ? tada_pool_create() : NULL;
    if (!pool) {
        free(entry);
        return NULL;
    }
    pthread_mutex_lock(&pools_lock);
    *entry = (pool_entry){pool, pools};
    pools = entry;
    pthread_mutex_unlock(&pools_lock);
    return pool;
}

void tada_plugin_pool_free(tada_pool *pool)
{
    pthread_mutex_lock(&pools_lock);
    pools_measure(); /* a pool only grows, so this is when it holds the most */
    for (pool_entry **at = &pools; *at; at = &(*at)->next) {
        if ((*at)->pool == pool) {
            pool_entry *entry = *at;
            *at = entry->next;
            free(entry);
            break;
        }
    }
    pthread_mutex_unlock(&pools_lock);
    tada_pool_free(pool);
}

void tada_plugin_log_scratch(void)
{
    pthread_mutex_lock(&pools_lock);
    pools_measure();
    size_t bytes = pools_peak;
    pthread_mutex_unlock(&pools_lock);
    tada_plugin_log("scratch = %.2f MiB", (double)bytes / 1048576);
}

size_t tada_plugin_scratch_bytes(void)
{
    pthread_mutex_lock(&pools_lock);
    size_t bytes = pools_bytes();
    pthread_mutex_unlock(&pools_lock);
    return bytes;
}

/* ---- device ---- */

const plugin_spec *tada_plugin_spec(void)
{
    return &spec_of_process;
}

void tada_plugin_refuse(const char *reason)
{
    refusal = reason;
}

const char *tada_plugin_refusal(void)
{
    return refusal;
}

/* ---- plans ---- */

/* A model that the plan is not for. Beside the one that it is for, it is a draft model or the like. */
static void meet_other_model(const char *reason)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    if (!plan_in_use) {
        tada_plugin_refuse(reason);
    } else if (!atomic_flag_test_and_set(&told)) {
        tada_plugin_log(
            "a model beside the plan's (a draft, say): layers that the plan does not fit have the "
            "cache 'tada'");
    }
}

tada_spec tada_plugin_spec_of(int layer, tada_shape *shape)
{
    const tada_plan *plan = spec_of_process.plan;
    shape->head_dim = 0;
    if (!plan) {
        return spec_of_process.spec;
    }
    const tada_plan_plane *plane =
        layer < plan->n_layers ? &plan->planes[2 * layer + (shape->kind == TADA_V)] : NULL;
    if (!plane || plane->width != shape->width) {
        meet_other_model("the plan is for a model with other layers: make one for this model with 'tada "
                         "calibrate'");
        return spec_of_process.spec;
    }
    shape->head_dim = plane->head_dim;
    return tada_plan_spec(plan, layer, shape->kind);
}

/* Norms stay as they are however the other weights are quantised, so one of them tells the model. */
void tada_plugin_see_model(const struct ggml_tensor *op)
{
    /* Every graph comes by here: only the product with the norm is of interest. */
    const struct ggml_tensor *norm = op->op == GGML_OP_MUL ? op->src[1] : NULL;
    if (!norm || strcmp(norm->name, "blk.0.attn_norm.weight") != 0 || norm->type != GGML_TYPE_F32 ||
        !norm->buffer || !(ggml_backend_buffer_is_host(norm->buffer) || tada_is_ours(norm)) || !norm->data) {
        return;
    }
    model_fingerprint = tada_model_fingerprint(norm->data, ggml_nbytes(norm));
    const tada_plan *plan = spec_of_process.plan;
    if (plan && plan->fingerprint && plan->fingerprint != model_fingerprint) {
        meet_other_model("the plan is for another model: make one for this model with 'tada calibrate'");
    } else if (plan && plan->fingerprint && !refusal) {
        plan_in_use = true;
    }
}

static uint64_t fingerprint(void)
{
    return model_fingerprint;
}

/* Plans that were loaded stay for the rest of the process, because planes point into them. */
static bool load_spec(const char *text, plugin_spec *result, tada_error *error)
{
    *result = (plugin_spec){0};
    snprintf(result->text, sizeof result->text, "%s", text);
    if (tada_spec_parse(text, &result->spec, error) != TADA_OK) {
        return false;
    }
    if (result->spec.plan) {
        tada_plan *plan;
        if (tada_plan_read(tada_spec_plan_path(text), &plan, error) != TADA_OK) {
            return false;
        }
        result->plan = plan;
    }
    return true;
}

/* For programs that measure: caches that are made from now on follow this plan, which must outlive them. */
static bool set_plan(const tada_plan *plan)
{
    if (tada_plan_check(plan, NULL) != TADA_OK) {
        return false;
    }
    spec_of_process = (plugin_spec){.plan = plan, .text = "a plan in memory", .by_program = true};
    plan_in_use = false;
    tada_spec_parse("tada", &spec_of_process.spec, NULL);
    return true;
}

static const char *device_name(ggml_backend_dev_t device)
{
    (void)device;
    return "TADA";
}

static const char *device_description(ggml_backend_dev_t device)
{
    (void)device;
    return "TaDA compressed KV cache";
}

/* The cache lives in the system's memory. */
static void device_memory(ggml_backend_dev_t device, size_t *available, size_t *total)
{
    (void)device;
    unsigned long long kib;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "r");
    *available = *total = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "MemTotal: %llu", &kib) == 1) {
            *total = (size_t)kib * 1024;
        } else if (sscanf(line, "MemAvailable: %llu", &kib) == 1) {
            *available = (size_t)kib * 1024;
        }
    }
    if (file) {
        fclose(file);
    }
}

static enum ggml_backend_dev_type device_type(ggml_backend_dev_t device)
{
    (void)device;
    return GGML_BACKEND_DEVICE_TYPE_GPU;
}

static void device_props(ggml_backend_dev_t device, struct ggml_backend_dev_props *props)
{
    memset(props, 0, sizeof *props);
    props->name = device_name(device);
    props->description = device_description(device);
    props->type = device_type(device);
    device_memory(device, &props->memory_free, &props->memory_total);
}

static ggml_backend_t device_init(ggml_backend_dev_t device, const char *params)
{
    (void)params;
    if (tada_whole() && spec_of_process.problem[0]) {
        return NULL; /* an RPC server that could keep no cache is not to start; the log has said why */
    }
    return tada_backend_make(device);
}

/* Host memory too: queries, masks and new rows are used where they are. */
static bool device_supports_buft(ggml_backend_dev_t device, ggml_backend_buffer_type_t type)
{
    return type == tada_buffer_type(device) || ggml_backend_buft_is_host(type);
}

static struct ggml_backend_reg registry;

static struct ggml_backend_device device = {
    .iface =
        {
            .get_name = device_name,
            .get_description = device_description,
            .get_memory = device_memory,
            .get_type = device_type,
            .get_props = device_props,
            .init_backend = device_init,
            .get_buffer_type = tada_buffer_type,
            .supports_op = tada_supports_op,
            .supports_buft = device_supports_buft,
        },
    .reg = &registry,
};

static const char *registry_name(ggml_backend_reg_t reg)
{
    (void)reg;
    return "TADA";
}

/* With a stock cache type there is nothing for us to do: llama.cpp goes on as if we were not there. */
static size_t registry_device_count(ggml_backend_reg_t reg)
{
    (void)reg;
    return spec_of_process.spec.stock ? 0 : 1;
}

static ggml_backend_dev_t registry_device(ggml_backend_reg_t reg, size_t index)
{
    (void)reg;
    (void)index;
    return &device;
}

/* For programs: caches that are made from now on follow this spec. False, and why in `error`, which may be
 * NULL: it cannot be used, or is not one of ours. */
static bool set_cache(const char *text, tada_error *error)
{
    plugin_spec spec;
    if (!load_spec(text, &spec, error)) {
        return false;
    }
    if (spec.spec.stock) {
        if (error) {
            snprintf(error->text, sizeof error->text,
                     "'%.64s' is a cache of llama.cpp: give one of TaDA, such as tada.", text);
        }
        return false;
    }
    spec.by_program = true;
    spec_of_process = spec;
    plan_in_use = false;
    return true;
}

static void *registry_proc(ggml_backend_reg_t reg, const char *name)
{
    (void)reg;
    const struct {
        const char *name;
        void *function;
    } procs[] = {
        {"ggml_backend_set_n_threads", (void *)tada_backend_set_threads},
        {"tada_set_cache", (void *)set_cache},
        {"tada_set_plan", (void *)set_plan},
        {"tada_cache_bytes", (void *)tada_cache_bytes},
        {"tada_scratch_bytes", (void *)tada_plugin_scratch_bytes},
        {"tada_refusal", (void *)tada_plugin_refusal},
        {"tada_measure_begin", (void *)tada_measure_begin},
        {"tada_measure_planes", (void *)tada_measure_planes},
        {"tada_measure_end", (void *)tada_measure_end},
        {"tada_statistics_watch", (void *)tada_statistics_watch},
        {"tada_statistics_get", (void *)tada_statistics_get},
        {"tada_statistics_rows", (void *)tada_statistics_rows},
        {"tada_plan_read", (void *)tada_plan_read},
        {"tada_plan_write", (void *)tada_plan_write},
        {"tada_model_fingerprint", (void *)fingerprint},
    };
    for (size_t i = 0; i < sizeof procs / sizeof *procs; i++) {
        if (strcmp(name, procs[i].name) == 0) {
            return procs[i].function;
        }
    }
    return NULL;
}

static struct ggml_backend_reg registry = {
    .api_version = GGML_BACKEND_API_VERSION,
    .iface = {registry_name, registry_device_count, registry_device, registry_proc},
};

static ggml_backend_reg_t plugin_init(void)
{
    const char *text = getenv("TADA_CACHE");
    tada_error error;
    /* An empty variable counts as none. */
    if (!load_spec(text && *text ? text : "tada", &spec_of_process, &error)) {
        snprintf(spec_of_process.problem, sizeof spec_of_process.problem, "%s", error.text);
        tada_plugin_log("%s", error.text);
        tada_spec_parse("tada", &spec_of_process.spec, NULL);
    }
    const char *problem = tada_whole_init();
    if (problem) {
        snprintf(spec_of_process.problem, sizeof spec_of_process.problem, "%s", problem);
        tada_plugin_log("%s", problem);
    }
    tada_metrics_init();
    return &registry;
}

static int plugin_score(void)
{
    return tada_host_fits() ? 1 : 0;
}

GGML_BACKEND_DL_IMPL(plugin_init)
GGML_BACKEND_DL_SCORE_IMPL(plugin_score)
