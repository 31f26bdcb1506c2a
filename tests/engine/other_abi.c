/*
 * A plug-in that fits its host, but hands out functions of another version (VERSION; below 0: it does not
 * even tell one). Whoever calls one of them dies.
 */
#include "tada_plugin.h"

#include "ggml-backend-impl.h"

#include <stdlib.h>
#include <string.h>

#define VISIBLE __attribute__((visibility("default")))

static int version(void)
{
    return VERSION;
}

static void wrong(void)
{
    abort();
}

static const char *registry_name(ggml_backend_reg_t registry)
{
    (void)registry;
    return "TADA";
}

static size_t registry_devices(ggml_backend_reg_t registry)
{
    (void)registry;
    return 0;
}

static void *registry_proc(ggml_backend_reg_t registry, const char *name)
{
    (void)registry;
    if (strcmp(name, TADA_PLUGIN_VERSION_NAME) == 0) {
        return VERSION < 0 ? NULL : (void *)version;
    }
    return (void *)wrong;
}

VISIBLE ggml_backend_reg_t ggml_backend_init(void)
{
    static struct ggml_backend_reg registry = {.api_version = GGML_BACKEND_API_VERSION,
                                               .iface = {.get_name = registry_name,
                                                         .get_device_count = registry_devices,
                                                         .get_proc_address = registry_proc}};
    return &registry;
}

VISIBLE int ggml_backend_score(void)
{
    return 1;
}

VISIBLE const char *tada_plugin_built_for(void)
{
    return BUILT_FOR;
}
