/* Files without a name: O_TMPFILE where the file system has it, else memfd_create. */
#include "nameless.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int nameless_open(const char *folder)
{
    const char *usual = getenv("TMPDIR");
    folder = folder ? folder : usual && *usual ? usual : "/tmp";
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        fd = memfd_create("tada", MFD_CLOEXEC);
        (void)!fchmod(fd, 0600);
    }
    return fd;
}

/* A signal ends it. */
static bool copy_to_end(int from, int to)
{
    char bytes[1 << 16];
    ssize_t got;
    while ((got = read(from, bytes, sizeof bytes)) > 0) {
        for (ssize_t done = 0, put; done < got; done += put) {
            put = write(to, bytes + done, (size_t)(got - done));
            if (put < 0) {
                return false;
            }
        }
    }
    return got == 0;
}

int nameless_input(void)
{
    struct stat status;
    if (fstat(STDIN_FILENO, &status) == 0 && S_ISREG(status.st_mode) &&
        lseek(STDIN_FILENO, 0, SEEK_CUR) == 0) {
        return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    }
    int file = nameless_open(NULL);
    if (file >= 0 && !copy_to_end(STDIN_FILENO, file)) {
        int why = errno;
        close(file);
        errno = why;
        return -1;
    }
    return file;
}
