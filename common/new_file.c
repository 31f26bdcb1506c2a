/* New files: what may be written where, names and modes of files in the making, and their move to their
 * place. */
#include "new_file.h"

#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TRIES = 100, ENDING = 40 }; /* ENDING: bytes of a name that are kept for ".part" and its numbers */

static enum tada_status cannot_write(const char *path, const char *why, tada_error *error)
{
    return tada_fail(error, TADA_E_FILE, "%.150s cannot be written (%s): choose another file.", path, why);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_input(const new_file_rules *rules, const struct stat *status)
{
    struct stat input;
    for (int i = 0; i < NEW_FILE_INPUTS; i++) {
        if (rules->inputs[i] && stat(rules->inputs[i], &input) == 0 && is_same_file(&input, status)) {
            return true;
        }
    }
    return false;
}

/* ---- streams ---- */

/* The descriptor that a path stands for: 1 for "-"; 1 or 2 for a link to one of them, such as /dev/stdout,
 * which may well be a plain file. -1: none. */
static int descriptor_of(const char *path)
{
    struct stat link, status, open;
    if (strcmp(path, "-") == 0) {
        return STDOUT_FILENO;
    }
    if (lstat(path, &link) != 0 || !S_ISLNK(link.st_mode) || stat(path, &status) != 0) {
        return -1;
    }
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fstat(fd, &open) == 0 && is_same_file(&open, &status)) {
            return fd;
        }
    }
    return -1;
}

bool new_file_is_stdout(const char *path)
{
    return descriptor_of(path) == STDOUT_FILENO;
}

/* What a path is, as far as it matters. */
enum kind { NEW, PLAIN, LINK, STREAM, REFUSED };

static enum kind place_kind(const char *path, const new_file_rules *rules, struct stat *status,
                            tada_error *error)
{
    size_t length = strlen(path);
    if (length == 0) {
        cannot_write(path, "that is no file name", error);
        return REFUSED;
    }
    if (descriptor_of(path) >= 0) {
        return STREAM;
    }
    bool leads = stat(path, status) == 0; /* past links */
    if (leads && (S_ISCHR(status->st_mode) || S_ISFIFO(status->st_mode))) {
        return STREAM;
    }
    if (leads && !S_ISREG(status->st_mode)) {
        cannot_write(path, S_ISDIR(status->st_mode) ? "it is a folder" : "it is not a plain file", error);
        return REFUSED;
    }
    if (leads && is_input(rules, status)) {
        tada_fail(error, TADA_E_FILE, "%.150s is a file that is read: choose another one to write.", path);
        return REFUSED;
    }
    if (lstat(path, status) != 0) {
        if (errno == ENOENT && path[length - 1] != '/') {
            return NEW;
        }
        cannot_write(path, errno == ENOENT ? "that is no file name" : strerror(errno), error);
        return REFUSED;
    }
    if (!rules->replaces) {
        tada_fail(error, TADA_E_FILE,
                  "%.150s is there already: add --force to replace it, or choose another.", path);
        return REFUSED;
    }
    if (S_ISREG(status->st_mode) && access(path, W_OK) != 0) {
        cannot_write(path, strerror(errno), error);
        return REFUSED;
    }
    return S_ISLNK(status->st_mode) ? LINK : PLAIN;
}

