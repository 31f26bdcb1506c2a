/* Numbers that the system tells, and how much memory is free. */
#include "memory.h"

#include <stdio.h>
#include <string.h>

double system_number(const char *path, const char *key)
{
    char line[256];
    double found = -1;
    size_t length = key ? strlen(key) : 0;
    FILE *file = fopen(path, "r");
    while (file && found < 0 && fgets(line, sizeof line, file)) {
        long long number;
        if ((!key || strncmp(line, key, length) == 0) && sscanf(line + length, "%lld", &number) == 1) {
            found = (double)number;
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

double memory_available(void)
{
    double available = system_number("/proc/meminfo", "MemAvailable:");
    available = available < 0 ? -1 : available * 1024;
    /* A container may allow less than the machine has. What it holds of files goes when memory is wanted. */
    double limit = system_number("/sys/fs/cgroup/memory.max", NULL);
    double used = system_number("/sys/fs/cgroup/memory.current", NULL);
    double files = system_number("/sys/fs/cgroup/memory.stat", "inactive_file ");
    if (limit >= 0 && used >= 0) {
        used -= files > 0 ? files : 0;
        double left = limit > used ? limit - used : 0;
        available = available < 0 || left < available ? left : available;
    }
    return available;
}
