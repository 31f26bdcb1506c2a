#include "ggml_version.h"

#include <string.h>

static bool is_unknown(const char *commit)
{
    return strcmp(commit, "unknown") == 0;
}

static bool same_commit(const char *commit, const char *other)
{
    enum { LEAST = 7 };
    static const char digits[] = "0123456789abcdef";
    size_t length = strlen(commit), other_length = strlen(other);
    size_t shorter = length < other_length ? length : other_length;
    /* What follows the digits says that files were changed. */
    bool abbreviated = shorter >= LEAST && strspn(commit, digits) == length &&
                       strspn(other, digits) == other_length && strncmp(commit, other, shorter) == 0;
    return abbreviated || strcmp(commit, other) == 0;
}

bool ggml_version_fits(const char *version, const char *commit, const char *other_version,
                       const char *other_commit)
{
    return strcmp(version, other_version) == 0 &&
           (is_unknown(commit) || is_unknown(other_commit) || same_commit(commit, other_commit));
}
