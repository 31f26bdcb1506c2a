/*
 * Saving a session. The plain file has a temporary name while llama.cpp writes it, and so has the packed one;
 * both are hidden, and only whole files get their final name. A lock tells that the process of such a file
 * lives: it goes with the process, whatever ends that, and holds across containers.
 */
#include "preload.h"
#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* PREFIX PID-NUMBER: llama-server has no slots with two dots in a row. */
#define PREFIX ".tada-session.."

/* What a rename could not replace as writing would have done stays to be written in place. */
static bool is_replaceable(const char *path)
{
    struct stat status;
    if (lstat(path, &status) != 0) {
        return errno == ENOENT;
    }
    return S_ISREG(status.st_mode) && status.st_nlink == 1 && access(path, W_OK) == 0;
}

enum tada_status saving_open(const char *path, bool is_private, new_file *whole, tada_error *error)
{
    const struct stat own = {.st_mode = 0600, .st_uid = geteuid(), .st_gid = getegid()};
    const new_file_rules rules = {.replaces = true, .prefix = PREFIX, .like = is_private ? &own : NULL};
    enum tada_status status = TADA_E_FILE;
    for (int attempt = 0; attempt < 100; attempt++) {
        struct stat there;
        status = new_file_open(path, &rules, whole, error);
        /* Until it was locked it may have been taken for a leftover. */
        if (status != TADA_OK || (flock(whole->fd, LOCK_EX | LOCK_NB) == 0 && fstat(whole->fd, &there) == 0 &&
                                  there.st_nlink == 1)) {
            return status;
        }
        new_file_close(whole, false, NULL);
        snprintf(error->text, sizeof error->text, "a temporary file cannot be locked");
        status = TADA_E_FILE;
    }
    return status;
}

static void free_saving(struct saving *saving)
{
    free(saving->final);
    free(saving);
}

struct saving *saving_begin(const char *folder, const char *name)
{
    tada_error unused;
    struct saving *saving = calloc(1, sizeof *saving);
    if (!saving) {
        return NULL;
    }
    if (asprintf(&saving->final, "%s/%s", folder, name) < 0) {
        saving->final = NULL;
    } else if (is_replaceable(saving->final) &&
               saving_open(saving->final, false, &saving->plain, &unused) == TADA_OK) {
        /* The lock is on both descriptors. */
        int file = fcntl(saving->plain.fd, F_DUPFD_CLOEXEC, 3);
        saving->stream = file >= 0 ? fdopen(file, "wb") : NULL;
        if (!saving->stream) {
            if (file >= 0) {
                close(file);
            }
            new_file_close(&saving->plain, false, NULL);
        }
    }
    if (!saving->stream) {
        free_saving(saving);
        return NULL;
    }
    return saving;
}

/* Puts the packed file in place. */
static bool pack(const struct saving *saving)
{
    new_file packed;
    tada_error error = {""};
    enum tada_status status = saving_open(saving->final, false, &packed, &error);
    if (status == TADA_OK) {
        status = session_pack(saving->plain.part, packed.fd, &error);
        enum tada_status closed = new_file_close(&packed, status == TADA_OK, &error);
        status = status == TADA_OK ? closed : status;
    }
    if (status != TADA_OK) {
        preload_log("the session %s is kept unpacked: %s", saving->final, error.text);
    }
    return status == TADA_OK;
}

bool saving_end(struct saving *saving, bool packs)
{
    tada_error error = {""};
    bool written = fflush(saving->stream) == 0 && !ferror(saving->stream);
    if (!written) {
        preload_log("the session %s could not be written (%s), an older one stays: make room", saving->final,
                    strerror(errno));
    }
    bool packed = written && packs && pack(saving);
    if (new_file_close(&saving->plain, written && !packed, &error) != TADA_OK) {
        preload_log("%s", error.text);
        written = false;
    }
    free_saving(saving);
    return written;
}

/* ---- what killed processes left ---- */

bool saving_is_own_name(const char *name)
{
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0;
}

static bool is_leftover_name(const char *name)
{
    static const char digits[] = "0123456789";
    if (!saving_is_own_name(name)) {
        return false;
    }
    name += strlen(PREFIX);
    size_t pid = strspn(name, digits);
    size_t number = name[pid] == '-' ? strspn(name + pid + 1, digits) : 0;
    return pid && number && !name[pid + 1 + number];
}

/* The file is there and locked. */
static bool is_alive(int folder, const char *name)
{
    int file = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) {
        return true;
    }
    bool alive = flock(file, LOCK_EX | LOCK_NB) != 0;
    close(file);
    return alive;
}

void saving_clean(const char *folder)
{
    DIR *list = opendir(folder);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        if (is_leftover_name(entry->d_name) && !is_alive(dirfd(list), entry->d_name)) {
            unlinkat(dirfd(list), entry->d_name, 0);
        }
    }
    if (list) {
        closedir(list);
    }
}
