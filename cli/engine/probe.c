/* Cache tensors are allocated on the CPU device when the plug-in is loaded, and the name of their buffer
 * tells. */
#include "probe.h"

#include "engine.h"
#include "find/host.h"
#include "find/paths.h"
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is used of ggml. */
#define GGML_FUNCTIONS(X)                                                                                    \
    X(ggml_backend_load_all_from_path)                                                                       \
    X(ggml_backend_dev_count)                                                                                \
    X(ggml_backend_dev_get)                                                                                  \
    X(ggml_backend_dev_type)                                                                                 \
    X(ggml_backend_dev_name)                                                                                 \
    X(ggml_backend_dev_by_type)                                                                              \
    X(ggml_backend_dev_buffer_type)                                                                          \
    X(ggml_backend_alloc_ctx_tensors_from_buft)                                                              \
    X(ggml_backend_buffer_name)                                                                              \
    X(ggml_backend_buffer_free)                                                                              \
    X(ggml_init)                                                                                             \
    X(ggml_free)                                                                                             \
    X(ggml_tensor_overhead)                                                                                  \
    X(ggml_new_tensor_3d)                                                                                    \
    X(ggml_set_name)                                                                                         \
    X(ggml_log_set)

struct ggml_functions {
#define X(name) __typeof__(name) *name;
    GGML_FUNCTIONS(X)
#undef X
};

/* The library of ggml with its back-ends loaded, once in a process; NULL: it is not what it should be. */
static void *load_backends(const char *tool, struct ggml_functions *ggml)
{
    static bool loaded;
    char why[1024], folder[PATH_MAX];
    void *library = host_open_library(tool, "libggml", why, sizeof why);
#define X(name)                                                                                              \
    if (!library || !host_find_symbol(library, #name, &ggml->name)) {                                        \
        return NULL;                                                                                         \
    }
    GGML_FUNCTIONS(X)
#undef X
    ggml->ggml_log_set(engine_log_nothing, NULL);
    if (!loaded && realpath(tool, folder)) {
        const char *path = environment("GGML_BACKEND_PATH");
        char *kept = path ? strdup(path) : NULL;
        unsetenv("GGML_BACKEND_PATH"); /* it is the tool that the user names it for */
        *strrchr(folder, '/') = '\0';
        ggml->ggml_backend_load_all_from_path(folder);
        if (kept) {
            setenv("GGML_BACKEND_PATH", kept, 1);
        }
        free(kept);
        loaded = true;
    }
    return library;
}

void probe_gpus(const char *tool, char *names, size_t size)
{
    struct ggml_functions ggml;
    size_t used = 0;
    *names = '\0';
    if (!load_backends(tool, &ggml)) {
        return;
    }
    for (size_t i = 0; i < ggml.ggml_backend_dev_count() && used < size; i++) {
        ggml_backend_dev_t device = ggml.ggml_backend_dev_get(i);
        enum ggml_backend_dev_type type = ggml.ggml_backend_dev_type(device);
        if (type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU) {
            used += (size_t)snprintf(names + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     ggml.ggml_backend_dev_name(device));
        }
    }
}

/* The name of the buffer that a small cache gets; false: it gets none. */
static bool name_cache_buffer(const struct ggml_functions *ggml, char *name, size_t size)
{
    static const char *const caches[] = {"cache_k_l0", "cache_v_l0"};
    ggml_backend_dev_t cpu = ggml->ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    struct ggml_context *context = cpu ? ggml->ggml_init((struct ggml_init_params){
                                             .mem_size = 8 * ggml->ggml_tensor_overhead(), .no_alloc = true})
                                       : NULL;
    for (size_t i = 0; i < sizeof caches / sizeof *caches && context; i++) {
        ggml->ggml_set_name(ggml->ggml_new_tensor_3d(context, GGML_TYPE_F16, 128, 256, 1), caches[i]);
    }
    ggml_backend_buffer_t buffer =
        context
            ? ggml->ggml_backend_alloc_ctx_tensors_from_buft(context, ggml->ggml_backend_dev_buffer_type(cpu))
            : NULL;
    snprintf(name, size, "%s", buffer ? ggml->ggml_backend_buffer_name(buffer) : "");
    if (buffer) {
        ggml->ggml_backend_buffer_free(buffer);
    }
    if (context) {
        ggml->ggml_free(context);
    }
    return *name != '\0';
}

enum probe_answer probe_plugin(const char *tool, const char *plugin, char *why, size_t size)
{
    struct ggml_functions ggml;
    struct engine engine = {.library = NULL};
    char name[64];
    void *library = load_backends(tool, &ggml);
    if (!library) {
        snprintf(why, size, "libggml lacks a function: use the llama.cpp that TaDA was built for.");
        return PROBE_UNKNOWN;
    }
    if (!engine_load_plugin(&engine, library, plugin, why, size)) {
        return PROBE_NOT_HOOKED;
    }
    engine.set_cache("tada", NULL);
    if (!name_cache_buffer(&ggml, name, sizeof name)) {
        snprintf(why, size, "llama.cpp has no memory of the CPU here: install it anew.");
        return PROBE_UNKNOWN;
    }
    snprintf(why, size, "The caches of this llama.cpp stay with its %s: build TaDA against its source.",
             name);
    return strcmp(name, "TADA") == 0 ? PROBE_HOOKED : PROBE_NOT_HOOKED;
}
