/* What the plug-in says: through ggml's log, so that the host decides where it goes. */
#ifndef PLUGIN_BASE_LOG_H
#define PLUGIN_BASE_LOG_H

#include "ggml.h"

#include <stdbool.h>

/* One line, without its end; "TADA: " is put before it. From any thread. */
void log_line(enum ggml_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A variable of the environment is set to something other than 0: TADA_LOG, TADA_DEBUG. */
bool log_wants(const char *variable);

#endif
