/* Sources and targets: read and write with a buffer of a mebibyte, and errors in sentences. */
#include "files.h"

#include "nameless.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 20 };

/* ---- reading ---- */

enum tada_status source_open(const char *path, source_file *source, tada_error *error)
{
    bool is_input = strcmp(path, "-") == 0;
    /* A pipe that nobody writes to must not make us wait. */
    int fd = is_input ? nameless_input() : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return source_take_over(is_input ? "standard input" : path, fd, source, error);
}

enum tada_status source_take_over(const char *path, int fd, source_file *source, tada_error *error)
{
    struct stat status;
    *source = (source_file){.path = path, .fd = fd};
    if (fd < 0 || fstat(fd, &status) != 0) {
        enum tada_status result = tada_fail(error, TADA_E_FILE, "%.150s cannot be read (%s): choose another.",
                                            path, strerror(errno));
        source_close(source);
        return result;
    }
    if (!S_ISREG(status.st_mode)) {
        source_close(source);
        return tada_fail(error, TADA_E_FILE, "%.150s is not a plain file: choose another.", path);
    }
    source->size = (uint64_t)status.st_size;
    return TADA_OK;
}

void source_close(source_file *source)
{
    if (source->fd >= 0) {
        close(source->fd);
    }
    free(source->buffer);
    source->buffer = NULL;
    source->fd = -1;
}

enum tada_status source_read(const source_file *source, uint64_t at, void *bytes, size_t n, tada_error *error)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(source->fd, (char *)bytes + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return tada_fail(error, TADA_E_FILE, "%.150s cannot be read (%s): is it being changed?",
                             source->path, got < 0 ? strerror(errno) : "it ends too early");
        }
        done += (size_t)got;
    }
    return TADA_OK;
}

enum tada_status source_peek(source_file *source, size_t n, const uint8_t **bytes, tada_error *error)
{
    size_t have = source->end - source->begin;
    if (n > source->size - source->at) {
        return tada_fail(error, TADA_E_FILE, "%.150s is damaged: it ends too early.", source->path);
    }
    if (have < n) {
        size_t wanted = n > BUFFER ? n : BUFFER;
        uint8_t *buffer = source->buffer;
        if (source->capacity < wanted) {
            buffer = malloc(wanted);
            if (!buffer) {
                return tada_fail(error, TADA_E_MEMORY, "Out of memory while %.150s was read.", source->path);
            }
        }
        if (have > 0) {
            memmove(buffer, source->buffer + source->begin, have);
        }
        if (buffer != source->buffer) {
            free(source->buffer);
            source->buffer = buffer;
            source->capacity = wanted;
        }
        source->begin = 0;
        source->end = have;
        uint64_t left = source->size - source->at - have;
        size_t more = source->capacity - have < left ? source->capacity - have : (size_t)left;
        enum tada_status status = source_read(source, source->at + have, buffer + have, more, error);
        if (status != TADA_OK) {
            return status;
        }
        source->end += more;
    }
    *bytes = source->buffer + source->begin;
    return TADA_OK;
}

enum tada_status source_take(source_file *source, size_t n, const uint8_t **bytes, tada_error *error)
{
    enum tada_status status = source_peek(source, n, bytes, error);
    if (status == TADA_OK) {
        source->begin += n;
        source->at += n;
    }
    return status;
}

/* ---- writing ---- */

enum tada_status target_open(int fd, const char *name, target_file *target, tada_error *error)
{
    *target = (target_file){.name = name, .fd = fd, .buffer = malloc(BUFFER)};
    tada_crc_init(&target->crc);
    return target->buffer ? TADA_OK : tada_fail(error, TADA_E_MEMORY, "Out of memory for %.150s.", name);
}

void target_free(target_file *target)
{
    free(target->buffer);
    target->buffer = NULL;
}

enum tada_status target_flush(target_file *target, tada_error *error)
{
    for (size_t done = 0; target->fd >= 0 && done < target->filled;) {
        ssize_t put = write(target->fd, target->buffer + done, target->filled - done);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return tada_fail(error, TADA_E_FILE,
                             "%.150s could not be written (%s): make room or choose another place.",
                             target->name, strerror(put < 0 ? errno : ENOSPC));
        }
        done += (size_t)put;
    }
    target->filled = 0;
    return TADA_OK;
}

enum tada_status target_put(target_file *target, const void *bytes, size_t n, tada_error *error)
{
    const uint8_t *from = bytes;
    target->sum = tada_crc_add(&target->crc, target->sum, bytes, n);
    if (target->size < TARGET_FIRST) {
        size_t at = (size_t)target->size;
        memcpy(target->first + at, bytes, n < TARGET_FIRST - at ? n : TARGET_FIRST - at);
    }
    target->size += n;
    while (n > 0) {
        size_t part = BUFFER - target->filled < n ? BUFFER - target->filled : n;
        memcpy(target->buffer + target->filled, from, part);
        target->filled += part;
        from += part;
        n -= part;
        if (target->filled == BUFFER) {
            enum tada_status status = target_flush(target, error);
            if (status != TADA_OK) {
                return status;
            }
        }
    }
    return TADA_OK;
}
