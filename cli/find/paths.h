/* Where the llama.cpp tools, the plug-in and the default model are. */
#ifndef TADA_CLI_FIND_PATHS_H
#define TADA_CLI_FIND_PATHS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define PLUGIN_FILE "libggml-tada.so"
#define SESSIONS_FILE "libtada-sessions.so"
#define PROMPTS_FILE "libtada-prompts.so"

struct place {
    char path[PATH_MAX];
    char why[PATH_MAX + 512]; /* where it is not found: one sentence that says what to do */
};

/* Each sets place->path. False: it is not found, and place->why says what to do. */
bool find_tool(const char *tool, struct place *place);
bool find_plugin(struct place *place);
bool find_sessions_library(struct place *place);
bool find_prompts_library(struct place *place);
bool find_default_model(struct place *place);
/* The same for libllama.so in the folder $TADA_LLAMA_LIB, for commands that need no tools: llama-cpp-python
 * has the library without them. Does not set place->why. */
bool find_llama_library(struct place *place);
/* The value of an environment variable; NULL: it is unset or empty. */
const char *environment(const char *name);
/* Writes "FOLDER/REST" to `path`. False: it does not fit in `size` bytes. */
bool join_path(char *path, size_t size, const char *folder, const char *rest);

#endif
