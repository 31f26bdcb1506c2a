/*
 * Stands before fopen and fclose of the C library, for one folder and for the modes in which llama.cpp opens
 * state files; all else goes through untouched. TADA_SESSIONS names the folder (a real path). With TADA_CACHE
 * files are packed when they are closed, without it the cache is llama.cpp's own, and they stay as they are;
 * packed ones can be read either way. TADA_PROMPTS, not empty: prompts.c is in use. TADA_PROMPT_CACHE and
 * TADA_PROMPT_CACHE_SIZE: a folder and bytes for stored prompts, in libtada-prompts.so.
 */
#include "preload.h"
#include "printable.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef FILE *(*open_function)(const char *, const char *);
typedef int (*close_function)(FILE *);

static char *folder; /* set once, before main; NULL: nothing to do */
static bool packs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct saving *savings; /* those that are being written */
static atomic_int n_savings;
/* What this thread does is our own: it goes through, too. */
static _Thread_local bool inside;

void preload_log(const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    char clean[4 * sizeof line];
    dprintf(STDERR_FILENO, "TADA: %s\n", printable(line, clean, sizeof clean));
}

void preload_find(void *handle, const char *name, void *function)
{
    void *symbol = dlsym(handle, name);
    memcpy(function, &symbol, sizeof symbol);
}

/* The function of the C library that we stand before. */
static void find_next(const char *name, void *function)
{
    void *symbol;
    preload_find(RTLD_NEXT, name, function);
    memcpy(&symbol, function, sizeof symbol);
    if (!symbol) {
        preload_log("the C library has no %s", name);
        abort();
    }
}

/* The name of a file that lies directly in the folder; else NULL. */
static const char *name_in_folder(const char *path)
{
    char parent[PATH_MAX], resolved[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (!*name || length + 1 >= sizeof parent) {
        return NULL;
    }
    memcpy(parent, path, length);
    strcpy(parent + length, slash ? "/" : ".");
    return realpath(parent, resolved) && strcmp(resolved, folder) == 0 ? name : NULL;
}

/* True when the file is ours; *stream is then what to return. */
static bool open_ours(const char *path, const char *mode, FILE **stream)
{
    bool writes = strcmp(mode, "wb") == 0;
    if (!folder || inside || !path || (!writes && strcmp(mode, "rb") != 0)) {
        return false;
    }
    inside = true;
    bool ours = false;
    const char *name = name_in_folder(path);
    if (name && writes && saving_is_own_name(name)) {
        /* Later it would be taken for a leftover, and removed. */
        preload_log("%s: names that begin so are for files that are being written: choose another", name);
        *stream = NULL;
        errno = EINVAL;
        ours = true;
    } else if (name && writes) {
        restoring_forget();
        struct saving *saving = saving_begin(folder, name);
        ours = saving != NULL;
        if (ours) {
            *stream = saving->stream;
            pthread_mutex_lock(&lock);
            saving->next = savings;
            savings = saving;
            n_savings++;
            pthread_mutex_unlock(&lock);
        }
    } else if (name) {
        ours = restoring_open(folder, path, stream);
    }
    inside = false;
    return ours;
}

static struct saving *take_saving(const FILE *stream)
{
    struct saving *found = NULL;
    if (inside || n_savings == 0) {
        return NULL;
    }
    pthread_mutex_lock(&lock);
    for (struct saving **at = &savings; *at; at = &(*at)->next) {
        if ((*at)->stream == stream) {
            found = *at;
            *at = found->next;
            n_savings--;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static FILE *open_any(const char *name, _Atomic(open_function) *next, const char *path, const char *mode)
{
    FILE *stream;
    if (!*next) {
        open_function found;
        find_next(name, &found);
        *next = found;
    }
    return open_ours(path, mode, &stream) ? stream : (*next)(path, mode);
}

EXPORT FILE *fopen(const char *restrict path, const char *restrict mode)
{
    static _Atomic(open_function) next;
    return open_any("fopen", &next, path, mode);
}

EXPORT FILE *fopen64(const char *restrict path, const char *restrict mode)
{
    static _Atomic(open_function) next;
    return open_any("fopen64", &next, path, mode);
}

EXPORT int fclose(FILE *stream)
{
    static _Atomic(close_function) next;
    if (!next) {
        close_function found;
        find_next("fclose", &found);
        next = found;
    }
    struct saving *saving = take_saving(stream);
    bool good = true;
    if (saving) {
        inside = true;
        good = saving_end(saving, packs);
        inside = false;
    }
    /* Closed last: the lock on the temporary file goes with it. */
    int result = next(stream);
    return good ? result : EOF;
}

/* Takes this library out of LD_PRELOAD: programs that the server starts need not have it. */
static void leave_environment(void)
{
    Dl_info own;
    const char *list = getenv("LD_PRELOAD");
    char *rest = list ? calloc(1, strlen(list) + 1) : NULL;
    if (rest && dladdr((void *)&folder, &own) != 0 && own.dli_fname) {
        size_t used = 0;
        while (*list) {
            size_t length = strcspn(list, ": ");
            if (length && !(length == strlen(own.dli_fname) && strncmp(list, own.dli_fname, length) == 0)) {
                rest[used] = ':';
                used += used > 0;
                memcpy(rest + used, list, length);
                used += length;
            }
            list += length + (list[length] != '\0');
        }
        rest[used] = '\0';
        if (used) {
            setenv("LD_PRELOAD", rest, 1);
        } else {
            unsetenv("LD_PRELOAD");
        }
    }
    free(rest);
    unsetenv("TADA_SESSIONS");
    unsetenv("TADA_PROMPTS");
    unsetenv("TADA_PROMPT_CACHE");
    unsetenv("TADA_PROMPT_CACHE_SIZE");
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

__attribute__((constructor)) static void begin(void)
{
    bool sessions = is_set("TADA_SESSIONS"), prompts = is_set("TADA_PROMPTS");
    /* A script that starts the server passes all of it on. */
    if ((!sessions && !prompts) || !dlsym(RTLD_DEFAULT, "ggml_fopen")) {
        return;
    }
    inside = true;
    if (sessions) {
        folder = strdup(getenv("TADA_SESSIONS"));
        packs = is_set("TADA_CACHE");
        saving_clean(getenv("TADA_SESSIONS"));
    }
    if (prompts) {
        prompts_begin();
    }
#ifdef TADA_STORES
    if (prompts && is_set("TADA_PROMPT_CACHE") && is_set("TADA_PROMPT_CACHE_SIZE")) {
        prompts_store(getenv("TADA_PROMPT_CACHE"), strtoull(getenv("TADA_PROMPT_CACHE_SIZE"), NULL, 10));
    }
#endif
    /* A router starts servers that need it as much. */
    if (!is_set("TADA_SESSIONS_INHERIT")) {
        leave_environment();
    }
    inside = false;
}
