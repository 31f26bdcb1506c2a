/* Text from files, file names and other processes, made fit for a terminal. */
#ifndef TADA_PRINTABLE_H
#define TADA_PRINTABLE_H

#include <stddef.h>
#include <stdio.h>

/*
 * Writes `text` so that it fits in `size` bytes, at least 1. Escape sequences would let it do what it likes
 * with a terminal: control characters and bytes that are not UTF-8 become \xNN, and so do marks that turn the
 * direction of writing. Returns `to`.
 */
const char *printable(const char *text, char *to, size_t size);

/* Writes JSON text with such characters as \uNNNN: in JSON they can only be parts of strings. */
void printable_json(const char *json, FILE *to);

/* Bytes of the valid UTF-8 sequence at text; 0 when it is not one. */
int utf8_length(const unsigned char *text);

#endif
