/* Where the llama.cpp tools, the plug-in and the default model are. */
#ifndef TADA_CLI_FIND_PATHS_H
#define TADA_CLI_FIND_PATHS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define PLUGIN_FILE "libggml-tada.so"
#define SESSIONS_FILE "libtada-sessions.so"

/* False: not found; `why` then says in one sentence what to do. */

struct place {
    char path[PATH_MAX];
    char why[PATH_MAX + 512];
};

bool find_tool(const char *tool, struct place *place);
bool find_plugin(struct place *place);
bool find_sessions_library(struct place *place);
bool find_default_model(struct place *place);
/* For what needs no tools: libllama.so in the folder TADA_LLAMA_LIB, where llama-cpp-python has it without
 * them. place->why stays as it is. */
bool find_llama_library(struct place *place);
/* The value of an environment variable; NULL when unset or empty. */
const char *environment(const char *name);
/* Writes `folder/rest`; false when it does not fit. */
bool join_path(char *path, size_t size, const char *folder, const char *rest);

#endif
