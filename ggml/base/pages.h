/* Pages of memory from the system. */
#ifndef PLUGIN_BASE_PAGES_H
#define PLUGIN_BASE_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* Address space of zeros, which takes memory as it is touched. NULL: there is none. pages_free gives it back.
 */
void *pages_reserve(size_t size);
void pages_free(void *memory, size_t size);
/* Asks for large pages from now on, or no longer. */
void pages_enlarge(void *memory, size_t size, bool large);
/* The memory goes back to the system, and reads as zeros. False: it still holds what it held. */
bool pages_drop(void *memory, size_t size);
/* The whole pages of it go back, and whoever touches them from now on stops. */
void pages_close(const void *memory, size_t size);
/* Whether any of it may hold something: pages that were written, be they in memory or swapped out. */
bool pages_touched(const void *memory, size_t size);
/* Bytes of the pages with a part of it that are in memory. */
size_t pages_resident(const void *memory, size_t size);
size_t pages_size(void);

#endif
