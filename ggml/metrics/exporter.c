/* Hands the metrics out, from a thread of its own: to a file that is replaced when they change, at most once
 * a second, or to whoever asks for /metrics on a port of this machine. */
#include "exporter.h"

#include "http.h"
#include "exposition.h"
#include "base/log.h"
#include "policy/policy.h"
#include "new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE_MS = 1000, LABELS = 2 * PATH_MAX + 512 };

static struct {
    char path[PATH_MAX]; /* "": no file */
    int port;            /* 0: no port */
} target;

static pthread_t thread;
static bool running;
static int stop_event = -1, listener = -1; /* stop_event becomes readable when the thread is to end */
static char labels[LABELS];

/* ---- where to ---- */

static enum tada_status fail_value(tada_error *error, const char *value, const char *problem)
{
    snprintf(error->text, sizeof error->text, "TADA_METRICS=%.80s: %s; going on without metrics", value,
             problem);
    return TADA_E_ARGUMENT;
}

static bool is_number(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == '\0';
}

static enum tada_status set_port(const char *value, const char *digits, tada_error *error)
{
    static const char *const hosts[] = {"", "127.0.0.1", "localhost"};
    size_t host = (size_t)(digits - value) - 1;
    long port = strtol(digits, NULL, 10);
    bool known = false;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        known = known || (strlen(hosts[i]) == host && strncmp(value, hosts[i], host) == 0);
    }
    if (!known) {
        return fail_value(error, value,
                          "metrics are for this machine only: give 127.0.0.1:PORT, or ./NAME for a file");
    }
    if (strlen(digits) > 5 || port < 1 || port > 65535) {
        return fail_value(error, value, "a port is a number from 1 to 65535");
    }
    target.port = (int)port;
    return TADA_OK;
}

/* Absolute, as the host may change its folder. */
static enum tada_status set_path(const char *value, tada_error *error)
{
    char path[PATH_MAX], folder[PATH_MAX] = "";
    struct stat info;
    if (*value != '/' && !getcwd(folder, sizeof folder)) {
        return fail_value(error, value, "the current folder is gone: give an absolute path");
    }
    int length = snprintf(path, sizeof path, "%s%s%s", folder, *folder ? "/" : "", value);
    if (length + 32 >= (int)sizeof path) {
        return fail_value(error, value, "the path is too long: give a shorter one");
    }
    /* Replacing a device by a file would do harm. */
    if (path[length - 1] == '/' || (stat(path, &info) == 0 && !S_ISREG(info.st_mode))) {
        return fail_value(error, value, "this is no file: give the path of one");
    }
    memcpy(target.path, path, (size_t)length + 1);
    return TADA_OK;
}

enum tada_status exporter_set(const char *value, tada_error *error)
{
    if (!value || !*value || strcmp(value, "0") == 0) {
        return TADA_OK;
    }
    const char *colon = strrchr(value, ':');
    if (!strchr(value, '/') && colon && is_number(colon + 1)) {
        return set_port(value, colon + 1, error);
    }
    if (is_number(value)) {
        return fail_value(error, value, "write :NUMBER for a port, or ./NUMBER for a file");
    }
    return set_path(value, error);
}

static bool is_wanted(void)
{
    return target.port || target.path[0];
}

/* Logs why the metrics cannot be written, but once: it may happen each second, or with each context. */
static void complain_once(const char *why)
{
    static bool told;
    if (!told) {
        told = true;
        log_line(GGML_LOG_LEVEL_ERROR, "TADA_METRICS: going on without metrics: %s", why);
    }
}

static void complain_of_port(int why)
{
    char text[160];
    snprintf(text, sizeof text, "Port %d cannot be used (%s): take another.", target.port, strerror(why));
    complain_once(text);
}

/* ---- the text ---- */

/* The caller frees it; NULL when memory is short. */
static char *make_exposition(size_t *size)
{
    metrics_counts counts;
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    if (!out) {
        return NULL;
    }
    metrics_collect(&counts);
    exposition_print(out, &counts, labels);
    bool complete = !ferror(out);
    if (fclose(out) != 0 || !complete) {
        free(text);
        return NULL;
    }
    return text;
}

/* ---- file ---- */

