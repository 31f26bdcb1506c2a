/*
 * Sessions on disk in compressed form: packs the files in which llama.cpp saves the state of a sequence (slot
 * saves of llama-server, llama_state_seq_save_file) or of a context (llama_state_save_file), without loss.
 * doc/reference/session.md describes the packed file.
 *
 * All of it may be used from several threads at once. No pointer may be NULL unless it says so.
 */
#ifndef TADA_SESSION_H
#define TADA_SESSION_H

#include "tada.h"

/*
 * Packs the file `from` into a descriptor of an empty file that is open for reading and writing. Unpacking
 * gives the same bytes, always; how small it gets depends on how many rows come out of a compressed cache, as
 * the rows tell. A file that is not llama.cpp's: TADA_E_FILE. On an error, what was written is worth nothing.
 */
enum tada_status session_pack(const char *from, int to_fd, tada_error *error);

/*
 * Writes the file that was packed into `from` to a descriptor that is open for writing, from its offset on.
 * On an error, what was written is worth nothing. A damaged file: TADA_E_FILE.
 */
enum tada_status session_unpack(const char *from, int to_fd, tada_error *error);

/* Whether a file begins as packed files do; false also for what cannot be read. */
bool session_is_packed(const char *path);

/* ---- from file to file, with more to tell ---- */

/* What became of a file. */
typedef struct session_sizes {
    uint64_t plain, packed;  /* bytes of the file of llama.cpp, of the packed one */
    uint64_t rows, raw_rows; /* rows of f16 caches; those of them that are stored as they are */
    uint64_t planes;         /* K or V of a layer that they are from */
} session_sizes;

/* Called now and then; false: give up. */
typedef struct session_watch {
    bool (*step)(void *context, uint64_t done, uint64_t total);
    void *context;
} session_watch;

/*
 * `to` appears whole or not at all, with the mode and the owner of what it replaces, else of `from`. What is
 * there already is an error unless it may be replaced; `from` never is. "-": standard input, and output.
 * watch, sizes: may be NULL.
 */
enum tada_status session_pack_file(const char *from, const char *to, bool replaces,
                                   const session_watch *watch, session_sizes *sizes, tada_error *error);
enum tada_status session_unpack_file(const char *from, const char *to, bool replaces,
                                     const session_watch *watch, session_sizes *sizes, tada_error *error);

#endif
