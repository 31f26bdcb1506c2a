/*
 * The one way in which files are written here: a new file beside its place, which is moved there when it is
 * complete. So a file is there whole or not at all, and what was there before stays until then. No link is
 * followed, neither for the new file nor at its place.
 */
#ifndef TADA_NEW_FILE_H
#define TADA_NEW_FILE_H

#include "tada.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

enum { NEW_FILE_INPUTS = 24 };

/* What may be written where. Zeros: nothing is replaced, and the mode follows the umask. */
typedef struct new_file_rules {
    bool replaces;                       /* a plain file, or a link, that is there may go */
    const char *inputs[NEW_FILE_INPUTS]; /* files that are read, which never go; NULL: none */
    const struct stat *like;             /* whose mode and owner a new file gets; NULL: none */
    const char *prefix;                  /* of its name until it is complete; NULL: made of its own name */
    bool passing;                        /* of no use after a crash: it need not reach the disk */
} new_file_rules;

typedef struct new_file {
    const char *path; /* the caller's */
    int fd;           /* open for reading and writing; of a stream for writing */
    bool streams;     /* "-", standard output, a device or a pipe: what is written is out at once */
    bool replaces, syncs;
    char part[PATH_MAX]; /* its name until it is complete */
} new_file;

/*
 * Begins a file; nothing is left of it on an error. A file that is replaced hands on its mode and, where that
 * is allowed, its owner: nobody can read the new one who could not read the old one.
 */
enum tada_status new_file_open(const char *path, const new_file_rules *rules, new_file *file,
                               tada_error *error);
/* Brings it to the disk and to its place if `good`; else, and on an error, nothing is left of it. */
enum tada_status new_file_close(new_file *file, bool good, tada_error *error);
/* Whether it could be begun: for before long work. Leaves no trace. */
enum tada_status new_file_check(const char *path, const new_file_rules *rules, tada_error *error);

/* Whether a path is "-", or a link to standard output such as /dev/stdout. */
bool new_file_is_stdout(const char *path);

#endif
