/*
 * libtada-sessions.so, which `tada serve` loads into llama-server: the state files that llama.cpp writes into
 * and reads from one folder are packed there, and prompts in memory are kept as codes of the cache.
 * libtada-prompts.so does the same, and stores prompts in a folder: it is loaded where that is asked for. The
 * parts know each other through this header. They call the functions of stdio that the library stands before;
 * whatever they do is passed on (preload.c).
 */
#ifndef TADA_PRELOAD_H
#define TADA_PRELOAD_H

#include "new_file.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One line on stderr. */
void preload_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Sets a pointer to a function, as ISO C has no cast to one; NULL: there is none by that name. */
void preload_find(void *handle, const char *name, void *function);

/* ---- prompts.c ---- */

/* From now on states of sequences are kept as codes, where there are some. */
void prompts_begin(void);
/* They are also stored in a folder, of so many bytes at most. */
void prompts_store(const char *folder, uint64_t most);

/* ---- saving.c: files that are written beside their place, packed, and then moved to it ---- */

struct saving {
    FILE *stream; /* of the plain file, which is locked as long as it is open */
    char *final;
    new_file plain;
    struct saving *next; /* the caller's */
};

/* Whether a name is one of those that files have until they are whole, which nobody else may use. */
bool saving_is_own_name(const char *name);

/* Begins a file that is to become `folder`/`name`. NULL: it has to be written in place, by who asked for it.
 */
struct saving *saving_begin(const char *folder, const char *name);
/*
 * Packs it if asked to, moves it to its place and frees it, but for the stream. What cannot be packed is kept
 * as it is, with a line on stderr. False: it could not be written, and what was in its place is still there.
 */
bool saving_end(struct saving *saving, bool packs);
/* Begins a file that is locked, and hidden until new_file_close. is_private: nobody else can read it. */
enum tada_status saving_open(const char *path, bool is_private, new_file *whole, tada_error *error);
/* Removes what processes that were killed left in the folder. */
void saving_clean(const char *folder);

/* ---- restoring.c ---- */

/* Whether `path` is a packed file; if so, *stream reads what was packed, or is NULL and errno set. */
bool restoring_open(const char *folder, const char *path, FILE **stream);
/* Drops what is kept of the file that was restored last. */
void restoring_forget(void);

#endif
