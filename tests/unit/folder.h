/* A temporary folder for the files of a test. */
#ifndef TADA_TEST_FOLDER_H
#define TADA_TEST_FOLDER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static char folder[] = "test-XXXXXX";

static inline bool make_folder(void)
{
    return mkdtemp(folder) != NULL;
}

/* Of a file in it; the last four results stay as they are. */
static inline const char *path_of(const char *name)
{
    static char paths[4][64];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline bool remove_folder(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) == 0;
}

#endif
