/* Starting a llama.cpp tool with the plug-in or with a stock cache type: `tada run` and `tada serve`. */
#ifndef TADA_LAUNCH_H
#define TADA_LAUNCH_H

#include "cli.h"
#include "tada.h"

/* An option of ours among those of the tool: "--name VALUE" or "--name=VALUE". */
struct launch_option {
    const char *name, *example; /* "--cache", "tada:4" */
    const char **value;         /* set when it is given */
};

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

/* Takes our options (ended by one without a name; --cache is always among them) out of the arguments. */
int launch_parse(struct launch *launch, const struct launch_option *options, int argc, char **argv);
/* Checks the cache and finds the tool (by its full name), the plug-in and the model. */
int launch_find(struct launch *launch, const char *tool);
/* Replaces this process by the tool; returns only when that fails. */
int launch_start(const struct launch *launch);
void launch_free(struct launch *launch);

/* The text is one of a list that ends with NULL. */
bool equals_any(const char *text, const char *const *list);

#endif
