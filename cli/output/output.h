/* Files that commands write. "-" stands for standard output. */
#ifndef TADA_CLI_OUTPUT_OUTPUT_H
#define TADA_CLI_OUTPUT_OUTPUT_H

#include "new_file.h"

#include <stdio.h>

struct output {
    new_file target;
    FILE *file; /* what to write to */
};

/* Whether a path stands for standard output. NULL, no file: false. */
bool output_is_stdout(const char *path);
/* Adds a file that is read to those that must not be replaced. NULL: nothing to add. */
void output_keep(new_file_rules *rules, const char *path);
/* The same for the plans that n specs name. */
void output_keep_plans(new_file_rules *rules, const char *const *specs, int n);

/* These print what is wrong and return an exit status: EXIT_USAGE when the file cannot be written there. */

/* Whether the file can be written, to be asked before long work. Leaves no trace. NULL, no file: 0. */
int output_check(const char *path, const new_file_rules *rules);
/* The same of two files of one command, which must differ. Either may be NULL. */
int output_check_both(const char *path, const char *other, const new_file_rules *rules);
/* Opens output->file; output_close closes it. */
int output_open(const char *path, const new_file_rules *rules, struct output *output);
/* Moves the file to its place. What could not be written is removed, and so is what is not good otherwise:
 * the caller has said why. */
int output_close(struct output *output, bool good);

#endif
