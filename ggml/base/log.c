/* One line of the log, escaped and handed to ggml. */
#include "log.h"

#include "ggml-impl.h"
#include "printable.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void log_line(enum ggml_log_level level, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    char clean[4 * sizeof line];
    printable(line, clean, sizeof clean);
    ggml_log_internal(level, "TADA: %s\n",
                      clean); /* at once, so that lines of different threads do not mix */
}

bool log_wants(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value && strcmp(value, "0") != 0;
}
