/*
 * Nodes of our own in graphs of the host: what each does, on every thread of the graph. They are made by
 * list.c, and work with the workspace of a backend.
 */
#ifndef PLUGIN_OPERATIONS_NODES_H
#define PLUGIN_OPERATIONS_NODES_H

#include "cache/cache.h"
#include "generic.h"
#include "base/scratch.h"

enum {
    NODES_SETTLE = 8 /* layers that are compressed together, at most: each has borrowed memory until then */
};

typedef struct workspace {
    tada_settling *settling;
    uint64_t settling_since;            /* on the clock of metrics */
    scratch attention;                  /* what its threads share, then what each of them needs */
    scratch coding[GGML_MAX_N_THREADS]; /* for settling, until the graph is done */
    atomic_bool has_coding;             /* any of these has memory */
    int n_threads;                      /* of the graph that was computed last; 1 before */
    /* A node cannot fail: it notes why, and the graph fails after it was computed. */
    atomic_bool failed;
    tada_error error;
} workspace;

/* False: memory is short. */
bool workspace_make(workspace *w);
void workspace_free(workspace *w);
/* A graph is done: gives back what only settling needs, as that is seldom and much. */
void workspace_trim(workspace *w);
/* The first reason is kept. From any thread. */
void workspace_fail(workspace *w, const char *what, const char *why);
void workspace_fail_memory(workspace *w, const char *what);

/* SET_ROWS on K, or on V, or on both of them, which follow each other. */
typedef struct write {
    workspace *workspace;
    int n;
    const struct ggml_tensor *op[2];
    cache_plane *cache[2];
} write;

/* FLASH_ATTN_EXT. */
typedef struct attend {
    workspace *workspace;
    const struct ggml_tensor *op;
    cache_plane *k, *v;
    tada_attention attention;
    tada_attention_job *job;
    bool last;            /* nobody reads its planes after it */
    bool settles;         /* they are compressed within the graph */
    uint64_t since;       /* on the clock of metrics */
    struct attend *next;  /* of all */
    struct attend *alike; /* of those with the same mask */
} attend;

/* Attention, one after the other, whose planes are compressed together. */
typedef struct settle {
    workspace *workspace;
    attend *first;
    int n;
} settle;

/* All that attend with one mask look at it together, just before the first of them: the mask may be a result
 * of the graph. Another mask may lie at the same address later on, so it is the tensor that counts. */
typedef struct look {
    workspace *workspace;
    attend *first, *last;
    struct look *next;
} look;

/* Rows of a plane that are decoded for whoever reads them in a way that the library has not. */
typedef struct reading {
    workspace *workspace;
    decoded rows;
    scratch *memory; /* where they are */
    bool stale;      /* its rows have changed since, or its memory holds others */
    atomic_int_fast64_t tile;
    struct reading *next;
} reading;

/* The sinks that attention has seen become sinks of its planes. */
void nodes_mark_sinks(const attend *attend);

/* As ggml calls them; context: */
void nodes_write(struct ggml_tensor *node, int thread, int n_threads, void *context);        /* a write */
void nodes_look(struct ggml_tensor *node, int thread, int n_threads, void *context);         /* a look */
void nodes_attend(struct ggml_tensor *node, int thread, int n_threads, void *context);       /* an attend */
void nodes_settle_begin(struct ggml_tensor *node, int thread, int n_threads, void *context); /* a settle */
void nodes_settle(struct ggml_tensor *node, int thread, int n_threads, void *context);       /* a workspace */
void nodes_settle_end(struct ggml_tensor *node, int thread, int n_threads, void *context);   /* a workspace */
void nodes_read(struct ggml_tensor *node, int thread, int n_threads, void *context);         /* a reading */

#endif
