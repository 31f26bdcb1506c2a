/* Pages of memory from the system. All functions may be called from any thread. */
#ifndef PLUGIN_BASE_PAGES_H
#define PLUGIN_BASE_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* Reserves address space that reads as zeros and takes memory when it is written. NULL: there is none left.
 * pages_free gives it back. */
void *pages_reserve(size_t size);
void pages_free(void *memory, size_t size);
/* Asks the system for large pages (large), or for normal ones. The system may ignore it. */
void pages_enlarge(void *memory, size_t size, bool large);
/* Gives the memory back to the system; the address space stays and reads as zeros. False: the system refused,
 * and the contents are unchanged. */
bool pages_drop(void *memory, size_t size);
/* Gives back all pages that lie completely inside. Any access to them is a segmentation fault from now on. */
void pages_close(const void *memory, size_t size);
/* Whether a page has been written, be it in memory or swapped out. True also where the system cannot tell. */
bool pages_touched(const void *memory, size_t size);
/* Bytes of the pages that overlap the range and are in memory. */
size_t pages_resident(const void *memory, size_t size);
/* Bytes of a page. */
size_t pages_size(void);

#endif
