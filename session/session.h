/*
 * Sessions on disk in compressed form: packs the files in which llama.cpp saves the state of a sequence (slot
 * saves of llama-server, llama_state_seq_save_file) or of a context (llama_state_save_file), without loss.
 * doc/reference/session.md describes the packed file.
 *
 * All functions may be called from several threads at once. Pointers must not be NULL unless it says so.
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

/* ---- from file to file ---- */

/* What became of a file. */
typedef struct session_sizes {
    uint64_t plain, packed; /* bytes of llama.cpp's file, and of the packed file */
    uint64_t rows;          /* rows of f16 caches */
    uint64_t raw_rows;      /* those of them that are stored as they are */
    uint64_t planes;        /* planes (K or V of a layer) that they are from */
} session_sizes;

/* How a caller watches long work. */
typedef struct session_watch {
    bool (*step)(void *context, uint64_t done, uint64_t total); /* in bytes; false: stop. May be NULL */
    void *context;
} session_watch;

/*
 * Pack or unpack the file `from` into the file `to`. `to` appears only when it is complete, with the mode and
 * the owner of the file that it replaces, else of `from`. replaces: `to` may be there already, but never be
 * `from`. "-" stands for standard input and standard output. watch and sizes may be NULL.
 */
enum tada_status session_pack_file(const char *from, const char *to, bool replaces,
                                   const session_watch *watch, session_sizes *sizes, tada_error *error);
enum tada_status session_unpack_file(const char *from, const char *to, bool replaces,
                                     const session_watch *watch, session_sizes *sizes, tada_error *error);

/* ---- looking into files ---- */

enum session_kind { SESSION_SLOT, SESSION_CONTEXT, SESSION_PROMPT, SESSION_STATE };

/* What is in a file that `tada pack` made, or that `tada serve --prompt-cache` stored. */
typedef struct session_facts {
    enum session_kind kind; /* SESSION_STATE: as a prompt, but nobody says of which tokens */
    uint32_t version;       /* of its format */
    uint64_t packed, plain; /* bytes of the file, and of what llama.cpp makes of it */
    uint64_t tokens, cells, planes;
    uint64_t rows, raw_rows; /* of all planes, and those that are stored as they are; SESSION_PROMPT: 0 */
    /* SESSION_PROMPT, SESSION_STATE: */
    uint64_t key;          /* of model, context and cache */
    double k_bits, v_bits; /* of a code, on average over planes; 16: they are in f16; 0: there are none */
} session_facts;

/*
 * Reads and checks all of a file: its checksums, and every number. It must be plain and can be read at once
 * while others read it. TADA_E_FILE: it is damaged, or something else. watch may be NULL.
 */
enum tada_status session_look(const char *path, const session_watch *watch, session_facts *facts,
                              tada_error *error);

#endif
