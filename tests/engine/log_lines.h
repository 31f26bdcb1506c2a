/* What llama.cpp and the plug-in log, kept to be looked at; from any thread. */
#ifndef TADA_ENGINE_LOG_LINES_H
#define TADA_ENGINE_LOG_LINES_H

#include "ggml.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    char *text;
    size_t size, room;
} log_lines = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* For llama_log_set. Pieces of a line come one after the other. */
static inline void log_keep(enum ggml_log_level level, const char *text, void *data)
{
    (void)level;
    (void)data;
    size_t size = strlen(text);
    pthread_mutex_lock(&log_lines.lock);
    if (log_lines.size + size + 1 > log_lines.room) {
        log_lines.room = 2 * (log_lines.size + size + 1);
        log_lines.text = realloc(log_lines.text, log_lines.room);
    }
    memcpy(log_lines.text + log_lines.size, text, size + 1);
    log_lines.size += size;
    pthread_mutex_unlock(&log_lines.lock);
}

static inline void log_forget(void)
{
    pthread_mutex_lock(&log_lines.lock);
    log_lines.size = 0;
    pthread_mutex_unlock(&log_lines.lock);
}

/* The number of lines since log_forget that have both words; `line`, of the size `room`, gets the last of
 * them, and may be NULL. */
static inline int log_find(const char *word, const char *other, char *line, size_t room)
{
    int n = 0;
    pthread_mutex_lock(&log_lines.lock);
    for (size_t at = 0; at < log_lines.size;) {
        const char *from = log_lines.text + at, *end = memchr(from, '\n', log_lines.size - at);
        size_t size = end ? (size_t)(end - from) : log_lines.size - at;
        if (memmem(from, size, word, strlen(word)) && memmem(from, size, other, strlen(other))) {
            n++;
            if (line) {
                snprintf(line, room, "%.*s", (int)size, from);
            }
        }
        at += size + 1;
    }
    pthread_mutex_unlock(&log_lines.lock);
    return n;
}

/* The sum of the numbers that follow the words in those lines, such as "KV buffer size = ". */
static inline double log_sum(const char *words, const char *other)
{
    double sum = 0;
    pthread_mutex_lock(&log_lines.lock);
    for (size_t at = 0; at < log_lines.size;) {
        const char *from = log_lines.text + at, *end = memchr(from, '\n', log_lines.size - at);
        size_t size = end ? (size_t)(end - from) : log_lines.size - at;
        const char *found = memmem(from, size, words, strlen(words));
        if (found && memmem(from, size, other, strlen(other))) {
            sum += strtod(found + strlen(words), NULL);
        }
        at += size + 1;
    }
    pthread_mutex_unlock(&log_lines.lock);
    return sum;
}

#endif
