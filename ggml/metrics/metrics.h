/* The plug-in's counters (doc/guide/metrics.md). Without a reader only operations on the generic path are
 * counted. Functions may be called from any thread unless they say otherwise. */
#ifndef PLUGIN_METRICS_METRICS_H
#define PLUGIN_METRICS_METRICS_H

#include "tada.h"

#include "ggml.h"

/* Who hands the metrics out. Its functions are called one at a time. */
typedef struct metrics_reader {
    void (*start)(void);  /* the first plane has been made */
    void (*stop)(void);   /* the last plane is gone, or the process ends */
    void (*forget)(void); /* called in the child of a fork, which has no other thread */
} metrics_reader;

/* Planes are counted from now on. Must be called once, before all else. NULL: nobody hands metrics out. */
void metrics_init(const metrics_reader *reader);
/* A counted plane. The plane's owner keeps it. All zeros: the plane is not counted. */
typedef struct counted_plane {
    const tada_plane *plane;
    enum tada_kind kind;
    const void *memory; /* of the plane */
    size_t bytes;
    struct counted_cache *in; /* the cache that the plane belongs to; NULL without metrics */
    struct counted_plane *next;
} counted_plane;

/* Counts a plane, of which the caller has set the first four members. Planes of one pool form a cache. */
void metrics_add(counted_plane *counted, const tada_pool *pool);
/* The plane is about to be freed. */
void metrics_remove(counted_plane *counted);
/* Counts an operation on the generic path. True: it is the first one of its kind. */
bool metrics_generic(enum ggml_op op);
/* Counts rows that a graph writes to a plane. */
void metrics_tokens(const counted_plane *counted, int64_t rows);
/* Count rows that are read, or written, from outside of graphs. */
void metrics_read(enum tada_kind kind, int64_t rows);
void metrics_written(enum tada_kind kind, int64_t rows);
/* Counts a prompt that was restored from a disk. */
void metrics_prompt(uint64_t tokens, uint64_t bytes);
/* Nanoseconds on a monotonic clock; 0 without metrics. */
uint64_t metrics_clock(void);
/* Add the time from `since`, a value of metrics_clock, until now to that of attention, or of encoding. */
void metrics_attention(uint64_t since);
void metrics_encoding(uint64_t since);

/* ---- what was counted ---- */

enum { METRICS_CACHES = 64 };

typedef struct metrics_kind {
    int64_t planes;
    tada_plane_stats stats; /* sums over planes; its counters also over planes that are gone */
    size_t resident;        /* bytes of planes that are in memory now */
    uint64_t rows_read, rows_written;
} metrics_kind;

typedef struct metrics_cache {
    bool seen;  /* the cache has been there at some time */
    bool there; /* it is there now */
    int64_t cells, used;
    uint64_t tokens;
} metrics_cache;

typedef struct metrics_counts {
    metrics_kind kinds[2]; /* TADA_K, TADA_V */
    metrics_cache caches[METRICS_CACHES];
    size_t scratch;
    uint64_t generic[GGML_OP_COUNT];
    uint64_t attention_calls, attention_ns, encoding_ns;
    uint64_t prompts, prompt_tokens, prompt_bytes; /* restored from a disk */
} metrics_counts;

/* Adds everything up. */
void metrics_collect(metrics_counts *counts);

#endif
