/* Sizes before anything is allocated. See tada_plugin.h. */
#ifndef PLUGIN_PROBE_MEASURE_H
#define PLUGIN_PROBE_MEASURE_H

#include "tada.h"

#include <stddef.h>

void measure_begin(int n_threads);
void measure_planes(void);
void measure_end(tada_plane_parts *parts, size_t *most_scratch);

#endif
