/*
 * The library that stands before fopen and fclose of a server, in a process of its own that it is loaded
 * into. test_preload LIBRARY starts itself with it. Files here are none of llama.cpp's, and so are kept as
 * they are; that packed ones are restored is tested with a server.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char work[PATH_MAX];
static int failures;

/* By this function the library knows a program of llama.cpp. */
__attribute__((visibility("default"))) void ggml_fopen(void);
void ggml_fopen(void)
{
}

static void check(const char *name, bool good)
{
    printf("%s  %s\n", good ? "ok    " : "FAILED", name);
    failures += !good;
}

static const char *path_of(const char *name)
{
    static _Thread_local char path[8][PATH_MAX + 300];
    static _Thread_local int next;
    char *here = path[next++ % 8];
    snprintf(here, sizeof path[0], "%s/%s", work, name);
    return here;
}

static bool put(const char *name, const char *mode, const char *text)
{
    FILE *file = fopen(path_of(name), mode);
    return file && fputs(text, file) >= 0 && fclose(file) == 0;
}

static bool holds(const char *name, const char *text)
{
    char found[256] = "";
    int file = open(path_of(name), O_RDONLY);
    ssize_t n = read(file, found, sizeof found - 1);
    close(file);
    return n >= 0 && strcmp(found, text) == 0;
}

static bool is_there(const char *name)
{
    struct stat status;
    return lstat(path_of(name), &status) == 0;
}

/* Files of a folder whose names begin so. */
static int count(const char *folder, const char *start)
{
    int n = 0;
    DIR *list = opendir(path_of(folder));
    for (struct dirent *entry; list && (entry = readdir(list));) {
        n += strncmp(entry->d_name, start, strlen(start)) == 0;
    }
    closedir(list);
    return n;
}

/* Opened, it is not at its place but under a hidden name; closed, it is. */
static bool is_delayed(const char *path, const char *name)
{
    unlink(path_of(name));
    FILE *file = fopen(path, "wb");
    bool good = file && fputs("new", file) >= 0 && fflush(file) == 0 && !is_there(name) &&
                count("slots", ".tada-session..") == 1;
    return file && fclose(file) == 0 && good && holds(name, "new") && count("slots", ".tada-session..") == 0;
}

static void test_names(void)
{
    char relative[300];
    check("a file of the folder is moved to its place", is_delayed(path_of("slots/one"), "slots/one"));
    check("... by another name of the folder", is_delayed(path_of("slots/../slots//one"), "slots/one"));
    check("... by a link to it",
          symlink(path_of("slots"), path_of("link")) == 0 && is_delayed(path_of("link/one"), "slots/one"));
    chdir(work);
    snprintf(relative, sizeof relative, "slots/one");
    check("... by a relative name", is_delayed(relative, "slots/one"));
    chdir(path_of("slots"));
    check("... without a folder", is_delayed("one", "slots/one"));
    chdir("/");
}

/* As without the library: it is there at once. */
static bool is_direct(const char *name, const char *mode)
{
    FILE *file = fopen(path_of(name), mode);
    bool good =
        file && fputs("new", file) >= 0 && fflush(file) == 0 && count("slots", ".tada-session..") == 0;
    struct stat opened, there;
    good = good && fstat(fileno(file), &opened) == 0 && stat(path_of(name), &there) == 0 &&
           opened.st_ino == there.st_ino;
    return file && fclose(file) == 0 && good;
}

