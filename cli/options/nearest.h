/* What was most likely meant by a name that does not exist. */
#ifndef TADA_CLI_OPTIONS_NEAREST_H
#define TADA_CLI_OPTIONS_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

/* The best name so far. */
struct nearest {
    const char *wanted;
    size_t distance; /* characters that are missing, too many, wrong or swapped */
    char name[64];   /* "": none is near */
};

struct nearest nearest_to(const char *wanted);
/* Takes a name of so many characters if it is nearer; capitals count as small letters. */
void nearest_try(struct nearest *nearest, const char *name, size_t length);

#endif
