/* Files that commands write, and standard output where "-" stands for a file. */
#ifndef TADA_CLI_OUTPUT_OUTPUT_H
#define TADA_CLI_OUTPUT_OUTPUT_H

#include "new_file.h"

#include <stdio.h>

struct output {
    new_file target;
    FILE *file;
};

/* NULL, no file: false. */
bool output_is_stdout(const char *path);
/* A file that is read must not be replaced by what is written. NULL: there is none. */
void output_keep(new_file_rules *rules, const char *path);
/* Adds the plans that specs name. */
void output_keep_plans(new_file_rules *rules, const char *const *specs, int n);

/* These print what is wrong and return an exit status: EXIT_USAGE when the file cannot be written there. */

/* For before long work; leaves no trace. NULL, no file: 0. */
int output_check(const char *path, const new_file_rules *rules);
/* Of two files of one command; either may be NULL. */
int output_check_both(const char *path, const char *other, const new_file_rules *rules);
int output_open(const char *path, const new_file_rules *rules, struct output *output);
/* Moves the file to its place, or, unless it is good, removes it. */
int output_close(struct output *output, bool good);

#endif
