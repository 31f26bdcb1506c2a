/* The progress line and the interrupt flag. */
#include "progress.h"

#include "note.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupt_seen; /* a signal handler can reach nothing else */

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_start(struct progress *progress, const char *what)
{
    double now = clock_seconds();
    bool terminal = isatty(STDERR_FILENO);
    /* Without a terminal, work that is done within the first interval prints no line. */
    *progress =
        (struct progress){.what = what, .started = now, .shown = terminal ? 0 : now, .terminal = terminal};
}

void progress_show(struct progress *progress, double done, double total, const char *detail)
{
    static const double every_terminal = 0.2, every_line = 30;
    double now = clock_seconds();
    if (now - progress->shown < (progress->terminal ? every_terminal : every_line) || total <= 0) {
        return;
    }
    progress->shown = now;
    double share = done < total ? done / total : 1;
    share = progress->share = share > progress->share ? share : progress->share;
    double left = share > 0 ? (now - progress->started) / share * (1 - share) : 0;
    int seconds = (int)(left + 0.5);
    fprintf(stderr, "%s%s: %3.0f %%, %d:%02d left  %.60s%s", progress->terminal ? "\r" : "", progress->what,
            100 * share, seconds / 60, seconds % 60, SHOWN(detail), progress->terminal ? "\033[K" : "\n");
    fflush(stderr);
}

void progress_clear(struct progress *progress)
{
    if (progress->terminal && progress->shown > 0) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
}

static void note_interrupt(int signal_number)
{
    (void)signal_number;
    interrupt_seen = 1;
}

void interrupt_watch(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note_interrupt;
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) { /* not after nohup */
        sigaction(SIGHUP, &action, NULL);
    }
    signal(SIGXFSZ, SIG_IGN); /* a file that becomes too large is an error, and removed */
}

bool interrupted(void)
{
    return interrupt_seen != 0;
}
