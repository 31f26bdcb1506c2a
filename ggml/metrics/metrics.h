/* What the plug-in counts (doc/guide/metrics.md): without a reader only falls to the generic path. Functions
 * may be called from any thread unless they say otherwise. */
#ifndef PLUGIN_METRICS_METRICS_H
#define PLUGIN_METRICS_METRICS_H

#include "tada.h"

#include "ggml.h"

/* Who hands them out: told one at a time. */
typedef struct metrics_reader {
    void (*start)(void);  /* the first plane is there */
    void (*stop)(void);   /* the last one is gone, or the process ends */
    void (*forget)(void); /* in the child of a fork, which has no other thread */
} metrics_reader;

/* Planes are counted from now on. Once, before all else. */
void metrics_init(const metrics_reader *reader);
/* A plane as it is counted; part of what stands for it. All zeros: not counted. */
typedef struct counted_plane {
    const tada_plane *plane;
    enum tada_kind kind;
    const void *memory; /* of the plane */
    size_t bytes;
    struct counted_cache *in; /* NULL without metrics */
    struct counted_plane *next;
} counted_plane;

/* A plane is there, of which the first four members are set, or is about to go. Planes of one pool make up a
 * cache. */
void metrics_add(counted_plane *counted, const tada_pool *pool);
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
    size_t resident;        /* bytes of planes that are in memory */
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

#endif
