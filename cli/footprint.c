/* Resident memory, as /proc/self/status tells it. */
#include "footprint.h"

#include <stdio.h>
#include <string.h>

/* Bytes of a line "KEY:  N kB"; -1 when it is not there. */
static int64_t read_status(const char *key)
{
    char line[256];
    int64_t bytes = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && bytes < 0 && fgets(line, sizeof line, file)) {
        long long kib;
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), "%lld", &kib) == 1) {
            bytes = (int64_t)kib * 1024;
        }
    }
    if (file) {
        fclose(file);
    }
    return bytes;
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
