/* Long work: lines with the time that is left, and Ctrl-C. */
#ifndef TADA_CLI_OUTPUT_PROGRESS_H
#define TADA_CLI_OUTPUT_PROGRESS_H

#include <stdbool.h>

struct progress {
    const char *what;      /* how the line begins: "eval" */
    double started, shown; /* clock_seconds() when it began, and when the line was shown last */
    double share;          /* the share that was shown, 0 to 1: it never becomes less */
    bool terminal;         /* stderr is a terminal */
};

/* Starts the clock. */
void progress_start(struct progress *progress, const char *what);
/* Shows that `done` of `total`, in any unit, is done. detail: what is being done now; may be "". A terminal
 * has one line that changes. A pipe or file gets a line every half minute, from a thread, also where the work
 * comes back here later than that. */
void progress_show(struct progress *progress, double done, double total, const char *detail);
/* Removes the line, so that something else can be printed. */
void progress_clear(struct progress *progress);

/* Seconds on a monotonic clock. */
double clock_seconds(void);

/* From now on the first SIGINT, SIGTERM or SIGHUP (unless that is ignored) only sets a flag. A second one
 * ends the process as usual.
 */
void interrupt_watch(void);
/* Whether the flag is set. */
bool interrupted(void);

#endif
