/* Text from files, file names and other processes, escaped for a terminal. */
#ifndef TADA_PRINTABLE_H
#define TADA_PRINTABLE_H

#include <stddef.h>
#include <stdio.h>

/*
 * Writes `text` to `to`, cut where it does not fit in `size` bytes, at least 1. Escape sequences in a text
 * could control the terminal, so control characters, bytes that are not UTF-8, and marks that change the
 * direction of writing become \xNN. Returns `to`.
 */
const char *printable(const char *text, char *to, size_t size);

/* Writes JSON with such characters as \uNNNN; in JSON they can only be in strings. */
void printable_json(const char *json, FILE *to);

/* Bytes of the UTF-8 sequence that `text` begins with, 1 to 4; 0: it begins with none. `text` ends with 0. */
int utf8_length(const unsigned char *text);

#endif
