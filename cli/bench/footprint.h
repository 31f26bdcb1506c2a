/* The resident memory of this process, and which part of it belongs to one of several caches. */
#ifndef TADA_CLI_BENCH_FOOTPRINT_H
#define TADA_CLI_BENCH_FOOTPRINT_H

#include <stdbool.h>
#include <stdint.h>

/* One cache's part: what the process gains or loses between begin and end. All zeros at first. */
struct footprint {
    int64_t held, peak; /* bytes now, and the most so far */
    int64_t before;     /* resident bytes at footprint_begin */
};

/* The resident bytes of this process; -1: the system does not tell. */
int64_t footprint_resident(void);
/* False: the system cannot tell peaks (/proc/self/clear_refs cannot be written). */
bool footprint_begin(struct footprint *footprint);
void footprint_end(struct footprint *footprint);

#endif
