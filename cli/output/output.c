#include "output.h"

#include "note.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

bool output_is_stdout(const char *path)
{
    return path && tada_whole_is_stdout(path);
}

void output_keep(tada_whole_rules *rules, const char *path)
{
    int i = 0;
    while (i < WHOLE_INPUTS && rules->inputs[i]) {
        i++;
    }
    if (i < WHOLE_INPUTS) {
        rules->inputs[i] = path;
    }
}

void output_keep_plans(tada_whole_rules *rules, const char *const *specs, int n)
{
    for (int i = 0; i < n; i++) {
        output_keep(rules, tada_spec_plan_path(specs[i]));
    }
}

static int fail(const tada_error *error)
{
    cli_fail("%s", error->text);
    return EXIT_USAGE;
}

int output_check(const char *path, const tada_whole_rules *rules)
{
    tada_error error;
    return !path || tada_whole_check(path, rules, &error) == TADA_OK ? 0 : fail(&error);
}

int output_check_both(const char *path, const char *other, const tada_whole_rules *rules)
{
    if (path && other && (strcmp(path, other) == 0 || (output_is_stdout(path) && output_is_stdout(other)))) {
        cli_fail("%s is given for two files: name another one.", path);
        return EXIT_USAGE;
    }
    int status = output_check(path, rules);
    return status == 0 ? output_check(other, rules) : status;
}

int output_open(const char *path, const tada_whole_rules *rules, struct output *output)
{
    tada_error error;
    output->file = NULL;
    signal(SIGXFSZ, SIG_IGN); /* a file that becomes too large is an error, and removed */
    fflush(stdout);           /* what follows may go to the same place */
    if (tada_whole_open(path, rules, &output->whole, &error) != TADA_OK) {
        return fail(&error);
    }
    int file = fcntl(output->whole.fd, F_DUPFD_CLOEXEC, 3);
    output->file = file >= 0 ? fdopen(file, "w") : NULL;
    if (!output->file) {
        int status = cli_fail("%s cannot be written (%s): close other programs.", path, strerror(errno));
        if (file >= 0) {
            close(file);
        }
        tada_whole_close(&output->whole, false, NULL);
        return status;
    }
    return 0;
}

int output_close(struct output *output, bool good)
{
    tada_error error;
    bool written = !ferror(output->file);
    int reason = errno;
    if (fclose(output->file) != 0) {
        reason = written ? errno : reason;
        written = false;
    }
    if (tada_whole_close(&output->whole, good && written, &error) != TADA_OK) {
        return cli_fail("%s", error.text);
    }
    return good && !written ? cli_fail("%s could not be written (%s): make room or choose another file.",
                                       output->whole.path, strerror(reason))
                            : 0;
}
