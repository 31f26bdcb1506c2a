/* The packed file: what its writer and its reader share. doc/reference/session.md describes it. */
#ifndef TADA_SESSION_FORMAT_H
#define TADA_SESSION_FORMAT_H

#include "files.h"
#include "grid/grid.h"
#include "session.h"
#include "team.h"
#include "whole.h"

enum {
    PACKED_VERSION = 2,
    PACKED_HEADER = 24, /* magic, version, flags, bytes of the stock file */
    PACKED_FOOTER = 8,  /* checksums of the stock file and of all before */
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
static inline int packed_batch(const tada_grid *grid)
{
    int runs = PACKED_BATCH_BYTES / (grid->width * TADA_TILE_CELLS * 2);
    return runs < 1 ? 1 : runs > PACKED_BATCH_RUNS ? PACKED_BATCH_RUNS : runs;
}

/* Threads to use beside others of the process, for one file. NULL: memory is short. */
tada_team *tada_session_team(void);

/* False, with *status and the error set: `watch` wants to stop. */
enum tada_status tada_session_step(const tada_session_watch *watch, uint64_t done, uint64_t total,
                                   tada_error *error);

/* unpack.c: writes the stock file to a descriptor, or nowhere (-1), which only checks. */
enum tada_status tada_session_unpack_to(tada_source *source, int to_fd, const char *to,
                                        const tada_session_watch *watch, tada_session_sizes *sizes,
                                        uint32_t *sum, tada_error *error);

/* pack.c: begins the file that a source is to become. from: its path, as it was given. */
enum tada_status tada_session_begin(const tada_source *source, const char *from, const char *to,
                                    bool replaces, tada_whole *whole, tada_error *error);

/* Grids of the planes of one kind. */
typedef struct tada_session_guess {
    tada_grid grid;
    double cost; /* bytes over those of f16 rows; 1: no grid is known */
} tada_session_guess;

/* detect.c: finds on which grid rows of a plane of the source lie; cost 1: on none. *guess: first that of
 * another plane, but for the width. */
enum tada_status tada_session_detect(const tada_source *source, uint64_t at, uint64_t rows,
                                     tada_session_guess *guess, tada_error *error);

#endif
