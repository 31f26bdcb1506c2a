/*
 * Restoring a session: what was packed is written to a file without a name, and read from there. llama-server
 * opens a file twice to restore it, first for the number of its tokens, so what was unpacked last is kept for
 * the second time.
 */
#include "preload.h"
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct kept {
    int file; /* -1: nothing is kept */
    struct stat source;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept kept = {.file = -1};

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void put_kept(int file, const struct stat *source)
{
    pthread_mutex_lock(&lock);
    int old = kept.file;
    kept.file = file;
    if (source) {
        kept.source = *source;
    }
    pthread_mutex_unlock(&lock);
    if (old >= 0) {
        close(old);
    }
}

/* What is kept of this file, which is then the caller's; else -1, and nothing is kept any more. */
static int take_kept(const struct stat *source)
{
    pthread_mutex_lock(&lock);
    int file = kept.file;
    bool same = file >= 0 && is_same(source, &kept.source);
    kept.file = -1;
    pthread_mutex_unlock(&lock);
    if (file >= 0 && !same) {
        close(file);
    }
    return same ? file : -1;
}

void restoring_forget(void)
{
    put_kept(-1, NULL);
}

/* The file, unpacked into `file`, which is closed on an error. */
static int unpack_into(int file, const char *path, tada_error *error)
{
    if (file >= 0 && session_unpack(path, file, error) != TADA_OK) {
        close(file);
        return -1;
    }
    return file;
}

/* On the disk of the folder, where there was room for a plain file, rather than in memory, if that can be. */
static int unpack(const char *folder, const char *path)
{
    tada_error error = {"memory is short"};
    int file = unpack_into(open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), path, &error);
    if (file < 0) {
        file = unpack_into(memfd_create("tada-session", MFD_CLOEXEC), path, &error);
    }
    if (file < 0) {
        preload_log("%s", error.text);
        errno = EBADMSG;
    }
    return file;
}

/* Opens a descriptor of the same file once more, with an offset of its own; -1: there is no /proc. */
static int open_again(int file)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

bool restoring_open(const char *folder, const char *path, FILE **stream)
{
    struct stat source;
    *stream = NULL;
    if (!session_is_packed(path) || stat(path, &source) != 0) {
        return false;
    }
    int file = take_kept(&source);
    if (file < 0) {
        file = unpack(folder, path);
        int again = file >= 0 ? open_again(file) : -1;
        if (again >= 0) {
            put_kept(file, &source);
            file = again;
        }
    }
    if (file >= 0) {
        lseek(file, 0, SEEK_SET);
        *stream = fdopen(file, "rb");
        if (!*stream) {
            close(file);
        }
    }
    return true;
}
