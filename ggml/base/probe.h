/*
 * Probes: callbacks by which programs that measure (calibrate, size) watch the host work. At most one probe
 * is set at a time. It is set and removed while nothing computes. Without one, each hook costs one atomic
 * load.
 */
#ifndef PLUGIN_BASE_PROBE_H
#define PLUGIN_BASE_PROBE_H

#include "tada.h"

struct cache_plane;
struct ggml_tensor;

/* Any of the functions may be NULL. */
typedef struct probe {
    /* The host asks for the size of a plane that is not there yet. */
    void (*plane)(const struct ggml_tensor *tensor, const tada_spec *spec, const tada_shape *shape);
    /* The host asks whether the CPU can do an operation, in a graph that it only lays out. */
    void (*operation)(const struct ggml_tensor *op);
    /* Attention is about to be computed, and its queries are there. Called on one thread of the graph. */
    void (*attention)(struct cache_plane *k, struct cache_plane *v, const tada_attention *attention);
    /* A plane is about to be freed. */
    void (*forget)(const struct cache_plane *cache);
} probe;

/* Sets the probe, which must live until another is set. NULL: none. */
void probe_set(const probe *probe);
/* The probe that is set, or NULL. From any thread. */
const probe *probe_get(void);

#endif
