/* What the command says on stderr, and its exit statuses. */
#ifndef TADA_CLI_OUTPUT_NOTE_H
#define TADA_CLI_OUTPUT_NOTE_H

#include "printable.h"

#include <limits.h>

/* Exit statuses. */
enum { EXIT_PROBLEM = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* A text from outside, fit for a terminal, until the end of the block. */
#define SHOWN(text) printable((text), (char[4 * PATH_MAX]){0}, 4 * PATH_MAX)

/* Prints a line "tada: ..." on stderr, fit for a terminal. */
__attribute__((format(printf, 1, 2))) void cli_note(const char *format, ...);
/* Lines of another program, on stderr as they are, but fit for a terminal. */
void cli_pass_on(const char *text);
/* As cli_note; returns EXIT_PROBLEM. */
__attribute__((format(printf, 1, 2))) int cli_fail(const char *format, ...);
/* The same with the name of the command and a hint at its help (NULL: the general help); returns EXIT_USAGE.
 */
__attribute__((format(printf, 2, 3))) int cli_usage(const char *command, const char *format, ...);

#endif
