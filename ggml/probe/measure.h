/* Sizes of caches before anything is allocated. tada_plugin.h says what each function does. */
#ifndef PLUGIN_PROBE_MEASURE_H
#define PLUGIN_PROBE_MEASURE_H

#include "tada_plugin.h"

void measure_begin(int n_threads);
void measure_planes(void);
void measure_end(tada_measured *measured);

#endif
