/* Starting a llama.cpp tool with the plug-in or with a stock cache type: `tada run` and `tada serve`. */
#ifndef TADA_CLI_LAUNCH_LAUNCH_H
#define TADA_CLI_LAUNCH_LAUNCH_H

#include "find/paths.h"
#include "options/options.h"
#include "tada.h"

/* The options of all commands that start a tool; what they set is in a struct that begins with this one. */
#define LAUNCH_CACHE(text, from)                                                                             \
    {                                                                                                        \
        .names = "--cache", .value = "SPEC", .kind = OPTION_CACHE, .field = offsetof(struct launch, cache),  \
        .help = text, .unset = from, .example = "tada:4", .in_usage = true                                   \
    }
#define LAUNCH_END(tool)                                                                                     \
    {                                                                                                        \
        .names = "--", .kind = OPTION_END,                                                                   \
        .help = "what follows goes to " tool " even if it looks like an option of tada"                      \
    }
#define LAUNCH_HELP(tool, name)                                                                              \
    {                                                                                                        \
        .names = "-h, --help", .kind = OPTION_HELP,                                                          \
        .help = "print this help; for that of " tool ": tada " name " -- --help"                             \
    }

struct launch {
    const struct command *self;
    const char *cache; /* spec; NULL: $TADA_CACHE, else tada */
    bool help;
    char **pass; /* the arguments for the tool, in order; NULL at the end */
    int n_pass;
    /* Known after launch_find: */
    tada_spec spec;
    struct place tool, plugin; /* no plug-in with a stock cache */
    struct place model;        /* the default one, when the arguments name none; else an empty path */
};

/* These print what is wrong and return an exit status, 0 when all is well. */

/* Takes our options out of the arguments, and checks those that we know of the tool's. `launch` begins the
 * struct that they are set in. */
int launch_parse(struct launch *launch, int argc, char **argv);
/* Checks the cache and finds the tool (by its full name), the plug-in and the model. */
int launch_find(struct launch *launch, const char *tool);
/* Replaces this process by the tool; returns only when that fails. */
int launch_start(const struct launch *launch);
void launch_free(struct launch *launch);

/* The text is one of a list that ends with NULL. */
bool equals_any(const char *text, const char *const *list);

#endif
