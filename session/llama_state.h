/* The files in which llama.cpp saves its state, and where in them the rows of K and V are. */
#ifndef TADA_SESSION_LLAMA_STATE_H
#define TADA_SESSION_LLAMA_STATE_H

#include "files.h"

/* K or V of one layer: rows of f16, in the order of their cells. */
typedef struct llama_plane {
    uint64_t at; /* offset of the first row in the file */
    uint32_t rows;
    uint32_t width;  /* values of a row */
    bool is_v;       /* V, as its place in the file says */
    uint32_t stream; /* number of its stream, counted over all caches of the file */
} llama_plane;

/*
 * Finds the n planes of a file, in the order of their offsets. Parts of the file that are not understood have
 * no planes, which is no error; only a file that does not begin as llama.cpp's files do is refused
 * (TADA_E_FILE). The caller frees *planes with free; it is NULL when there are none.
 */
enum tada_status llama_state_scan(source_file *source, llama_plane **planes, size_t *n, tada_error *error);

/* What stands in front of such a file: its first LLAMA_STATE_BEGINNING bytes. False: it is another one. */
enum { LLAMA_STATE_BEGINNING = 12 };
bool llama_state_begin(const uint8_t bytes[LLAMA_STATE_BEGINNING], bool *is_context, uint32_t *tokens);

#endif
