/* Resident memory of this process, and the part of it that is due to one of several things. */
#ifndef TADA_CLI_BENCH_FOOTPRINT_H
#define TADA_CLI_BENCH_FOOTPRINT_H

#include <stdbool.h>
#include <stdint.h>

/* Of zeros at first. What the process gains or loses between begin and end is due to this thing. */
struct footprint {
    int64_t held, peak; /* bytes: now, and the most so far */
    int64_t before;
};

/* Resident bytes of this process; -1: the system does not tell. */
int64_t footprint_resident(void);
/* False: the system cannot tell peaks (/proc/self/clear_refs cannot be written). */
bool footprint_begin(struct footprint *footprint);
void footprint_end(struct footprint *footprint);

#endif
