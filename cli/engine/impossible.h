/* Caches that a model cannot have, such as q8_0 where its heads have 40 values. They are not measured, and
 * each has a row that says why. */
#ifndef TADA_CLI_ENGINE_IMPOSSIBLE_H
#define TADA_CLI_ENGINE_IMPOSSIBLE_H

#include "engine.h"

#include <cjson/cJSON.h>

enum { IMPOSSIBLE_MOST = 32 };

struct impossible {
    struct {
        const char *spec;
        char why[160];
    } caches[IMPOSSIBLE_MOST];
    int n;
};

/* Moves them out of a list of n specs. */
void impossible_sift(const struct model *model, const char **specs, int *n, struct impossible *impossible);
/* Prints a row for each. width: columns of the first column of the table. */
void impossible_print(const struct impossible *impossible, int width);
/* Adds "impossible": [{"cache", "why"}], if there are any. */
void impossible_report(const struct impossible *impossible, cJSON *report);

#endif
