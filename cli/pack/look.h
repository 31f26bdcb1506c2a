/* What is in packed sessions and stored prompts: tada pack -l and -t. */
#ifndef TADA_CLI_PACK_LOOK_H
#define TADA_CLI_PACK_LOOK_H

#include "options/options.h"

/* lists: a table of what is in them, else a line each; json: all of it, one file a line. Returns an exit
 * status: EXIT_PROBLEM if one of them is damaged or cannot be read. */
int pack_look(const struct operands *files, bool lists, bool json);

#endif
