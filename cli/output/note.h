/* What the command says on stderr, and its exit statuses. */
#ifndef TADA_CLI_OUTPUT_NOTE_H
#define TADA_CLI_OUTPUT_NOTE_H

#include "printable.h"

#include <limits.h>

/* Exit statuses. */
enum { EXIT_PROBLEM = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* A text from outside, escaped for a terminal; valid until the end of the block. */
#define SHOWN(text) printable((text), (char[4 * PATH_MAX]){0}, 4 * PATH_MAX)

/* What a word for so many of a thing ends with. */
static inline const char *plural(int n)
{
    return n == 1 ? "" : "s";
}

/* Prints a line "tada: ..." on stderr, escaped for a terminal. */
__attribute__((format(printf, 1, 2))) void cli_note(const char *format, ...);
/* Prints lines of another program on stderr, escaped for a terminal. */
void cli_pass_on(const char *text);
/* The same; returns EXIT_PROBLEM. */
__attribute__((format(printf, 1, 2))) int cli_fail(const char *format, ...);
/* The same with the name of the command and a hint at its help; returns EXIT_USAGE. command NULL: the general
 * help.
 */
__attribute__((format(printf, 2, 3))) int cli_usage(const char *command, const char *format, ...);

#endif
