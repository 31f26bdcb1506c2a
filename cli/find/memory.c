/* Numbers that the system tells, and how much memory is free. */
#include "memory.h"

#include <limits.h>
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

static double number_in(const char *folder, const char *file, const char *key)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", folder, file);
    return length > 0 && (size_t)length < sizeof path ? system_number(path, key) : -1;
}

/* What a group of processes may still get; -1: it has no limit. What it holds of files goes when memory is
 * wanted. */
static double left_in(const char *folder)
{
    double limit = number_in(folder, "memory.max", NULL), used = number_in(folder, "memory.current", NULL);
    double files = number_in(folder, "memory.stat", "inactive_file ");
    if (limit < 0 || used < 0) {
        return -1;
    }
    used -= files > 0 ? files : 0;
    return limit > used ? limit - used : 0;
}

double memory_left_in_groups(const char *root, const char *group)
{
    char folder[PATH_MAX];
    double least = -1;
    size_t n = strlen(group), above = strlen(root);
    if (above + n >= sizeof folder) {
        return -1;
    }
    memcpy(folder, root, above);
    memcpy(folder + above, group, n + 1);
    for (char *end = folder + above + n; end; end = strrchr(folder + above, '/')) {
        *end = '\0';
        double left = left_in(folder);
        least = left >= 0 && (least < 0 || left < least) ? left : least;
    }
    return least;
}

/* The group of this process, without what ends its line. "": unknown. */
static void own_group(char group[PATH_MAX])
{
    static const char start[] = "0::";
    char line[PATH_MAX];
    FILE *file = fopen("/proc/self/cgroup", "r");
    *group = '\0';
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, start, strlen(start)) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(group, PATH_MAX, "%s", line + strlen(start));
        }
    }
    if (file) {
        fclose(file);
    }
}

double memory_available(void)
{
    char group[PATH_MAX];
    double available = system_number("/proc/meminfo", "MemAvailable:");
    available = available < 0 ? -1 : available * 1024;
    /* A container, or a service, may be allowed less than the machine has. */
    own_group(group);
    double left = memory_left_in_groups("/sys/fs/cgroup", group);
    return left >= 0 && (available < 0 || left < available) ? left : available;
}
