/* The thread that hands metrics out. */
#ifndef PLUGIN_METRICS_EXPORTER_H
#define PLUGIN_METRICS_EXPORTER_H

#include "metrics.h"

/* Notes where the text goes: a file or a port of this machine. NULL or "" or "0": nowhere, no error. */
enum tada_status exporter_set(const char *target, tada_error *error);
/* For metrics_init; NULL: nowhere. It says what is wrong when the thread cannot start, and hands out a last
 * text before it stops. */
const metrics_reader *exporter_reader(void);

#endif
