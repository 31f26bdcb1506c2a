/* The thread that hands out metrics, to a file or to HTTP clients. */
#ifndef PLUGIN_METRICS_EXPORTER_H
#define PLUGIN_METRICS_EXPORTER_H

#include "metrics.h"

/* Sets where the text goes: a file name, or a port of this machine. NULL, "" and "0" mean nowhere. */
enum tada_status exporter_set(const char *target, tada_error *error);
/* The reader for metrics_init; NULL: metrics go nowhere. It logs when its thread cannot start, and hands out
 * a last text before it stops. */
const metrics_reader *exporter_reader(void);

#endif