static void test_others(void)
{
    unlink(path_of("slots/one"));
    FILE *ours = fopen(path_of("slots/one"), "wb");
    check("closing another file leaves it open", ours && put("other", "w", "new") && !is_there("slots/one"));
    check("... until it is closed",
          ours && fputs("new", ours) >= 0 && fclose(ours) == 0 && holds("slots/one", "new"));
    mkdir(path_of("slots/below"), 0777);
    mkdir(path_of("slots2"), 0777);
    check("a file elsewhere is not touched", is_direct("other", "wb"));
    check("... nor one below", is_direct("slots/below/one", "wb"));
    check("... nor in a folder of a similar name", is_direct("slots2/one", "wb"));
    check("... nor a log", is_direct("slots/log", "w") && is_direct("slots/log", "a") &&
                               is_direct("slots/log", "r+b") && is_direct("slots/log", "wb+"));
    check("... nor through a link", symlink(path_of("target"), path_of("slots/link")) == 0 &&
                                        is_direct("slots/link", "wb") && holds("target", "new"));
    check("... nor with two names", put("slots/a", "w", "old") &&
                                        link(path_of("slots/a"), path_of("slots/b")) == 0 &&
                                        is_direct("slots/a", "wb") && holds("slots/b", "new"));
    errno = 0;
    check("what is not there is not opened", !fopen(path_of("slots/none"), "rb") && errno == ENOENT);
    check("... nor made in a folder that is not there", !fopen(path_of("none/one"), "wb") && errno == ENOENT);
    FILE *file = put("slots/plain", "w", "stock") ? fopen(path_of("slots/plain"), "rb") : NULL;
    char text[8] = "";
    check("a plain file is read as it is",
          file && fread(text, 1, 7, file) == 5 && strcmp(text, "stock") == 0);
    fclose(file);
}

static mode_t mode_of(const char *name)
{
    struct stat status;
    return stat(path_of(name), &status) == 0 ? status.st_mode & 07777 : 0;
}

static void test_modes(void)
{
    umask(022);
    unlink(path_of("slots/one"));
    FILE *file = fopen(path_of("slots/one"), "wb");
    check("a new file has the mode that it would have had",
          file && fclose(file) == 0 && mode_of("slots/one") == 0644);
    chmod(path_of("slots/one"), 0600);
    bool owned = chown(path_of("slots/one"), 12, 34) == 0; /* by root alone */
    umask(0);
    file = fopen(path_of("slots/one"), "wb");
    struct stat status;
    bool good = file && fstat(fileno(file), &status) == 0 && (status.st_mode & 07777) == 0600;
    check("one that is replaced is private while it is written", good);
    check("... and stays private",
          file && fputs("new", file) >= 0 && fclose(file) == 0 && mode_of("slots/one") == 0600);
    check("... and whose it was",
          !owned || (stat(path_of("slots/one"), &status) == 0 && status.st_uid == 12 && status.st_gid == 34));
    umask(022);
    errno = 0;
    check("a name that is for files being written is refused",
          !fopen(path_of("slots/.tada-session..1-1"), "wb") && errno == EINVAL &&
              !is_there("slots/.tada-session..1-1"));
    check("... one like it is not",
          put("slots/.tada-session-1-1", "wb", "new") && holds("slots/.tada-session-1-1", "new"));
    unlink(path_of("slots/.tada-session-1-1"));
}

static void test_failures(void)
{
    struct rlimit old, limit;
    char block[4096];
    memset(block, 'x', sizeof block);
    put("slots/full", "wb", "old");
    getrlimit(RLIMIT_FSIZE, &old);
    limit = (struct rlimit){10000, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    FILE *file = fopen(path_of("slots/full"), "wb");
    for (int i = 0; i < 5 && file; i++) {
        (void)!fwrite(block, sizeof block, 1, file);
    }
    bool refused = file && fclose(file) != 0;
    setrlimit(RLIMIT_FSIZE, &old);
    check("a full disk is told", refused);
    check("... and the older file stays",
          holds("slots/full", "old") && count("slots", ".tada-session..") == 0);
}

static void test_kill(void)
{
    put("slots/killed", "wb", "old");
    pid_t child = fork();
    if (child == 0) {
        FILE *file = fopen(path_of("slots/killed"), "wb");
        fputs("half", file);
        fflush(file);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    check("a file of a killed process is not at its place", holds("slots/killed", "old"));
    check("... but under a hidden name", count("slots", ".tada-session..") == 1);
}

/* ---- threads ---- */

enum { THREADS = 8, TURNS = 100 };

static void *write_and_read(void *number)
{
    char name[64], text[64];
    intptr_t wrong = 0;
    for (int i = 0; i < TURNS; i++) {
        bool ours = (i + *(int *)number) % 2;
        snprintf(name, sizeof name, "%s/thread%d", ours ? "slots" : "slots2", *(int *)number);
        snprintf(text, sizeof text, "%d %d", *(int *)number, i);
        wrong += !put(name, "wb", text) || !holds(name, text);
    }
    return (void *)wrong;
}

static void test_threads(void)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    intptr_t wrong = 0;
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, write_and_read, &numbers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        wrong += (intptr_t)result;
    }
    check("threads do not mix their files", wrong == 0);
    check("... and leave nothing", count("slots", ".tada-session..") == 1); /* the one of test_kill */
}

