/* Pieces of a memory, each noted once. */
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
    int n, room;
} ranges;

/* Of pieces that begin at the same place only the longest stays. False: memory is short, and it is not noted.
 */
bool ranges_add(ranges *ranges, size_t offset, size_t size);
void ranges_free(ranges *ranges);

#endif
