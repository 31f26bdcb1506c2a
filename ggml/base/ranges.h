/* A list of ranges of bytes, each kept once. One thread at a time uses a list. */
#ifndef PLUGIN_BASE_RANGES_H
#define PLUGIN_BASE_RANGES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct range {
    size_t offset, size;
} range;

/* All zeros: none yet. */
typedef struct ranges {
    range *items; /* in no order */
    int n, room;  /* how many there are; how many `items` has room for */
} ranges;

/* Adds a range. Of ranges with the same offset only the longest is kept. False: memory is short, and the
 * range was not added. */
bool ranges_add(ranges *ranges, size_t offset, size_t size);
void ranges_free(ranges *ranges);

#endif
