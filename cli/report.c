#include "report.h"
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The name under which the file is written first, in the same folder. */
static bool temporary_name(const char *path, char *name, size_t size)
{
    int length = snprintf(name, size, "%s.%ld.part", path, (long)getpid());
    return length > 0 && (size_t)length < size;
}

int report_check(const char *path)
{
    struct stat status;
    char name[PATH_MAX];
    if (strcmp(path, "-") == 0) {
        return 0;
    }
    errno = EISDIR;
    bool folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    int file = folder                                    ? -1
               : temporary_name(path, name, sizeof name) ? open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0666)
                                                         : -1;
    if (file < 0) {
        cli_fail("%s cannot be written (%s): give --json another path.", path, strerror(errno));
        return EXIT_USAGE;
    }
    close(file);
    unlink(name);
    return 0;
}

/* Takes `text` over. */
static int write_text(char *text, FILE *file)
{
    int result = fputs(text, file) < 0 || fputc('\n', file) == EOF ? -1 : 0;
    free(text);
    return result;
}

int report_write(const cJSON *report, const char *path)
{
    char name[PATH_MAX];
    char *text = cJSON_Print(report);
    if (!text) {
        return cli_fail("Memory is too short for the JSON: close other programs.");
    }
    if (strcmp(path, "-") == 0) {
        write_text(text, stdout); /* main looks after its errors */
        return 0;
    }
    FILE *file = temporary_name(path, name, sizeof name) ? fopen(name, "w") : NULL;
    if (!file) {
        free(text);
        return cli_fail("%s cannot be written (%s): give --json another path.", path, strerror(errno));
    }
    bool written = write_text(text, file) == 0;
    written = fclose(file) == 0 && written;
    if (!written || rename(name, path) != 0) {
        int why = errno;
        unlink(name);
        return cli_fail("%s could not be written (%s): make room or give --json another path.", path,
                        strerror(why));
    }
    return 0;
}

void report_add_text(cJSON *object, const char *name, const char *text)
{
    char clean[PATH_MAX];
    size_t used = 0;
    if (!text) {
        cJSON_AddNullToObject(object, name);
        return;
    }
    for (const char *at = text; *at && used + 4 < sizeof clean;) {
        int length = utf8_length((const unsigned char *)at);
        if (length == 0) {
            clean[used++] = '?';
            at++;
        }
        for (; length > 0; length--) {
            clean[used++] = *at++;
        }
    }
    clean[used] = '\0';
    cJSON_AddStringToObject(object, name, clean);
}
