#include "weights.h"

#include "find/paths.h"
#include "output/note.h"
#include "output/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* An open file without a name in $TMPDIR; -1 and errno on failure. */
static int nameless_file(void)
{
    char path[PATH_MAX];
    const char *folder = environment("TMPDIR");
    if (!join_path(path, sizeof path, folder ? folder : "/tmp", "tada-XXXXXX")) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int file = mkostemp(path, O_CLOEXEC);
    if (file >= 0) {
        unlink(path);
    }
    return file;
}

/* What the child does. `file` and `log` are ours. */
static void exec_quantize(const char *tool, const char *source, int file, int log, int n_threads)
{
    char target[32], threads[16];
    int null = open("/dev/null", O_RDONLY);
    /* Nothing may be left running when this process is killed. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    int inherited = dup(file);
    snprintf(target, sizeof target, "/proc/self/fd/%d", inherited);
    snprintf(threads, sizeof threads, "%d", n_threads);
    unsetenv("GGML_BACKEND_PATH");
    unsetenv("TADA_CACHE");
    execl(tool, tool, "--allow-requantize", source, target, "F16", threads, (char *)NULL);
    fprintf(stderr, "%s: %s\n", tool, strerror(errno));
    _exit(127);
}

/* Waits, with a progress line; after Ctrl-C the child is ended. Returns what waitpid tells. */
static int wait_for(pid_t child, int file, double expected)
{
    struct progress progress;
    int result = 0;
    progress_start(&progress, "converting to f16");
    while (waitpid(child, &result, WNOHANG) == 0) {
        struct stat status;
        if (interrupted()) {
            kill(child, SIGKILL);
            waitpid(child, &result, 0);
            break;
        }
        if (fstat(file, &status) == 0) {
            double done = (double)status.st_size;
            progress_show(&progress, done < expected ? done : expected, expected, "");
        }
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
    }
    progress_clear(&progress);
    return result;
}

/* The last lines of what the child printed. */
static void show_log(int log)
{
    enum { MOST = 1500 };
    char text[MOST + 1];
    off_t length = lseek(log, 0, SEEK_END);
    ssize_t n = pread(log, text, MOST, length > MOST ? length - MOST : 0);
    if (n > 0) {
        text[n] = '\0';
        cli_pass_on(text);
    }
}

static int convert(const char *tool, const struct model *model, const char *source, int n_threads, int file,
                   int log)
{
    double expected = 2.0 * (double)model->engine->llama_model_n_params(model->llama);
    pid_t child = fork();
    if (child == 0) {
        exec_quantize(tool, source, file, log, n_threads);
    }
    if (child < 0) {
        return cli_fail("llama-quantize does not start (%s): close other programs.", strerror(errno));
    }
    int result = wait_for(child, file, expected);
    if (interrupted()) {
        return EXIT_INTERRUPTED;
    }
    if (!WIFEXITED(result) || WEXITSTATUS(result) != 0) {
        show_log(log);
        return cli_fail("llama-quantize could not convert %s: is there room for %.0f MiB in $TMPDIR? Else "
                        "measure without --weights.",
                        model->name, expected / 1048576);
    }
    return 0;
}

int weights_convert(const struct model *model, const char *path, int n_threads, struct f16_weights *weights)
{
    struct place tool;
    if (!find_tool("llama-quantize", &tool)) {
        return cli_fail("%s", tool.why);
    }
    weights->file = nameless_file();
    int log = nameless_file();
    int status;
    if (weights->file < 0 || log < 0) {
        status = cli_fail("No temporary file can be made (%s): set TMPDIR to a folder with room.",
                          strerror(errno));
    } else {
        status = convert(tool.path, model, path, n_threads, weights->file, log);
    }
    if (log >= 0) {
        close(log);
    }
    snprintf(weights->path, sizeof weights->path, "/proc/self/fd/%d", weights->file);
    if (status != 0) {
        weights_close(weights);
    }
    return status;
}

void weights_close(struct f16_weights *weights)
{
    if (weights->file >= 0) {
        close(weights->file);
        weights->file = -1;
    }
}