/* ---- processes ---- */

/* Starts this program with the library, as `what`; true when it ends well. */
static bool run(const char *program, const char *library, const char *what, const char *inherit)
{
    pid_t child = fork();
    if (child == 0) {
        char list[PATH_MAX + 32];
        /* As tada serve does it: the loader takes no path with blanks or colons. */
        char number[32];
        if (strpbrk(library, ": ")) {
            snprintf(number, sizeof number, "/proc/self/fd/%d", open(library, O_RDONLY));
            library = number;
        }
        snprintf(list, sizeof list, "%s:libm.so.6", library);
        setenv("LD_PRELOAD", list, 1);
        setenv("TADA_SESSIONS", path_of("slots"), 1);
        setenv("TADA_CACHE", "tada", 1);
        setenv("TADA_SESSIONS_INHERIT", inherit, 1);
        execl(program, program, what, work, (char *)NULL);
        _exit(127);
    }
    int status;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool variable_is(const char *name, const char *value)
{
    const char *found = getenv(name);
    return found ? value && strcmp(found, value) == 0 : !value;
}

static void test_leftovers(const char *program, const char *library)
{
    static const char *const gone[] = {"slots/.tada-session..1-7", "slots/.tada-session..2-0"},
                             *const stay[] = {"slots/.tada-session..3-1",  "slots/.tada-session-6-1",
                                              "slots/.tada-session..x-1",  "slots/.tada-session..4-",
                                              "slots/.tada-session..5-1x", "slots/.other-1-1"};
    for (int i = 0; i < 2; i++) {
        put(gone[i], "w", "left");
    }
    for (int i = 0; i < 6; i++) {
        put(stay[i], "w", "used");
    }
    int used = open(path_of(stay[0]), O_RDONLY);
    flock(used, LOCK_EX);
    check("a new process starts", run(program, library, "--environment", ""));
    bool good = true;
    for (int i = 0; i < 2; i++) {
        good = good && !is_there(gone[i]);
    }
    check("... and removes what killed ones left", good && count("slots", ".tada-session..") == 4);
    for (int i = 0; i < 6; i++) {
        good = good && is_there(stay[i]);
    }
    check("... and nothing else", good);
    close(used);
    run(program, library, "--environment", "");
    check("... not while its process lives", !is_there(stay[0]));
    check("... nor a slot with the name that such files had before", holds(stay[1], "used"));
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--environment") == 0) {
        return variable_is("LD_PRELOAD", "libm.so.6") && variable_is("TADA_SESSIONS", NULL) ? 0 : 1;
    }
    if (argc == 3 && strcmp(argv[1], "--inherited") == 0) {
        return getenv("LD_PRELOAD") && !variable_is("LD_PRELOAD", "libm.so.6") && getenv("TADA_SESSIONS") ? 0
                                                                                                          : 1;
    }
    if (argc == 3 && strcmp(argv[1], "--files") == 0) {
        strcpy(work, argv[2]);
        test_names();
        test_others();
        test_modes();
        test_failures();
        test_kill();
        test_threads();
        return failures > 0;
    }
    char program[PATH_MAX], folder[PATH_MAX + 16];
    const char *temporary = getenv("TMPDIR");
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    snprintf(work, sizeof work, "%s/tada-preload-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (argc != 2 || length < 0 || !mkdtemp(work)) {
        fprintf(stderr, "usage: test_preload LIBRARY\n");
        return 2;
    }
    program[length] = '\0';
    snprintf(folder, sizeof folder, "%s/slots", work);
    mkdir(folder, 0777);
    check("files", run(program, argv[1], "--files", ""));
    test_leftovers(program, argv[1]);
    check("a router hands everything on", run(program, argv[1], "--inherited", "1"));
    setenv("WORK", work, 1);
    return system("rm -rf \"$WORK\"") != 0 || failures > 0;
}
