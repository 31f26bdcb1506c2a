/* What tests against libllama share: lines that say what is well and what is not. */
#ifndef TADA_ENGINE_CHECKS_H
#define TADA_ENGINE_CHECKS_H

#include "ggml-backend.h"
#include "llama.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int failures;

static void report(bool good, const char *format, ...) __attribute__((format(printf, 2, 3), unused));
static void report(bool good, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%s", good ? "ok      " : "FAILED  ");
    vprintf(format, arguments);
    printf("\n");
    fflush(stdout);
    va_end(arguments);
    failures += !good;
}

static void quiet(enum ggml_log_level level, const char *text, void *data)
{
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR && getenv("TADA_DEBUG")) {
        fputs(text, stderr);
    }
}

/* Relative to how far `want` is from its mean. */
static inline double relative_error(const float *got, const float *want, int n)
{
    double mean = 0, error = 0, energy = 0;
    for (int i = 0; i < n; i++) {
        mean += (double)want[i] / n;
    }
    for (int i = 0; i < n; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        energy += (want[i] - mean) * (want[i] - mean);
    }
    return isfinite(error) ? sqrt(error / energy) : INFINITY;
}

/* Loads llama.cpp with the plug-in, for caches of `spec`. False, with a line that says so: it was not loaded.
 */
static bool load_plugin(const char *libraries, const char *plugin, const char *spec)
{
    setenv("GGML_BACKEND_PATH", plugin, 1);
    setenv("TADA_CACHE", spec, 1);
    llama_log_set(quiet, NULL);
    ggml_backend_load_all_from_path(libraries);
    bool loaded = ggml_backend_reg_by_name("TADA");
    if (!loaded) {
        fprintf(stderr, "the plug-in %s was not loaded\n", plugin);
    }
    return loaded;
}

#endif
