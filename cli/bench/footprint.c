/* Resident memory, as /proc/self/status tells it. */
#include "footprint.h"

#include "find/memory.h"

#include <stdio.h>

/* Bytes of a line "KEY:  N kB"; -1 when it is not there. */
static int64_t read_status(const char *key)
{
    double kib = system_number("/proc/self/status", key);
    return kib < 0 ? -1 : (int64_t)kib * 1024;
}

int64_t footprint_resident(void)
{
    return read_status("VmRSS:");
}

/* From now on the peak is that of the memory from now on. */
static bool reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) {
        return false;
    }
    bool written = fputs("5", file) >= 0;
    return fclose(file) == 0 && written;
}

bool footprint_begin(struct footprint *footprint)
{
    bool reset = reset_peak();
    footprint->before = footprint_resident();
    return reset && footprint->before >= 0;
}

void footprint_end(struct footprint *footprint)
{
    int64_t peak = footprint->held + read_status("VmHWM:") - footprint->before;
    footprint->held += footprint_resident() - footprint->before;
    footprint->peak = peak > footprint->peak ? peak : footprint->peak;
}
