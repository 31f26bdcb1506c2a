/* The progress line and the interrupt flag. */
#include "progress.h"

#include "note.h"

#include <pthread.h>
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

/* ---- without a terminal ---- */

#ifndef TADA_PROGRESS_S
#define TADA_PROGRESS_S 30 /* between two lines */
#endif

/* What is being done now. A thread prints it, as one step of the work may take minutes. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool has_thread, active;
    double next; /* clock_seconds() of the next line */
    struct progress progress;
    char detail[128];
} line = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void print_line(void)
{
    const struct progress *progress = &line.progress;
    double passed = clock_seconds() - progress->started, share = progress->share;
    int seconds = (int)((share > 0 ? passed / share * (1 - share) : passed) + 0.5);
    fprintf(stderr, share > 0 ? "%s: %3.0f %%, %d:%02d left  %s\n" : "%s: %3.0f %%, after %d:%02d  %s\n",
            progress->what, 100 * share, seconds / 60, seconds % 60, line.detail);
}

static void *print_lines(void *unused)
{
    pthread_mutex_lock(&line.lock);
    for (;;) {
        double now = clock_seconds();
        struct timespec next = {.tv_sec = (time_t)line.next};
        next.tv_nsec = (long)((line.next - (double)next.tv_sec) * 1e9);
        if (!line.active) {
            pthread_cond_wait(&line.changed, &line.lock);
        } else if (now < line.next) {
            pthread_cond_timedwait(&line.changed, &line.lock, &next);
        } else {
            print_line();
            line.next = now + TADA_PROGRESS_S;
        }
    }
    return unused;
}

/* Signals are for the other threads. Where it does not start, there are no lines. */
static bool start_thread(void)
{
    pthread_condattr_t clock;
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&line.changed, &clock);
    pthread_condattr_destroy(&clock);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, NULL, print_lines, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started && pthread_detach(thread) == 0;
}

/* From now on the thread tells of this one. */
static void hand_over(const struct progress *progress, const char *detail)
{
    pthread_mutex_lock(&line.lock);
    line.has_thread = line.has_thread || start_thread();
    bool is_new = !line.active || line.progress.started != progress->started;
    double first = progress->started + TADA_PROGRESS_S;
    line.next = is_new && first > line.next ? first : line.next;
    line.active = true;
    line.progress = *progress;
    printable(detail, line.detail, 61);
    if (is_new && line.has_thread) {
        pthread_cond_signal(&line.changed);
    }
    pthread_mutex_unlock(&line.lock);
}

static void take_back(void)
{
    pthread_mutex_lock(&line.lock);
    line.active = false;
    pthread_mutex_unlock(&line.lock);
}

/* ---- both ---- */

void progress_start(struct progress *progress, const char *what)
{
    bool terminal = isatty(STDERR_FILENO);
    *progress = (struct progress){.what = what, .started = clock_seconds(), .terminal = terminal};
    if (!terminal) {
        hand_over(progress, "");
    }
}

void progress_show(struct progress *progress, double done, double total, const char *detail)
{
    static const double every = 0.2;
    double now = clock_seconds();
    if ((progress->terminal && now - progress->shown < every) || total <= 0) {
        return;
    }
    progress->shown = now;
    double share = done < total ? done / total : 1;
    share = progress->share = share > progress->share ? share : progress->share;
    if (!progress->terminal) {
        hand_over(progress, detail);
        return;
    }
    double left = share > 0 ? (now - progress->started) / share * (1 - share) : 0;
    int seconds = (int)(left + 0.5);
    fprintf(stderr, "\r%s: %3.0f %%, %d:%02d left  %.60s\033[K", progress->what, 100 * share, seconds / 60,
            seconds % 60, SHOWN(detail));
    fflush(stderr);
}

void progress_clear(struct progress *progress)
{
    if (!progress->terminal) {
        take_back();
    } else if (progress->shown > 0) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
}

/* ---- signals ---- */

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
