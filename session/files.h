/* Files that are read and written from front to back, with checksums. */
#ifndef TADA_SESSION_FILES_H
#define TADA_SESSION_FILES_H

#include "crc.h"
#include "common/error.h"

/* A plain file that is read through a buffer. One thread at a time uses it, but for source_read. */
typedef struct source_file {
    const char *path; /* the caller's, for errors */
    int fd;
    uint64_t size; /* bytes when it was opened */
    uint64_t at;   /* offset of the next byte */
    uint8_t *buffer;
    size_t capacity, begin, end; /* bytes [begin, end) of the buffer are still to come */
} source_file;

/* Opens a file; "-" is standard input. source_close closes it. */
enum tada_status source_open(const char *path, source_file *source, tada_error *error);
/* Makes a source of an open descriptor, which source_close closes. fd -1: it could not be opened, and errno
 * says why. */
enum tada_status source_take_over(const char *path, int fd, source_file *source, tada_error *error);
void source_close(source_file *source);
/* Sets *bytes to the next n bytes, valid until the next call. Fewer are left: TADA_E_FILE. */
enum tada_status source_peek(source_file *source, size_t n, const uint8_t **bytes, tada_error *error);
/* The same; the bytes after these are the next ones then. */
enum tada_status source_take(source_file *source, size_t n, const uint8_t **bytes, tada_error *error);
/* Reads n bytes at offset `at` into `bytes`, without the buffer. May be called from several threads. */
enum tada_status source_read(const source_file *source, uint64_t at, void *bytes, size_t n,
                             tada_error *error);

enum { TARGET_FIRST = 12 };

/* An open descriptor that is written through a buffer. fd -1: nothing is written, only counted and summed. */
typedef struct target_file {
    const char *name; /* the caller's, for errors */
    int fd;
    uint64_t size; /* bytes that were put */
    uint32_t sum;  /* their checksum */
    uint8_t first[TARGET_FIRST];
    tada_crc crc;
    uint8_t *buffer;
    size_t filled;
} target_file;

enum tada_status target_open(int fd, const char *name, target_file *target, tada_error *error);
/* Frees the buffer. The descriptor stays open, and what was not flushed is lost. */
void target_free(target_file *target);
enum tada_status target_put(target_file *target, const void *bytes, size_t n, tada_error *error);
/* Writes what the buffer still holds. */
enum tada_status target_flush(target_file *target, tada_error *error);

#endif
