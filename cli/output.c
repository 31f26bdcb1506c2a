/* Files that are written beside their place first. */
#include "output.h"
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int cannot_write(const char *path, const char *why)
{
    cli_fail("%s cannot be written (%s): choose another file.", path, why);
    return EXIT_USAGE;
}

int output_open(const char *path, struct output *output)
{
    struct stat status;
    *output = (struct output){.path = path};
    /* Moving a file to the place of a device would replace the device. */
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        return cannot_write(path, S_ISDIR(status.st_mode) ? "it is a folder" : "it is not a plain file");
    }
    int length = snprintf(output->part, sizeof output->part, "%s.part%ld", path, (long)getpid());
    if (!*path || length < 0 || (size_t)length >= sizeof output->part) {
        return cannot_write(path, "that is no file name");
    }
    int descriptor = open(output->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    output->file = descriptor >= 0 ? fdopen(descriptor, "w") : NULL;
    return output->file ? 0 : cannot_write(path, strerror(errno));
}

int output_close(struct output *output, bool good)
{
    bool written = !ferror(output->file);
    written = fclose(output->file) == 0 && written;
    if (good && written && rename(output->part, output->path) == 0) {
        return 0;
    }
    int reason = errno;
    unlink(output->part);
    return good ? cli_fail("%s could not be written (%s): make room or choose another file.", output->path,
                           strerror(reason))
                : 0;
}

int output_check(const char *path)
{
    struct output output;
    int status = output_open(path, &output);
    return status == 0 ? output_close(&output, false) : status;
}
