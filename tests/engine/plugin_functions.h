/* The plug-in's own functions (tada_plugin.h), for tests that have llama.cpp in their process. */
#ifndef TADA_ENGINE_PLUGIN_FUNCTIONS_H
#define TADA_ENGINE_PLUGIN_FUNCTIONS_H

#include "../../ggml/tada_plugin.h"
#include "ggml-backend.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMBER(result, name, arguments) result(*name) arguments;
static struct {
    TADA_PLUGIN_FUNCTIONS(MEMBER)
} plugin;
#undef MEMBER

/* Of the plug-in that has been loaded. False, with a line that says why: it does not have them. */
static inline bool find_plugin_functions(void)
{
    ggml_backend_reg_t registry = ggml_backend_reg_by_name("TADA");
    int (*version)(void) = NULL;
    if (registry) {
        *(void **)&version = ggml_backend_reg_get_proc_address(registry, TADA_PLUGIN_VERSION_NAME);
    }
    if (!version || version() != TADA_PLUGIN_VERSION) {
        fprintf(stderr, "the plug-in is not there, or of another version\n");
        return false;
    }
#define FIND(result, name, arguments)                                                                        \
    *(void **)&plugin.name = ggml_backend_reg_get_proc_address(registry, "tada_plugin_" #name);              \
    if (!plugin.name) {                                                                                      \
        fprintf(stderr, "the plug-in has no function tada_plugin_" #name "\n");                              \
        return false;                                                                                        \
    }
    TADA_PLUGIN_FUNCTIONS(FIND)
#undef FIND
    return true;
}

/* Contexts that are made from now on have this cache; ends the test where the plug-in does not know it. */
static inline void set_cache(const char *spec)
{
    tada_error error = {{0}};
    if (!plugin.set_cache(spec, &error)) {
        fprintf(stderr, "the cache %s is refused: %s\n", spec, error.text);
        exit(1);
    }
}

#endif
