/*
 * Probes: programs that measure (calibrate, size) look on while the host works. One at a time may be set;
 * while none is, looking costs one load. Set and taken away while nothing computes.
 */
#ifndef PLUGIN_BASE_PROBE_H
#define PLUGIN_BASE_PROBE_H

#include "tada.h"

struct cache_plane;
struct ggml_tensor;

/* Each function may be NULL. */
typedef struct probe {
    /* The host asks for the size of a plane that is not there yet. */
    void (*plane)(const tada_spec *spec, const tada_shape *shape);
    /* The host asks whether the CPU can do an operation, in a graph that it only lays out. */
    void (*operation)(const struct ggml_tensor *op);
    /* Attention is about to be computed; its queries are there. On one thread of the graph. */
    void (*attention)(struct cache_plane *k, struct cache_plane *v, const tada_attention *attention);
    /* A plane goes away. */
    void (*forget)(const struct cache_plane *cache);
} probe;

void probe_set(const probe *probe); /* NULL: none */
const probe *probe_get(void);

#endif
