/* The packed file: what its writer and its reader share. doc/reference/session.md describes it. */
#ifndef TADA_SESSION_FORMAT_H
#define TADA_SESSION_FORMAT_H

#include "files.h"
#include "grid/grid.h"
#include "session.h"
#include "team.h"
#include "new_file.h"

enum {
    PACKED_VERSION = 2,
    PACKED_HEADER = 24, /* magic, version, flags, bytes of llama.cpp's file */
    PACKED_FOOTER = 8,  /* checksums of llama.cpp's file and of all before */
    /* Records. */
    PACKED_BYTES = 0,
    PACKED_PLANE = 1,
    PACKED_BYTES_HEAD = 9,  /* kind, bytes */
    PACKED_PLANE_HEAD = 14, /* kind, axis, rotation, group, width, rows */
    /* Runs of a plane. */
    PACKED_RAW = 0,
    PACKED_CODED = 1,
    PACKED_RAW_HEAD = 5, /* kind, rows */
    PACKED_CODED_HEAD = 2,
    /* Rows of a batch that are worked on at once take so many bytes, or else are those of one run. */
    PACKED_BATCH_BYTES = 8 << 20,
    PACKED_BATCH_RUNS = 64,
};

#define PACKED_MAGIC "TADASESS"

/* Runs that a batch has, 1 to 64. */
static inline int packed_batch(const grid_shape *grid)
{
    int runs = PACKED_BATCH_BYTES / (grid->width * TADA_TILE_CELLS * 2);
    return runs < 1 ? 1 : runs > PACKED_BATCH_RUNS ? PACKED_BATCH_RUNS : runs;
}

/* Threads to use beside others of the process, for one file. NULL: memory is short. */
thread_team *session_team(void);

/* False, with *status and the error set: `watch` wants to stop. */
enum tada_status session_step(const session_watch *watch, uint64_t done, uint64_t total, tada_error *error);

/* unpack.c: writes llama.cpp's file to a descriptor, or nowhere (-1), which only checks. */
enum tada_status session_unpack_to(source_file *source, int to_fd, const char *to, const session_watch *watch,
                                   session_sizes *sizes, uint32_t *sum, tada_error *error);

/* pack.c: begins the file that a source is to become. from: its path, as it was given. */
enum tada_status session_begin(const source_file *source, const char *from, const char *to, bool replaces,
                               new_file *file, tada_error *error);

/* Grids of the planes of one kind. */
typedef struct session_guess {
    grid_shape grid;
    double cost; /* bytes over those of f16 rows; 1: no grid is known */
} session_guess;

/* detect.c: finds on which grid rows of a plane of the source lie; cost 1: on none. *guess: first that of
 * another plane, but for the width. */
enum tada_status session_detect(const source_file *source, uint64_t at, uint64_t rows, session_guess *guess,
                                tada_error *error);

#endif
