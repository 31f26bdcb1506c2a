/* Metrics as text, in the form of Prometheus. */
#ifndef PLUGIN_METRICS_EXPOSITION_H
#define PLUGIN_METRICS_EXPOSITION_H

#include "metrics.h"

#include <stdio.h>

/* The labels of tada_build_info as they are now; spec: the cache in force. */
void exposition_labels(char *text, size_t size, const char *spec);
void exposition_print(FILE *out, const metrics_counts *counts, const char *labels);

#endif
