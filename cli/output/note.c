/* Lines on stderr, escaped for a terminal. */
#include "note.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void print_line(const char *prefix, const char *format, va_list arguments)
{
    char line[3 * PATH_MAX];
    vsnprintf(line, sizeof line, format, arguments);
    fprintf(stderr, "tada%s: %s\n", prefix, SHOWN(line));
}

void cli_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("", format, arguments);
    va_end(arguments);
}

void cli_pass_on(const char *text)
{
    char line[PATH_MAX];
    while (*text) {
        size_t length = strcspn(text, "\n");
        length = length < sizeof line ? length : sizeof line - 1;
        snprintf(line, length + 1, "%s", text);
        fputs(SHOWN(line), stderr);
        text += length;
        if (*text == '\n') {
            fputc(*text++, stderr);
        }
    }
}

int cli_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("", format, arguments);
    va_end(arguments);
    return EXIT_PROBLEM;
}

int cli_usage(const char *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s%s", command ? " " : "", command ? command : "");
    print_line(prefix, format, arguments);
    va_end(arguments);
    fprintf(stderr, "See 'tada %s%s--help'.\n", command ? command : "", command ? " " : "");
    return EXIT_USAGE;
}
