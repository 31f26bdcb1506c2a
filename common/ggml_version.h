/* Whether a copy of ggml is the one that something was built for. */
#ifndef TADA_GGML_VERSION_H
#define TADA_GGML_VERSION_H

#include <stdbool.h>

/*
 * Versions must be the same, and commits, unless one is "unknown". Of one commit a repository with few of
 * them has a shorter name than a repository with all: a name of 7 digits or more fits those that it begins.
 */
bool ggml_version_fits(const char *version, const char *commit, const char *other_version,
                       const char *other_commit);

#endif
