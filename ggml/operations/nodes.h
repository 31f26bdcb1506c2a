/*
 * The plug-in's own nodes in graphs of the host: what each of them does, on every thread of the graph.
 * graph/list.c makes them. ggml puts a barrier after each node. Nodes of one backend share a workspace.
 */
#ifndef PLUGIN_OPERATIONS_NODES_H
#define PLUGIN_OPERATIONS_NODES_H

#include "cache/cache.h"
#include "generic.h"
#include "base/scratch.h"

enum {
    /* Queries of a stream at most, of graphs that tell planes what is seen. A prompt is computed in several
     * graphs, and most of them have no token of the other sequences of a unified cache that go on meanwhile.
     */
    NODES_DECODE = 32,
    NODES_SETTLE = 8 /* layers that are compressed together, at most: until then each keeps borrowed memory */
};

typedef struct workspace {
    tada_settling *settling;
    uint64_t settling_since;            /* metrics_clock() when it began */
    scratch attention;                  /* what all threads share, followed by the scratch of each thread */
    scratch coding[GGML_MAX_N_THREADS]; /* scratch of each thread for settling, until the graph is done */
    atomic_bool has_coding;             /* some of these have memory */
    int n_threads;                      /* threads of the graph that was computed last; 1 before */
    /* A node cannot return an error. It notes the error here, and the graph fails after it was computed. */
    atomic_bool failed;
    tada_error error;
} workspace;

/* False: memory is short. */
bool workspace_make(workspace *w);
void workspace_free(workspace *w);
/* Frees the scratch of settling when a graph is done, as it is large and seldom needed. */
void workspace_trim(workspace *w);
/* Notes that `what` failed, and why. The first error of a graph is kept. May be called from any thread. */
void workspace_fail(workspace *w, const char *what, const char *why);
void workspace_fail_memory(workspace *w, const char *what);

/* SET_ROWS into K, into V, or into both where they follow each other. */
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
    bool last;            /* no later attention of the graph reads its planes */
    bool settles;         /* its planes are compressed within the list */
    uint64_t since;       /* metrics_clock() when it began */
    struct attend *next;  /* the next one of the list */
    struct attend *alike; /* the next one with the same mask */
} attend;

/* n attentions in a row, whose planes are compressed together. */
typedef struct settle {
    workspace *workspace;
    attend *first;
    int n;
} settle;

/* A look at a mask, just before the first attention that has it, for all of them together. It is a node
 * because the mask may be a result of the graph. Masks are told apart by their tensors, as another mask may
 * lie at the same address later. */
typedef struct look {
    workspace *workspace;
    attend *first, *last;
    struct look *next;
} look;

/* Rows of a plane that are decoded for readers that the library has no function for. */
typedef struct reading {
    workspace *workspace;
    decoded rows;
    scratch *memory;          /* the memory of `rows` */
    bool stale;               /* a later node changes the plane, or puts other rows into the memory */
    atomic_int_fast64_t tile; /* the next tile that a thread takes */
    struct reading *next;
} reading;

/* Marks the sinks (first cells of a sequence) that attention has seen as sinks of its planes. */
void nodes_mark_sinks(const attend *attend);

/* The functions as ggml calls them. The comment names the type of `context`. */
void nodes_write(struct ggml_tensor *node, int thread, int n_threads, void *context);        /* a write */
void nodes_look(struct ggml_tensor *node, int thread, int n_threads, void *context);         /* a look */
void nodes_attend(struct ggml_tensor *node, int thread, int n_threads, void *context);       /* an attend */
void nodes_settle_begin(struct ggml_tensor *node, int thread, int n_threads, void *context); /* a settle */
void nodes_settle(struct ggml_tensor *node, int thread, int n_threads, void *context);       /* a workspace */
void nodes_settle_end(struct ggml_tensor *node, int thread, int n_threads, void *context);   /* a workspace */
void nodes_read(struct ggml_tensor *node, int thread, int n_threads, void *context);         /* a reading */

#endif
