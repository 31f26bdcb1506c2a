/* The packed file: what pack.c and unpack.c share. doc/reference/session.md describes its bytes. */
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
    /* A batch of runs is worked on at once: of at most so many bytes of rows, but at least one run. */
    PACKED_BATCH_BYTES = 8 << 20,
    PACKED_BATCH_RUNS = 64,
};

#define PACKED_MAGIC "TADASESS"

/* How many runs a batch has: 1 to PACKED_BATCH_RUNS. */
static inline int packed_batch(const grid_shape *grid)
{
    int runs = PACKED_BATCH_BYTES / (grid->width * TADA_TILE_CELLS * 2);
    return runs < 1 ? 1 : runs > PACKED_BATCH_RUNS ? PACKED_BATCH_RUNS : runs;
}

/* Threads for one file: as many as there are CPUs, 8 at most. NULL: memory is short. team_free frees them. */
thread_team *session_team(void);

/* Tells `watch`, which may be NULL, how far the work is. Not TADA_OK: it wants to stop. */
enum tada_status session_step(const session_watch *watch, uint64_t done, uint64_t total, tada_error *error);

/* What was unpacked, beside its size. */
typedef struct session_unpacked {
    uint32_t version; /* of the packed file */
    uint32_t sum;     /* the checksum of llama.cpp's */
    uint8_t first[TARGET_FIRST];
} session_unpacked;

/* unpack.c: writes llama.cpp's file to a descriptor. to_fd -1: only checks the packed file. */
enum tada_status session_unpack_to(source_file *source, int to_fd, const char *to, const session_watch *watch,
                                   session_sizes *sizes, session_unpacked *unpacked, tada_error *error);

/* pack.c: begins the file `to` that a source is to become. from: the path of the source as it was given. */
enum tada_status session_begin(const source_file *source, const char *from, const char *to, bool replaces,
                               new_file *file, tada_error *error);

/* The grid of a plane. */
typedef struct session_guess {
    grid_shape grid;
    double cost; /* bytes of coded rows over those of f16 rows; 1: no grid is known */
} session_guess;

/* detect.c: finds the grid that `rows` rows at offset `at` of the source lie on. *guess: before, the grid of
 * another plane, with the width of this one; after, its own. cost 1: they lie on none. */
enum tada_status session_detect(const source_file *source, uint64_t at, uint64_t rows, session_guess *guess,
                                tada_error *error);

#endif
