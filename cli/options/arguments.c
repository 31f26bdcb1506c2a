#include "arguments.h"

#include "find/paths.h"
#include "numbers.h"
#include "output/note.h"
#include "specs.h"

#include <sched.h>
#include <string.h>
#include <strings.h>

int take_share(const char *command, const char *name, const char *text, double *share)
{
    double percent;
    size_t n = number_decimal(text, &percent);
    bool whole = n > 0 && (!text[n] || strcmp(text + n, "%") == 0);
    if (!whole || percent < 5 || percent > 100) {
        return cli_usage(command, "%s takes percents of the f16 cache from 5 to 100, not '%s'.", name, text);
    }
    *share = percent / 100;
    return 0;
}

int take_bytes(const char *command, const char *name, const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGTkmgt";
    double value = 0;
    size_t n = number_decimal(text, &value);
    const char *end = text + n, *unit = *end ? strchr(units, *end) : NULL;
    if (unit) {
        value *= (double)(1ull << 10 * ((unit - units) % 4 + 1));
        end++;
        end += strcasecmp(end, "B") == 0 || strcasecmp(end, "iB") == 0 ? strlen(end) : 0;
    }
    if (n == 0 || *end || !(value >= 1 && value < 0x1p60)) {
        return cli_usage(command, "%s takes bytes, such as 8G, 1.5G or 800M, not '%s'.", name, text);
    }
    *bytes = (uint64_t)value;
    return 0;
}

int take_seed(const char *command, const char *name, const char *text, uint32_t *seed)
{
    long long number;
    if (!number_whole(text, 0, UINT32_MAX, &number)) {
        return cli_usage(command, "%s takes a whole number from 0 to %u, not '%s'.", name, UINT32_MAX, text);
    }
    *seed = (uint32_t)number;
    return 0;
}

static bool is_listed(const char *const *caches, int n, const char *spec)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(caches[i], spec) == 0) {
            return true;
        }
    }
    return false;
}

/* The same text that lives as long as the program; itself, if it has no name. */
static const char *lasting(const char *spec)
{
    for (int i = 0; spec_names[i]; i++) {
        if (strcmp(spec_names[i], spec) == 0) {
            return spec_names[i];
        }
    }
    return spec;
}

int take_caches(const char *command, char *list, const char **caches, int *n, int most)
{
    for (char *item; (item = strsep(&list, ","));) {
        tada_spec spec;
        int status = spec_take(command, "", item, &spec);
        if (status != 0) {
            return status;
        }
        bool is_f16 = spec.stock && strcmp(spec.stock_k, "f16") == 0 && strcmp(spec.stock_v, "f16") == 0;
        if (is_f16 || is_listed(caches, *n, item)) {
            continue;
        }
        if (*n == most) {
            return cli_usage(
                command, "--cache takes at most %d caches beside f16: measure them in several runs.", most);
        }
        caches[(*n)++] = lasting(item);
    }
    return 0;
}

int take_default_model(const char *command, const char **path, struct place *place)
{
    if (!*path) {
        if (!find_default_model(place)) {
            return cli_usage(command,
                             "No model is given, and the default one is not there: give one with -m.");
        }
        *path = place->path;
    }
    return 0;
}

int count_cpus(void)
{
    cpu_set_t cpus;
    int n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
}
