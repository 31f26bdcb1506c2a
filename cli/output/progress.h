/* Long work: a line with the time left, and Ctrl-C. */
#ifndef TADA_CLI_OUTPUT_PROGRESS_H
#define TADA_CLI_OUTPUT_PROGRESS_H

#include <stdbool.h>

struct progress {
    const char *what; /* "eval" */
    double started, shown;
    double share; /* that was shown: it never becomes less, though what is left may become more */
    bool terminal;
};

/* Starts the clock. Shows nothing unless stderr is a terminal. */
void progress_start(struct progress *progress, const char *what);
/* done of total (any unit) is done; `detail` may be empty. */
void progress_show(struct progress *progress, double done, double total, const char *detail);
/* Takes the line away, so that something else can be printed. */
void progress_clear(struct progress *progress);

/* Seconds of a clock that only goes forward. */
double clock_seconds(void);

/* From now on the first Ctrl-C (or SIGTERM, or the end of the terminal) only sets a flag; a second one ends
 * the process as usual. */
void interrupt_watch(void);
bool interrupted(void);

#endif
