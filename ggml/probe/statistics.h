/* What calibration learns from the host's own graphs. tada_plugin.h says what each function does. */
#ifndef PLUGIN_PROBE_STATISTICS_H
#define PLUGIN_PROBE_STATISTICS_H

#include "tada_plugin.h"

void statistics_watch(bool on);
bool statistics_get(int layer, tada_layer_statistics *statistics);
bool statistics_rows(int layer, enum tada_kind kind, int64_t first, int64_t n, uint16_t *rows);

#endif
