#include "nearest.h"

#include <string.h>

enum { LONGEST = 63 };

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits that make `to` of `from`: a swap of neighbours is one, too. */
static size_t distance(const char *from, size_t n, const char *to, size_t m)
{
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++) {
        last[j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            char a = lower(from[i - 1]), b = lower(to[j - 1]);
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (a != b));
            if (i > 1 && j > 1 && a == lower(to[j - 2]) && b == lower(from[i - 2])) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
        }
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[m];
}

struct nearest nearest_to(const char *wanted)
{
    return (struct nearest){.wanted = wanted, .distance = (size_t)-1};
}

void nearest_try(struct nearest *nearest, const char *name, size_t length)
{
    size_t n = strlen(nearest->wanted);
    if (n > LONGEST || length > LONGEST) {
        return;
    }
    size_t d = distance(nearest->wanted, n, name, length);
    size_t longer = n > length ? n : length;
    /* The start of a long name is near it, however much is missing. */
    size_t dashes = strspn(nearest->wanted, "-");
    bool begins = n >= dashes + 2 && n < length && strncmp(nearest->wanted, name, n) == 0;
    bool near = begins || d <= (longer <= 4 ? 1 : longer / 3);
    if (near && d < nearest->distance) {
        nearest->distance = d;
        memcpy(nearest->name, name, length);
        nearest->name[length] = '\0';
    }
}
