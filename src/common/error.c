#include "error.h"

#include <stdarg.h>
#include <stdio.h>

enum tada_status tada_fail(tada_error *error, enum tada_status status, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return status;
}
