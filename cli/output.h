/* Files that are there whole or not at all: written beside their place and then moved to it. */
#ifndef TADA_OUTPUT_H
#define TADA_OUTPUT_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

struct output {
    const char *path; /* the caller's */
    char part[PATH_MAX];
    FILE *file;
};

/* Both print what is wrong and return an exit status: EXIT_USAGE when the file cannot be written there. */
int output_check(const char *path); /* leaves no trace */
int output_open(const char *path, struct output *output);
/* Moves the file to its place, or, unless it is good, removes it. Returns an exit status. */
int output_close(struct output *output, bool good);

#endif
