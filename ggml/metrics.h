/*
 * Metrics (doc/metrics.md): what the plug-in counts, and how it gets out. With TADA_METRICS unset only falls
 * to the generic path are counted, and there is no thread. Functions may be called from any thread unless
 * they say otherwise.
 */
#ifndef METRICS_H
#define METRICS_H

#include "tada.h"

#include "ggml.h"

#include <stdio.h>

/* ---- metrics.c: counting ---- */

/* Reads TADA_METRICS; says what is wrong with it, and goes on without metrics. Once, before all else. */
void metrics_init(void);
/* A plane as it is counted; part of what stands for it. All zeros: not counted. */
typedef struct counted_plane {
    const tada_plane *plane;
    enum tada_kind kind;
    struct counted_cache *in; /* NULL without metrics */
    struct counted_plane *next;
} counted_plane;

/* A plane is there, or is about to go. Planes of one pool make up a cache. */
void metrics_add(counted_plane *counted, const tada_plane *plane, enum tada_kind kind, const tada_pool *pool);
void metrics_remove(counted_plane *counted);
/* An operation takes the generic path. True the first time for its kind. */
bool metrics_generic(enum ggml_op op);
/* Rows that a graph writes to a plane. */
void metrics_tokens(const counted_plane *counted, int64_t rows);
/* Rows that are read, or written, from outside a graph. */
void metrics_read(enum tada_kind kind, int64_t rows);
void metrics_written(enum tada_kind kind, int64_t rows);
/* Nanoseconds on a clock of its own; 0 without metrics. What took from `since` until now was: */
uint64_t metrics_clock(void);
void metrics_attention(uint64_t since);
void metrics_encoding(uint64_t since);

/* ---- what was counted ---- */

enum { METRICS_CACHES = 64 };

typedef struct metrics_kind {
    int64_t planes;
    tada_plane_stats stats; /* sums over planes; the counters over those that are gone, too */
    uint64_t rows_read, rows_written;
} metrics_kind;

typedef struct metrics_cache {
    bool seen, there; /* at some time; now */
    int64_t cells, used;
    uint64_t tokens;
} metrics_cache;

typedef struct metrics_counts {
    metrics_kind kinds[2]; /* TADA_K, TADA_V */
    metrics_cache caches[METRICS_CACHES];
    size_t scratch;
    uint64_t generic[GGML_OP_COUNT];
    uint64_t attention_calls, attention_ns, encoding_ns;
} metrics_counts;

void metrics_collect(metrics_counts *counts);

/* ---- exposition.c: the text ---- */

/* The labels of tada_build_info as they are now. */
void exposition_labels(char *text, size_t size);
void exposition_print(FILE *out, const metrics_counts *counts, const char *labels);

/* ---- exporter.c: the thread that hands the text out; metrics.c calls these one at a time ---- */

/* Notes where the text goes: a file or a port of this machine. NULL or "" or "0": nowhere, no error. */
enum tada_status exporter_set(const char *target, tada_error *error);
bool exporter_wanted(void);
void exporter_start(void); /* says what is wrong when it cannot */
void exporter_stop(void);  /* hands out a last text first */
/* In the child of a fork, which does not have the thread. */
void exporter_forget(void);

#endif
