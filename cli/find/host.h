/* The installed llama.cpp and the plug-in: what they say of themselves. */
#ifndef TADA_CLI_FIND_HOST_H
#define TADA_CLI_FIND_HOST_H

#include <stdbool.h>
#include <stddef.h>

/* The version that `TOOL --version` tells; empty: it tells none. */
void host_ask_version(const char *tool, char *version, size_t size);

struct host {
    char ggml[160]; /* "ggml VERSION (COMMIT)"; empty: why_ggml */
    char why_ggml[1024];
    char built_for[160]; /* what the plug-in says of itself; empty: why_plugin */
    char why_plugin[1024];
    bool fits; /* only when ggml and built_for are known */
};

/* Looks at the libraries beside a tool, and at a plug-in; either path may be NULL. */
void host_probe(const char *tool, const char *plugin, struct host *host);

/* Opens a library of llama.cpp that lies near a tool, for the rest of the process. NULL: `why` says why not.
 */
void *host_open_library(const char *tool, const char *name, char *why, size_t size);

/* Sets *function, a pointer to a function, to what a library has under that name. False: NULL, it has none.
 */
bool host_find_symbol(void *library, const char *name, void *function);

#endif