static const new_file_rules rules = {.replaces = true, .passing = true};

/* A file that somebody else has put there is not ours to replace. */
static bool is_foreign(void)
{
    static const char start[] = "# HELP tada_";
    char found[sizeof start] = "";
    int file = open(target.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = file >= 0 ? read(file, found, sizeof start - 1) : 0;
    if (file >= 0) {
        close(file);
    }
    return n > 0 && strcmp(found, start) != 0;
}

/* Tries to write the file before the thread starts, so that the log says what is in the way while the host
 * still has one. */
static bool try_file(void)
{
    tada_error error;
    if (is_foreign()) {
        snprintf(error.text, sizeof error.text,
                 "%.150s is there already and no file of metrics: choose another place.", target.path);
        complain_once(error.text);
        return false;
    }
    if (new_file_check(target.path, &rules, &error) != TADA_OK) {
        complain_once(error.text);
    }
    return true;
}

static bool replace_file(const char *text, size_t size, tada_error *error)
{
    new_file file;
    if (new_file_open(target.path, &rules, &file, error) != TADA_OK) {
        return false;
    }
    bool sent = exporter_send(file.fd, text, size);
    if (!sent) {
        snprintf(error->text, sizeof error->text, "%.150s could not be written (%s): make room.", target.path,
                 strerror(errno));
    }
    return new_file_close(&file, sent, error) == TADA_OK && sent;
}

/* True when the thread is to end. */
static bool stopped_within(int ms)
{
    struct pollfd stop = {.fd = stop_event, .events = POLLIN};
    return poll(&stop, 1, ms) > 0;
}

static void *write_run(void *argument)
{
    (void)argument;
    char *last = NULL;
    for (bool stop = false; !stop;) {
        stop = stopped_within(last ? WRITE_MS : 0);
        size_t size;
        tada_error error = {"Memory is short."};
        char *text = make_exposition(&size);
        if (text && last && strcmp(text, last) == 0) {
            free(text);
        } else if (text && replace_file(text, size, &error)) {
            free(last);
            last = text;
        } else {
            complain_once(error.text);
            free(text);
            stop = stop || stopped_within(WRITE_MS);
        }
    }
    free(last);
    return NULL;
}

/* ---- port ---- */

static void *serve_run(void *argument)
{
    (void)argument;
    for (;;) {
        struct pollfd ready[] = {{.fd = stop_event, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
        poll(ready, 2, -1);
        if (ready[0].revents) {
            return NULL;
        }
        int client = exporter_accept(listener);
        if (client >= 0) {
            size_t size;
            char *text = make_exposition(&size);
            exporter_answer(client, stop_event, text, size);
            free(text);
            close(client);
        } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            /* No descriptor is free, so the client stays in the queue: without this pause the loop would
             * spin. */
            stopped_within(WRITE_MS);
        }
    }
}

/* ---- life ---- */

static void close_all(void)
{
    if (listener >= 0) {
        close(listener);
    }
    if (stop_event >= 0) {
        close(stop_event);
    }
    listener = stop_event = -1;
}

static void exporter_start(void)
{
    if (running || !is_wanted()) {
        return;
    }
    exposition_labels(labels, sizeof labels, policy_now()->text);
    stop_event = eventfd(0, EFD_CLOEXEC);
    if (target.port) {
        listener = exporter_listen(target.port);
    }
    if (stop_event < 0 || (target.port && listener < 0)) {
        complain_of_port(errno);
        close_all();
        return;
    }
    if (!target.port && !try_file()) {
        close_all();
        return;
    }
    /* Signals are the host's, and none of them is to end up here. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(&thread, NULL, target.port ? serve_run : write_run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (why != 0) {
        complain_once(strerror(why));
        close_all();
        return;
    }
    running = true;
}

static void exporter_stop(void)
{
    if (!running) {
        return;
    }
    eventfd_write(stop_event, 1);
    pthread_join(thread, NULL);
    running = false;
    close_all();
}

static void exporter_after_fork(void)
{
    running = false;
    close_all();
}

const metrics_reader *exporter_reader(void)
{
    static const metrics_reader reader = {exporter_start, exporter_stop, exporter_after_fork};
    return is_wanted() ? &reader : NULL;
}
