/*
 * The one way in which this project writes files: a new file is written beside its place, and renamed to it
 * when it is complete. So nobody ever sees half a file, and the old file stays until then. No link is
 * followed, neither for the new file nor at its place.
 */
#ifndef TADA_NEW_FILE_H
#define TADA_NEW_FILE_H

#include "tada.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

enum { NEW_FILE_INPUTS = 24 }; /* files that one command reads, at most */

/* What may be written where. Zeros: nothing may be replaced, and the mode follows the umask. */
typedef struct new_file_rules {
    bool replaces;                       /* a plain file or a link that is at the place may be replaced */
    const char *inputs[NEW_FILE_INPUTS]; /* files that are read, and are never replaced; NULL: none */
    const struct stat *like;             /* its mode and owner are given to the file; NULL: nobody's */
    const char *prefix;                  /* how its name begins until it is complete; NULL: as its own name */
    bool passing;                        /* it is of no use after a crash: it is not synced to the disk */
} new_file_rules;

typedef struct new_file {
    const char *path; /* its place; the caller's string */
    int fd;           /* open for reading and writing; of a stream for writing */
    bool streams;     /* it is standard output, a device or a pipe: there is nothing to rename */
    bool replaces, syncs;
    char part[PATH_MAX]; /* its name until it is complete */
} new_file;

/*
 * Begins a file. On an error nothing is left of it. The file gets the mode and, where that is allowed, the
 * owner of the file that it replaces: nobody can read the new file who could not read the old one.
 */
enum tada_status new_file_open(const char *path, const new_file_rules *rules, new_file *file,
                               tada_error *error);
/* Syncs the file and moves it to its place. Unless `good`, and on an error, nothing is left of it. */
enum tada_status new_file_close(new_file *file, bool good, tada_error *error);
/* Whether a file could be begun now: to be asked before long work. Leaves no trace. */
enum tada_status new_file_check(const char *path, const new_file_rules *rules, tada_error *error);

/* Whether a path is "-", or a link to standard output such as /dev/stdout. */
bool new_file_is_stdout(const char *path);

#endif
