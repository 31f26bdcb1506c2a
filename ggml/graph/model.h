/* Which model a graph is of, and what a graph says of caches before it is computed. */
#ifndef PLUGIN_GRAPH_MODEL_H
#define PLUGIN_GRAPH_MODEL_H

#include "cache/cache.h"

/* Makes the planes of all tensors that attention of the graph reads for the first time, if it can. */
void model_make_planes(const struct ggml_cgraph *cgraph);
/* Of the model whose planes were made last; 0: unknown (tada_model_fingerprint). */
uint64_t model_fingerprint(void);

#endif
