/*
 * Metrics (doc/metrics.md): what the plug-in counts, and how it gets out. With TADA_METRICS unset only falls
 * to the generic path are counted, and there is no thread. Functions may be called from any thread unless
 * they say otherwise.
 */
#ifndef TADA_METRICS_H
#define TADA_METRICS_H

#include "plugin.h"

#include <stdio.h>

/* ---- metrics.c: counting ---- */

/* Reads TADA_METRICS; says what is wrong with it, and goes on without metrics. Once, before all else. */
void tada_metrics_init(void);
/* A plane is there, or is about to go. Planes of one buffer (one pool) make up a cache. */
void tada_metrics_add(cache_plane *cache);
void tada_metrics_remove(cache_plane *cache);
/* An operation takes the generic path. True the first time for its kind. */
bool tada_metrics_generic(enum ggml_op op);
/* Rows that a graph writes to a plane. */
void tada_metrics_tokens(const cache_plane *cache, int64_t rows);
/* Bytes of a plane that are read, or written, from outside a graph: each row that they touch counts. */
void tada_metrics_read(const cache_plane *cache, size_t offset, size_t size);
void tada_metrics_written(const cache_plane *cache, size_t offset, size_t size);
/* Nanoseconds on a clock of its own; 0 without metrics. What took from `since` until now was: */
uint64_t tada_metrics_clock(void);
void tada_metrics_attention(uint64_t since);
void tada_metrics_encoding(uint64_t since);

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

void tada_metrics_collect(metrics_counts *counts);

/* ---- exposition.c: the text ---- */

/* The labels of tada_build_info as they are now. */
void tada_exposition_labels(char *text, size_t size);
void tada_exposition_print(FILE *out, const metrics_counts *counts, const char *labels);

/* ---- exporter.c: the thread that hands the text out; metrics.c calls these one at a time ---- */

/* Notes where the text goes: a file or a port of this machine. NULL or "" or "0": nowhere, no error. */
enum tada_status tada_exporter_set(const char *target, tada_error *error);
bool tada_exporter_wanted(void);
void tada_exporter_start(void); /* says what is wrong when it cannot */
void tada_exporter_stop(void);  /* hands out a last text first */
/* In the child of a fork, which does not have the thread. */
void tada_exporter_forget(void);

#endif
