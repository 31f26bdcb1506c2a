/*
 * Prompts in files of one folder, which several servers may share: states with their labels, as session.md
 * describes them. A file is written beside its place and moved to it when it is whole; nothing in a place is
 * ever changed. A lock of the folder is held only while files are counted, removed and moved.
 */
#include "folder.h"

#include "preload.h"
#include "state_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SUFFIX ".prompt"

enum { QUEUE = 4, REPLACED = 16 };

/* A file, as far as it was looked into. */
typedef struct entry {
    char name[64];
    uint64_t key;
    int32_t *tokens; /* NULL: it is no stored prompt of ours */
    size_t n;
    bool seen;
} entry;

/* A prompt on its way to the disk. */
typedef struct item {
    uint8_t *bytes;
    size_t size;
    char name[64];
    const prompt_label *label; /* in the bytes */
    size_t n;
    char replaced[REPLACED][64]; /* prompts that it begins with */
    int n_replaced;
} item;

static char *folder;
static int folder_fd = -1;
static uint64_t limit;

/* Held for all that follows. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static entry *entries; /* by name */
static size_t n_entries, entries_room;
static struct timespec looked_at, folder_time; /* when, and when the folder had been changed */
static item *queue[QUEUE];
static int n_queue;
static bool has_writer;

uint64_t key_add(uint64_t before, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    for (size_t i = 0; i < n; i++) {
        before = (before ^ from[i]) * 0x100000001b3u;
    }
    return before;
}

void folder_begin(const char *path, uint64_t most)
{
    folder = strdup(path);
    folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    limit = most;
    saving_clean(path);
}

/* ---- what is there ---- */

static bool is_name(const char *name)
{
    size_t n = strlen(name);
    return name[0] != '.' && n > strlen(SUFFIX) && n < sizeof((entry *)0)->name &&
           strcmp(name + n - strlen(SUFFIX), SUFFIX) == 0;
}

/* A plain file of ours; -1: it is none. A link is not followed. */
static int open_file(const char *name, struct stat *status)
{
    int file = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file >= 0 && (fstat(file, status) != 0 || !S_ISREG(status->st_mode) || status->st_uid != geteuid())) {
        close(file);
        file = -1;
    }
    return file;
}

