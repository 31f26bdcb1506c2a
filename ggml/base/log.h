/* The plug-in's log. Lines go through ggml's log, so that the host decides where they end up. */
#ifndef PLUGIN_BASE_LOG_H
#define PLUGIN_BASE_LOG_H

#include "ggml.h"

#include <stdbool.h>

/* Logs one line. The format has no line end; "TADA: " is put before the text, and control characters in it
 * are escaped. May be called from any thread. */
void log_line(enum ggml_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether an environment variable, such as TADA_LOG or TADA_DEBUG, is set to something other than 0. */
bool log_wants(const char *variable);

#endif
