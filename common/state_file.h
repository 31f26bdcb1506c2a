/*
 * States of sequences, in memory and in files (doc/reference/session.md, "States of sequences"): the one
 * reader of what the plug-in saves and restores, `tada serve` stores, and `tada pack` looks into. Nothing in
 * them is believed before it was checked.
 */
#ifndef TADA_STATE_FILE_H
#define TADA_STATE_FILE_H

#include "crc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STATE_VERSION = 2,
    STATE_PLAIN = 0, /* kinds of parts */
    STATE_ROWS = 1,
    STATE_LABEL = 2,
    STATE_BEGINNING = 64, /* bytes that tell where the label is */
};

#define STATE_MAGIC "TADASTAT"

typedef struct state_head {
    char magic[8];
    uint32_t version, n_parts;
    uint64_t bytes, plain; /* of all this, of the host's state */
    uint32_t sum, zero;    /* of what follows but the cells, which have their own */
} state_head;

/* What stands for some bytes of the host's state: these bytes, or cells of a plane. A label stands for none.
 */
typedef struct state_part {
    uint64_t kind, plain, bytes;
} state_part;

/* What stands in front of a prompt's state. */
typedef struct prompt_label {
    uint64_t key;     /* of model, context and cache */
    int32_t tokens[]; /* of its positions, from 0 */
} prompt_label;

/* Whether it begins as they do. */
bool state_is_packed(const void *from, size_t size);

/* Part after part, from front to back. */
typedef struct state_reader {
    state_head head;
    const uint8_t *at, *end;
    uint64_t passed; /* bytes of the host's state before the next part */
    uint32_t n_read; /* parts */
    uint32_t sum;
    tada_crc crc;
} state_reader;

/* False: it is none of this version, or has been cut off. */
bool state_begin(state_reader *reader, const void *from, size_t size);
/* The next part, and its bytes. False: there is none, or it is damaged. */
bool state_next(state_reader *reader, state_part *part, const uint8_t **bytes);
/* Whether all parts have been read and are right: but for cells, whose checksums are their own. */
bool state_ended(const state_reader *reader);

/* Whether cells have their checksum at their end. */
bool state_cells_sound(const uint8_t *cells, size_t bytes);
/* Whether all checksums are right. */
bool state_check(const void *from, size_t size);

/* Where the label is in a state of which `have` bytes are there, STATE_BEGINNING at least: it may lie behind
 * them. NULL: there is none, or the state is of another version. */
const void *state_label(const void *from, size_t have, size_t *bytes);
/* How many tokens are in the label of a prompt, of so many bytes; 0: it is none. */
size_t prompt_label_tokens(size_t bytes);

#endif
