/* The installed llama.cpp and the plug-in: what they say of themselves. */
#ifndef TADA_CLI_FIND_HOST_H
#define TADA_CLI_FIND_HOST_H

#include <stdbool.h>
#include <stddef.h>

/* Writes the version that `TOOL --version` prints to `version`; "": it prints none. */
void host_ask_version(const char *tool, char *version, size_t size);

struct host {
    char ggml[160]; /* "ggml VERSION (COMMIT)"; "": why_ggml says why it is not known */
    char why_ggml[1024];
    char built_for[160]; /* the same of the ggml that the plug-in was built for; "": why_plugin */
    char why_plugin[1024];
    bool fits; /* both are known and equal */
};

/* Fills in *host from the libraries beside a tool and from a plug-in. Either path may be NULL. */
void host_probe(const char *tool, const char *plugin, struct host *host);

/* Opens a library of llama.cpp that lies near a tool. It stays open until the process ends. NULL: `why` says
 * why it does not open. */
void *host_open_library(const char *tool, const char *name, char *why, size_t size);

/* Sets *function, a pointer to a function pointer, to the function of that name. False: the library has none,
 * and it is set to NULL. */
bool host_find_symbol(void *library, const char *name, void *function);

#endif
