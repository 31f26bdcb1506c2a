/*
 * Saving a session. The plain file has a temporary name while llama.cpp writes it, the packed one has that
 * name and an ending, and both are hidden; only whole files get their final name. A lock on the plain file
 * tells that its process lives: it goes with the process, whatever ends that, and holds across containers.
 */
#include "preload.h"
#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* PREFIX PID-NUMBER [ENDING...] */
#define PREFIX ".tada-session-"
#define ENDING ".packed"

/* A new string; NULL: memory is short. */
static char *text_of(const char *first, const char *between, const char *last)
{
    char *text = NULL;
    return asprintf(&text, "%s%s%s", first, between, last) < 0 ? NULL : text;
}

static void free_names(struct saving *saving)
{
    free(saving->temporary);
    free(saving->packed);
    free(saving->final);
    free(saving);
}

/* What a rename could not replace as writing would have done stays to be written in place. */
static bool is_replaceable(const char *path)
{
    struct stat status;
    if (lstat(path, &status) != 0) {
        return errno == ENOENT;
    }
    return S_ISREG(status.st_mode) && status.st_nlink == 1 && access(path, W_OK) == 0;
}

/* A new locked file; -1: none can be made. */
static int make_temporary(const char *folder, char **path)
{
    static atomic_uint number;
    for (int attempt = 0; attempt < 100; attempt++) {
        char name[64];
        struct stat status;
        snprintf(name, sizeof name, PREFIX "%ld-%u", (long)getpid(), number++);
        *path = text_of(folder, "/", name);
        int file = *path ? open(*path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : -1;
        /* Until it was locked it may have been taken for a leftover. */
        if (file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0 && fstat(file, &status) == 0 &&
            status.st_nlink == 1) {
            return file;
        }
        int why = errno;
        if (file >= 0) {
            unlink(*path);
            close(file);
        }
        free(*path);
        *path = NULL;
        if (file < 0 && why != EEXIST) {
            break;
        }
    }
    return -1;
}

struct saving *saving_begin(const char *folder, const char *name)
{
    struct saving *saving = calloc(1, sizeof *saving);
    if (!saving) {
        return NULL;
    }
    int file = -1;
    saving->final = text_of(folder, "/", name);
    if (saving->final && is_replaceable(saving->final)) {
        file = make_temporary(folder, &saving->temporary);
    }
    if (file >= 0) {
        saving->packed = text_of(saving->temporary, ENDING, "");
        saving->stream = saving->packed ? fdopen(file, "wb") : NULL;
    }
    if (!saving->stream) {
        if (file >= 0) {
            unlink(saving->temporary);
            close(file);
        }
        free_names(saving);
        return NULL;
    }
    return saving;
}

static bool pack(const struct saving *saving)
{
    tada_error error = {"it cannot be moved to its place"};
    if (tada_session_pack(saving->temporary, saving->packed, NULL, &error) == TADA_OK &&
        rename(saving->packed, saving->final) == 0) {
        unlink(saving->temporary);
        return true;
    }
    unlink(saving->packed);
    preload_log("the session %s is kept unpacked: %s", saving->final, error.text);
    return false;
}

bool saving_end(struct saving *saving, bool packs)
{
    bool written = fflush(saving->stream) == 0 && !ferror(saving->stream);
    if (!written) {
        preload_log("the session %s could not be written (%s), an older one stays: make room", saving->final,
                    strerror(errno));
        unlink(saving->temporary);
    } else if (!(packs && pack(saving)) && rename(saving->temporary, saving->final) != 0) {
        preload_log("the session %s could not be moved to its place (%s)", saving->final, strerror(errno));
        written = false;
    }
    free_names(saving);
    return written;
}

/* ---- what killed processes left ---- */

/* The length of the name that the lock is on; 0: it is not one of ours. */
static size_t locked_length(const char *name)
{
    static const char digits[] = "0123456789";
    size_t length = strlen(PREFIX);
    if (strncmp(name, PREFIX, length) != 0) {
        return 0;
    }
    size_t pid = strspn(name + length, digits);
    size_t number = name[length + pid] == '-' ? strspn(name + length + pid + 1, digits) : 0;
    length += pid + 1 + number;
    return pid && number && (!name[length] || name[length] == '.') ? length : 0;
}

/* The file that is locked while its process lives is there and locked. */
static bool is_alive(int folder, const char *name, size_t length)
{
    char locked[256];
    if (length >= sizeof locked) {
        return true;
    }
    memcpy(locked, name, length);
    locked[length] = '\0';
    int file = openat(folder, locked, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) {
        return errno != ENOENT;
    }
    bool alive = flock(file, LOCK_EX | LOCK_NB) != 0;
    close(file);
    return alive;
}

void saving_clean(const char *folder)
{
    DIR *list = opendir(folder);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        size_t length = locked_length(entry->d_name);
        if (length && !is_alive(dirfd(list), entry->d_name, length)) {
            unlinkat(dirfd(list), entry->d_name, 0);
        }
    }
    if (list) {
        closedir(list);
    }
}
