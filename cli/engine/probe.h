/* Whether the plug-in works with llama.cpp's back-ends, tried out in this process. */
#ifndef TADA_CLI_ENGINE_PROBE_H
#define TADA_CLI_ENGINE_PROBE_H

#include <stdbool.h>
#include <stddef.h>

/* Writes the names of the GPUs that the llama.cpp of a tool sees, such as "CUDA0, CUDA1"; "": none. */
void probe_gpus(const char *tool, char *names, size_t size);

enum probe_answer { PROBE_HOOKED, PROBE_NOT_HOOKED, PROBE_UNKNOWN };

/* Whether a cache in the CPU's memory becomes a cache buffer of the plug-in once that is loaded. If not, or
 * if that cannot be told, `why` says why. */
enum probe_answer probe_plugin(const char *tool, const char *plugin, char *why, size_t size);

#endif