static bool read_at(int file, void *to, size_t n, size_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(file, (char *)to + done, n - done, (off_t)(at + done));
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            return false;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* Its label: whether the rest is sound is seen when it is needed. */
static void look_into(entry *e)
{
    struct stat status;
    uint8_t head[STATE_BEGINNING];
    size_t bytes = 0;
    int file = open_file(e->name, &status);
    const uint8_t *label =
        file >= 0 && status.st_size > STATE_BEGINNING && read_at(file, head, sizeof head, 0)
            ? state_label(head, sizeof head, &bytes)
            : NULL;
    size_t at = label ? (size_t)(label - head) : 0;
    e->n = prompt_label_tokens(bytes);
    prompt_label *l = label && e->n > 0 && bytes < (size_t)status.st_size - at ? malloc(bytes) : NULL;
    int32_t *tokens = l ? malloc(e->n * sizeof *tokens) : NULL;
    if (tokens && read_at(file, l, bytes, at)) {
        e->key = l->key;
        memcpy(tokens, l->tokens, e->n * sizeof *tokens);
        e->tokens = tokens;
        tokens = NULL;
    } else {
        preload_log("%s in the folder of prompts is damaged, or no prompt of this version: it is left alone",
                    e->name);
    }
    free(tokens);
    free(l);
    if (file >= 0) {
        close(file);
    }
}

static size_t place_of(const char *name)
{
    size_t low = 0, high = n_entries;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(entries[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static entry *find_entry(const char *name)
{
    size_t i = place_of(name);
    return i < n_entries && strcmp(entries[i].name, name) == 0 ? &entries[i] : NULL;
}

static entry *add_entry(const char *name)
{
    size_t at = place_of(name);
    if (n_entries == entries_room) {
        size_t room = entries_room ? 2 * entries_room : 64;
        entry *grown = realloc(entries, room * sizeof *grown);
        if (!grown) {
            return NULL;
        }
        entries = grown;
        entries_room = room;
    }
    memmove(&entries[at + 1], &entries[at], (n_entries++ - at) * sizeof *entries);
    entries[at] = (entry){.key = 0};
    strcpy(entries[at].name, name);
    return &entries[at];
}

static void remove_entry(entry *e)
{
    free(e->tokens);
    memmove(e, e + 1, (size_t)(&entries[--n_entries] - e) * sizeof *e);
}

/* The folder's time has the grain of the kernel's clock: what changed just now may change again in it. */
static void look_around(void)
{
    struct stat status;
    struct timespec now;
    if (fstat(folder_fd, &status) != 0 || clock_gettime(CLOCK_REALTIME, &now) != 0 ||
        (status.st_mtim.tv_sec == folder_time.tv_sec && status.st_mtim.tv_nsec == folder_time.tv_nsec &&
         looked_at.tv_sec > folder_time.tv_sec + 1)) {
        return;
    }
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *d; list && (d = readdir(list));) {
        entry *e = is_name(d->d_name) ? find_entry(d->d_name) : NULL;
        if (is_name(d->d_name) && !e) {
            e = add_entry(d->d_name);
            if (e) {
                look_into(e);
            }
        }
        if (e) {
            e->seen = true;
        }
    }
    if (list) {
        closedir(list);
        for (size_t i = n_entries; i-- > 0;) {
            if (!entries[i].seen) {
                remove_entry(&entries[i]);
            }
        }
        for (size_t i = 0; i < n_entries; i++) {
            entries[i].seen = false;
        }
        folder_time = status.st_mtim;
        looked_at = now;
    }
}

/* ---- finding ---- */

size_t tokens_common(const int32_t *a, const int32_t *b, size_t n)
{
    size_t i = 0;
    while (i < n && a[i] == b[i]) {
        i++;
    }
    return i;
}

size_t folder_find(uint64_t key, const int32_t *tokens, size_t n, size_t least, size_t most, char *name)
{
    size_t best = 0, shortest = 0; /* what is not used of it is restored in vain */
    pthread_mutex_lock(&lock);
    look_around();
    for (size_t i = 0; i < n_entries; i++) {
        const entry *e = &entries[i];
        if (e->tokens && e->key == key && e->n <= most) {
            size_t same = tokens_common(e->tokens, tokens, e->n < n ? e->n : n);
            if (same > least && (same > best || (same == best && e->n < shortest))) {
                best = same;
                shortest = e->n;
                strcpy(name, e->name);
            }
        }
    }
    pthread_mutex_unlock(&lock);
    return best;
}

bool folder_has(uint64_t key, const int32_t *tokens, size_t n)
{
    bool has = false;
    pthread_mutex_lock(&lock);
    look_around();
    for (size_t i = 0; i < n_entries && !has; i++) {
        const entry *e = &entries[i];
        has = e->tokens && e->key == key && e->n >= n && tokens_common(e->tokens, tokens, n) == n;
    }
    for (int i = 0; i < n_queue && !has; i++) {
        const item *q = queue[i];
        has = q->label->key == key && q->n >= n && tokens_common(q->label->tokens, tokens, n) == n;
    }
    pthread_mutex_unlock(&lock);
    return has;
}

/* All of a file; its size is that of its state. *damaged: it never was, or is no longer, a prompt. */
static bool read_prompt(int file, size_t size, uint64_t key, stored_prompt *p, bool *damaged)
{
    size_t bytes;
    p->size = size;
    p->bytes = malloc(size + 1);
    if (!p->bytes || !read_at(file, p->bytes, size, 0)) {
        return false;
    }
    const prompt_label *label = state_label(p->bytes, size, &bytes);
    p->n = label ? prompt_label_tokens(bytes) : 0;
    *damaged = p->n == 0 || !state_check(p->bytes, size);
    if (*damaged || label->key != key) {
        return false;
    }
    p->tokens = label->tokens;
    return true;
}

bool folder_load(const char *name, uint64_t key, stored_prompt *p)
{
    struct stat status;
    bool damaged = false;
    *p = (stored_prompt){.bytes = NULL};
    int file = open_file(name, &status);
    bool good = file >= 0 && read_prompt(file, (size_t)status.st_size, key, p, &damaged);
    if (file >= 0) {
        close(file);
    }
    if (good) {
        strcpy(p->name, name);
        return true;
    }
    free(p->bytes);
    p->bytes = NULL;
    pthread_mutex_lock(&lock);
    entry *e = find_entry(name);
    if (damaged) {
        preload_log("the stored prompt %s is damaged: it is removed", name);
        unlinkat(folder_fd, name, 0);
    }
    if (e) {
        remove_entry(e);
    }
    pthread_mutex_unlock(&lock);
    return false;
}

void folder_touch(const char *name)
{
    (void)!utimensat(folder_fd, name, NULL, AT_SYMLINK_NOFOLLOW);
}

/* ---- making room ---- */

typedef struct aged {
    char name[64];
    struct timespec used;
    uint64_t size;
} aged;

static int by_age(const void *a, const void *b)
{
    const struct timespec *x = &((const aged *)a)->used, *y = &((const aged *)b)->used;
    return x->tv_sec != y->tv_sec     ? (x->tv_sec > y->tv_sec) - (x->tv_sec < y->tv_sec)
           : x->tv_nsec != y->tv_nsec ? (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec)
                                      : strcmp(((const aged *)a)->name, ((const aged *)b)->name);
}

/* All prompts in the folder, to be freed. */
static aged *list_all(size_t *n)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    aged *all = NULL;
    size_t room = 0;
    *n = 0;
    for (struct dirent *d; list && (d = readdir(list));) {
        struct stat status;
        if (!is_name(d->d_name) || fstatat(folder_fd, d->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(status.st_mode)) {
            continue;
        }
        if (*n == room) {
            room = room ? 2 * room : 64;
            aged *grown = realloc(all, room * sizeof *grown);
            if (!grown) {
                break;
            }
            all = grown;
        }
        all[*n] = (aged){.used = status.st_mtim, .size = (uint64_t)status.st_size};
        strcpy(all[(*n)++].name, d->d_name);
    }
    if (list) {
        closedir(list);
    }
    return all;
}

static bool is_replaced(const item *q, const char *name)
{
    bool is = strcmp(q->name, name) == 0;
    for (int i = 0; i < q->n_replaced && !is; i++) {
        is = strcmp(q->replaced[i], name) == 0;
    }
    return is;
}

/* Removes those that were used least recently until there is room for a new one. */
static void make_room(const item *q)
{
    size_t n;
    aged *all = list_all(&n);
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        all[i].size = is_replaced(q, all[i].name) ? 0 : all[i].size;
        total += all[i].size;
    }
    if (n > 0) {
        qsort(all, n, sizeof *all, by_age);
    }
    for (size_t i = 0; i < n && total + q->size > limit; i++) {
        if (all[i].size == 0) {
            continue; /* it goes when the new one is there */
        }
        if (unlinkat(folder_fd, all[i].name, 0) == 0 || errno == ENOENT) {
            total -= all[i].size;
        }
    }
    free(all);
}

/* ---- writing ---- */

static void lock_folder(bool locks)
{
    while (flock(folder_fd, locks ? LOCK_EX : LOCK_UN) != 0 && errno == EINTR) {
    }
}

static bool write_all(int file, const uint8_t *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = write(file, bytes + done, size - done);
        if (put <= 0 && !(put < 0 && errno == EINTR)) {
            errno = put == 0 ? ENOSPC : errno;
            return false;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return fsync(file) == 0;
}

static void write_item(const item *q)
{
    static bool told; /* the writer's */
    char path[PATH_MAX];
    new_file file;
    tada_error error = {""};
    int n = snprintf(path, sizeof path, "%s/%s", folder, q->name);
    bool done = n > 0 && (size_t)n < sizeof path && saving_open(path, true, &file, &error) == TADA_OK;
    if (done && !write_all(file.fd, q->bytes, q->size)) {
        snprintf(error.text, sizeof error.text, "%.150s could not be written (%s): make room", path,
                 strerror(errno));
        new_file_close(&file, false, NULL);
        done = false;
    } else if (done) {
        lock_folder(true);
        make_room(q);
        done = new_file_close(&file, true, &error) == TADA_OK;
        for (int i = 0; i < q->n_replaced && done; i++) {
            (void)!unlinkat(folder_fd, q->replaced[i], 0);
        }
        lock_folder(false);
    }
    /* A full disk is said once, until something goes again. */
    if (!done && !told) {
        preload_log("a prompt is not stored: %s", error.text);
    }
    told = !done;
}

static void *write_items(void *unused)
{
    sigset_t all;
    (void)unused;
    /* A file that grows too large is an error, not the server's end. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_mutex_lock(&lock);
    for (;;) {
        while (n_queue == 0) {
            pthread_cond_wait(&changed, &lock);
        }
        item *q = queue[0];
        pthread_mutex_unlock(&lock);
        write_item(q);
        pthread_mutex_lock(&lock);
        n_queue--;
        for (int i = 0; i < n_queue; i++) {
            queue[i] = queue[i + 1];
        }
        free(q->bytes);
        free(q);
        pthread_cond_broadcast(&changed);
    }
    return NULL;
}

static bool start_writer(void)
{
    pthread_t thread;
    if (!has_writer && pthread_create(&thread, NULL, write_items, NULL) == 0) {
        pthread_detach(thread);
        has_writer = true;
    }
    return has_writer;
}

/* Another prompt that is there, or will be before this one. */
static void replace_if(item *q, const char *name, uint64_t key, const int32_t *tokens, size_t n)
{
    if (key == q->label->key && n < q->n && tokens_common(tokens, q->label->tokens, n) == n &&
        q->n_replaced < REPLACED) {
        strcpy(q->replaced[q->n_replaced++], name);
    }
}

static void note_replaced(item *q)
{
    look_around();
    for (size_t i = 0; i < n_entries; i++) {
        const entry *e = &entries[i];
        if (e->tokens) {
            replace_if(q, e->name, e->key, e->tokens, e->n);
        }
    }
    for (int i = 0; i < n_queue; i++) {
        replace_if(q, queue[i]->name, queue[i]->label->key, queue[i]->label->tokens, queue[i]->n);
    }
}

void folder_put(uint8_t *bytes, size_t size)
{
    size_t label_bytes;
    item *q = calloc(1, sizeof *q);
    const prompt_label *label = state_label(bytes, size, &label_bytes);
    if (!q || !label || (q->n = prompt_label_tokens(label_bytes)) == 0) {
        free(q);
        free(bytes);
        return;
    }
    q->bytes = bytes;
    q->size = size;
    q->label = label;
    snprintf(q->name, sizeof q->name, "%016llx-%016llx" SUFFIX, (unsigned long long)label->key,
             (unsigned long long)key_add(KEY_START, label->tokens, q->n * sizeof *label->tokens));
    pthread_mutex_lock(&lock);
    static bool told;
    bool fits = size <= limit;
    if (!fits && !told) {
        preload_log("a prompt is not stored: it takes %.1f MiB alone, more than --prompt-cache may",
                    (double)size / 1048576);
        told = true;
    }
    note_replaced(q);
    fits = fits && start_writer();
    while (fits && n_queue == QUEUE) {
        pthread_cond_wait(&changed, &lock);
    }
    if (fits) {
        queue[n_queue++] = q;
        pthread_cond_broadcast(&changed);
    } else {
        free(q->bytes);
        free(q);
    }
    pthread_mutex_unlock(&lock);
}

void folder_flush(void)
{
    pthread_mutex_lock(&lock);
    while (n_queue > 0) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}
