/* Output files: a stdio stream over a new_file, which takes its place when it is complete. */
#include "output.h"

#include "note.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

bool output_is_stdout(const char *path)
{
    return path && new_file_is_stdout(path);
}

void output_keep(new_file_rules *rules, const char *path)
{
    int i = 0;
    while (i < NEW_FILE_INPUTS && rules->inputs[i]) {
        i++;
    }
    if (i < NEW_FILE_INPUTS) {
        rules->inputs[i] = path;
    }
}

void output_keep_plans(new_file_rules *rules, const char *const *specs, int n)
{
    for (int i = 0; i < n; i++) {
        output_keep(rules, tada_spec_plan_path(specs[i]));
    }
}

static int fail_output(const tada_error *error)
{
    cli_fail("%s", error->text);
    return EXIT_USAGE;
}

int output_check(const char *path, const new_file_rules *rules)
{
    tada_error error;
    return !path || new_file_check(path, rules, &error) == TADA_OK ? 0 : fail_output(&error);
}

int output_check_both(const char *path, const char *other, const new_file_rules *rules)
{
    if (path && other && (strcmp(path, other) == 0 || (output_is_stdout(path) && output_is_stdout(other)))) {
        cli_fail("%s is given for two files: name another one.", path);
        return EXIT_USAGE;
    }
    int status = output_check(path, rules);
    return status == 0 ? output_check(other, rules) : status;
}

int output_open(const char *path, const new_file_rules *rules, struct output *output)
{
    tada_error error;
    output->file = NULL;
    signal(SIGXFSZ, SIG_IGN); /* a file that becomes too large is an error, and removed */
    fflush(stdout);           /* what follows may go to the same place */
    if (new_file_open(path, rules, &output->target, &error) != TADA_OK) {
        return fail_output(&error);
    }
    int file = fcntl(output->target.fd, F_DUPFD_CLOEXEC, 3);
    output->file = file >= 0 ? fdopen(file, "w") : NULL;
    if (!output->file) {
        int status = cli_fail("%s cannot be written (%s): close other programs.", path, strerror(errno));
        if (file >= 0) {
            close(file);
        }
        new_file_close(&output->target, false, NULL);
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
    if (new_file_close(&output->target, good && written, &error) != TADA_OK) {
        return cli_fail("%s", error.text);
    }
    return good && !written ? cli_fail("%s could not be written (%s): make room or choose another file.",
                                       output->target.path, strerror(reason))
                            : 0;
}
