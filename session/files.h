/* Files that are read and written from front to back, with checksums. */
#ifndef TADA_SESSION_FILES_H
#define TADA_SESSION_FILES_H

#include "crc.h"
#include "common/error.h"

/* A plain file, read through a buffer. Its size is that of when it was opened. "-": standard input. */
typedef struct tada_source {
    const char *path;
    int fd;
    uint64_t size, at; /* at: of the next byte */
    uint8_t *buffer;
    size_t capacity, begin, end; /* what of the buffer is still to come */
} tada_source;

enum tada_status tada_source_open(const char *path, tada_source *source, tada_error *error);
/* The same of a descriptor, which is closed with it; -1: it could not be opened, says errno. */
enum tada_status tada_source_take_over(const char *path, int fd, tada_source *source, tada_error *error);
void tada_source_close(tada_source *source);
/* The next n bytes in one piece, valid until the next call. TADA_E_FILE when fewer are left. */
enum tada_status tada_source_peek(tada_source *source, size_t n, const uint8_t **bytes, tada_error *error);
/* The same, and goes on behind them. */
enum tada_status tada_source_take(tada_source *source, size_t n, const uint8_t **bytes, tada_error *error);
/* n bytes from any place, past the buffer. */
enum tada_status tada_source_read(const tada_source *source, uint64_t at, void *bytes, size_t n,
                                  tada_error *error);

/* An open descriptor, written through a buffer. Descriptor -1: what is written is only counted and summed. */
typedef struct tada_sink {
    const char *name; /* for errors */
    int fd;
    uint64_t size; /* bytes written */
    uint32_t sum;  /* their checksum */
    tada_crc crc;
    uint8_t *buffer;
    size_t filled;
} tada_sink;

enum tada_status tada_sink_open(int fd, const char *name, tada_sink *sink, tada_error *error);
void tada_sink_free(tada_sink *sink); /* leaves the descriptor open */
enum tada_status tada_sink_put(tada_sink *sink, const void *bytes, size_t n, tada_error *error);
enum tada_status tada_sink_flush(tada_sink *sink, tada_error *error);

#endif
