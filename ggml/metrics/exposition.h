/* Metrics as text, in the exposition format of Prometheus. */
#ifndef PLUGIN_METRICS_EXPOSITION_H
#define PLUGIN_METRICS_EXPOSITION_H

#include "metrics.h"

#include <stdio.h>

/* Writes the labels of tada_build_info into `text` of `size` bytes. spec: the cache in force. */
void exposition_labels(char *text, size_t size, const char *spec);
/* Prints all metrics. labels: from exposition_labels. */
void exposition_print(FILE *out, const metrics_counts *counts, const char *labels);

#endif