static enum tada_status open_stream(new_file *file, tada_error *error)
{
    int fd = descriptor_of(file->path);
    file->streams = true;
    file->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : open(file->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return file->fd >= 0 ? TADA_OK : cannot_write(file->path, strerror(errno), error);
}

/* ---- plain files ---- */

/* The length of the folder's part of a path, with the slash. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Makes a temporary name that no other file of this process has. False: it is too long. */
static bool name_part(new_file *file, const char *prefix)
{
    static atomic_uint number; /* threads of one process may write the same file */
    size_t folder = folder_length(file->path);
    size_t name = strlen(file->path) - folder, most = NAME_MAX - ENDING;
    int length = snprintf(file->part, sizeof file->part, "%.*s%.*s%s%ld-%u", (int)folder, file->path,
                          (int)(prefix        ? 0
                                : name < most ? name
                                              : most),
                          file->path + folder, prefix ? prefix : ".part", (long)getpid(),
                          atomic_fetch_add(&number, 1));
    return length > 0 && (size_t)length < sizeof file->part;
}

/* Gives the new file the owner and the mode of another one. Where the group cannot be set, its rights go:
 * they were meant for another group. That the mode cannot be set is no error, as the file system then has
 * none. */
static void hand_on(int fd, const struct stat *from)
{
    mode_t mode = from->st_mode & 0777;
    struct stat own;
    if (fstat(fd, &own) != 0) {
        return;
    }
    bool differs = own.st_uid != from->st_uid || own.st_gid != from->st_gid;
    if (differs && fchown(fd, from->st_uid, from->st_gid) != 0 && own.st_gid != from->st_gid &&
        fchown(fd, (uid_t)-1, from->st_gid) != 0) {
        mode &= ~(mode_t)S_IRWXG;
    }
    (void)!fchmod(fd, mode);
}

/* A name that is taken, be it by a link that somebody has put there, is passed over. */
static int open_part(new_file *file, const char *prefix, mode_t mode)
{
    int fd = -1;
    errno = EEXIST;
    for (int i = 0; i < TRIES && fd < 0 && errno == EEXIST; i++) {
        if (!name_part(file, prefix)) {
            errno = ENAMETOOLONG;
            return -1;
        }
        fd = open(file->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    }
    return fd;
}

enum tada_status new_file_open(const char *path, const new_file_rules *rules, new_file *file,
                               tada_error *error)
{
    struct stat status;
    *file = (new_file){.path = path, .fd = -1, .replaces = rules->replaces, .syncs = !rules->passing};
    enum kind kind = place_kind(path, rules, &status, error);
    if (kind == REFUSED) {
        return TADA_E_FILE;
    }
    if (kind == STREAM) {
        return open_stream(file, error);
    }
    if (strlen(path) >= PATH_MAX || strlen(path) - folder_length(path) > NAME_MAX) {
        return cannot_write(path, strerror(ENAMETOOLONG), error);
    }
    bool follows_umask = kind != PLAIN && !rules->like;
    file->fd = open_part(file, rules->prefix, follows_umask ? 0666 : 0600);
    if (file->fd < 0) {
        return cannot_write(path, strerror(errno), error);
    }
    if (!follows_umask) {
        hand_on(file->fd, kind == PLAIN ? &status : rules->like);
    }
    return TADA_OK;
}

/* A file that was moved is at its place for good once its folder is on the disk, too. Not all file systems
 * can do that, and the file is whole either way. */
static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    size_t length = folder_length(path);
    memcpy(folder, length ? path : ".", length ? length : 1);
    folder[length ? length : 1] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

/* Renames the file. If nothing may be replaced, a file that has come to the place since it was looked at
 * stays. */
static bool move_to_place(const new_file *file)
{
    if (file->replaces) {
        return rename(file->part, file->path) == 0;
    }
    if (renameat2(AT_FDCWD, file->part, AT_FDCWD, file->path, RENAME_NOREPLACE) == 0) {
        return true;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return false;
    }
    /* Some file systems have no such rename, fewer have no second names either. */
    if (link(file->part, file->path) == 0) {
        unlink(file->part);
        return true;
    }
    struct stat status;
    if (errno == EEXIST || lstat(file->path, &status) == 0) {
        errno = EEXIST;
        return false;
    }
    return rename(file->part, file->path) == 0;
}

enum tada_status new_file_close(new_file *file, bool good, tada_error *error)
{
    bool done = good && (file->streams || !file->syncs || fsync(file->fd) == 0);
    int reason = errno;
    if (close(file->fd) != 0 && done) {
        done = false;
        reason = errno;
    }
    if (done && !file->streams) {
        done = move_to_place(file);
        reason = errno;
    }
    if (done && !file->streams && file->syncs) {
        sync_folder(file->path);
    }
    if (!done && !file->streams) {
        unlink(file->part);
    }
    return good && !done ? tada_fail(error, TADA_E_FILE,
                                     "%.150s could not be written (%s): make room or choose another file.",
                                     file->path, strerror(reason))
                         : TADA_OK;
}

enum tada_status new_file_check(const char *path, const new_file_rules *rules, tada_error *error)
{
    struct stat status;
    new_file file;
    enum kind kind = place_kind(path, rules, &status, error);
    if (kind == STREAM && descriptor_of(path) < 0 && access(path, W_OK) != 0) {
        return cannot_write(path, strerror(errno), error);
    }
    if (kind == REFUSED || kind == STREAM) {
        return kind == STREAM ? TADA_OK : TADA_E_FILE; /* opening a pipe could wait, and closing it tells */
    }
    enum tada_status opened = new_file_open(path, rules, &file, error);
    return opened == TADA_OK ? new_file_close(&file, false, NULL) : opened;
}
