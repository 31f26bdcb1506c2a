/* What llama.cpp's back-ends and the plug-in do together, tried out in this process. */
#ifndef TADA_CLI_ENGINE_PROBE_H
#define TADA_CLI_ENGINE_PROBE_H

#include <stdbool.h>
#include <stddef.h>

/* The names of the GPUs that llama.cpp beside a tool has, such as "CUDA0, CUDA1"; "": none. */
void probe_gpus(const char *tool, char *names, size_t size);

enum probe_answer { PROBE_HOOKED, PROBE_NOT_HOOKED, PROBE_UNKNOWN };

/* Whether a cache in the CPU's memory becomes one of ours once the plug-in is loaded. If it does not, or that
 * cannot be told, `why` says why. */
enum probe_answer probe_plugin(const char *tool, const char *plugin, char *why, size_t size);

#endif
