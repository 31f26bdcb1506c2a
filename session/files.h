/* Files that are read and written from front to back, with checksums. */
#ifndef TADA_SESSION_FILES_H
#define TADA_SESSION_FILES_H

#include "crc.h"
#include "common/error.h"

/* A plain file, read through a buffer. Its size is that of when it was opened. "-": standard input. */
typedef struct source_file {
    const char *path;
    int fd;
    uint64_t size, at; /* at: of the next byte */
    uint8_t *buffer;
    size_t capacity, begin, end; /* what of the buffer is still to come */
} source_file;

enum tada_status source_open(const char *path, source_file *source, tada_error *error);
/* The same of a descriptor, which is closed with it; -1: it could not be opened, says errno. */
enum tada_status source_take_over(const char *path, int fd, source_file *source, tada_error *error);
void source_close(source_file *source);
/* The next n bytes in one piece, valid until the next call. TADA_E_FILE when fewer are left. */
enum tada_status source_peek(source_file *source, size_t n, const uint8_t **bytes, tada_error *error);
/* The same, and goes on behind them. */
enum tada_status source_take(source_file *source, size_t n, const uint8_t **bytes, tada_error *error);
/* n bytes from any place, past the buffer. */
enum tada_status source_read(const source_file *source, uint64_t at, void *bytes, size_t n,
                             tada_error *error);

/* An open descriptor, written through a buffer. Descriptor -1: what is written is only counted and summed. */
typedef struct target_file {
    const char *name; /* for errors */
    int fd;
    uint64_t size; /* bytes written */
    uint32_t sum;  /* their checksum */
    crc_table crc;
    uint8_t *buffer;
    size_t filled;
} target_file;

enum tada_status target_open(int fd, const char *name, target_file *target, tada_error *error);
void target_free(target_file *target); /* leaves the descriptor open */
enum tada_status target_put(target_file *target, const void *bytes, size_t n, tada_error *error);
enum tada_status target_flush(target_file *target, tada_error *error);

#endif
