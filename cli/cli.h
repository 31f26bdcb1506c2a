/* The tada command: what its files share. */
#ifndef TADA_CLI_H
#define TADA_CLI_H

#include "printable.h"
#include "options/options.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit statuses. */
enum { EXIT_PROBLEM = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

#define PLUGIN_FILE "libggml-tada.so"
#define SESSIONS_FILE "libtada-sessions.so"

/* The commands, each with the table of its options; the second row only in a build with llama.cpp's headers.
 */
extern const struct command run_command, serve_command, rpc_command, pack_command, unpack_command,
    doctor_command;
extern const struct command calibrate_command, inspect_command, eval_command, bench_command, size_command;

/* A text from outside, fit for a terminal, until the end of the block. */
#define SHOWN(text) tada_printable((text), (char[4 * PATH_MAX]){0}, 4 * PATH_MAX)

/* Prints a line "tada: ..." on stderr, fit for a terminal. */
__attribute__((format(printf, 1, 2))) void cli_note(const char *format, ...);
/* Lines of another program, on stderr as they are, but fit for a terminal. */
void cli_pass_on(const char *text);
/* As cli_note; returns EXIT_PROBLEM. */
__attribute__((format(printf, 1, 2))) int cli_fail(const char *format, ...);
/* The same with the name of the command and a hint at its help (NULL: the general help); returns EXIT_USAGE.
 */
__attribute__((format(printf, 2, 3))) int cli_usage(const char *command, const char *format, ...);

/* ---- paths.c: where things are. False: not found; `why` then says in one sentence what to do. ---- */

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

/* ---- host.c: the installed llama.cpp and the plug-in ---- */

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

/* The number in a file of one number, or after `key` in a file of lines "key number", as /proc has them; -1
 * when it is not there. */
double system_number(const char *path, const char *key);

/* Bytes of memory that can still be had, within what a container allows; -1: unknown. */
double memory_available(void);

#endif
