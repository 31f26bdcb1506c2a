/* The files in which llama.cpp saves its state: where in them the rows of the caches are. */
#ifndef TADA_SESSION_LLAMA_STATE_H
#define TADA_SESSION_LLAMA_STATE_H

#include "files.h"

/* K or V of one layer: rows of f16, in the order of their cells. */
typedef struct llama_plane {
    uint64_t at; /* of the first row in the file */
    uint32_t rows;
    uint32_t width;  /* values of a row */
    bool is_v;       /* by its place in the file */
    uint32_t stream; /* number of the stream of a cache that it is in, over the whole file */
} llama_plane;

/*
 * Finds the planes of a file, in ascending order. What is not understood has none, which is no error: only a
 * file that does not begin as llama.cpp's do is refused. *planes: to be freed; NULL when there are none.
 */
enum tada_status llama_state_scan(source_file *source, llama_plane **planes, size_t *n, tada_error *error);

#endif
