/* What a graph says before it is computed: which tensors become planes, and which model it is of. */
#ifndef PLUGIN_GRAPH_MODEL_H
#define PLUGIN_GRAPH_MODEL_H

#include "cache/cache.h"

/* Makes the planes of all tensors that flash attention of the graph reads for the first time. Logs which ones
 * stay uncompressed, and why. */
void model_make_planes(const struct ggml_cgraph *cgraph);
/* The fingerprint (tada_model_fingerprint) of the model whose planes were made last; 0: unknown. */
uint64_t model_fingerprint(void);

#endif
