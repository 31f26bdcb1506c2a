#include "arguments.h"
#include "tada.h"

#include <ctype.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int next_option(const char *command, int argc, char **argv, const char *letters, const struct option *known,
                int *option)
{
    opterr = 0;
    *option = getopt_long(argc, argv, letters, known, NULL);
    if (*option == ':') {
        return cli_usage(command, "%s needs a value.", argv[optind - 1]);
    }
    return *option == '?' ? cli_usage(command, "Unknown option '%s'.", argv[optind - 1]) : 0;
}

int take_number(const char *command, const char *option, const char *text, long long least, long long most,
                long long *number)
{
    char *end;
    long long value = strtoll(text, &end, 10); /* of too many digits: the largest there is */
    if (end == text || *end || value < least || value > most) {
        return cli_usage(command, "%s takes a whole number from %lld to %lld, not '%s'.", option, least, most,
                         text);
    }
    *number = value;
    return 0;
}

int take_int(const char *command, const char *option, const char *text, int least, int most, int *number)
{
    long long wide = *number;
    int status = take_number(command, option, text, least, most, &wide);
    *number = (int)wide;
    return status;
}

int take_share(const char *command, const char *text, double *share)
{
    char *end;
    double percent = strtod(text, &end);
    end += *end == '%';
    if (end == text || *end || !(percent >= 5 && percent <= 100)) {
        return cli_usage(command, "--budget takes percents of the f16 cache from 5 to 100, not '%s'.", text);
    }
    *share = percent / 100;
    return 0;
}

int take_bytes(const char *command, const char *option, const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    char *end;
    double value = strtod(text, &end);
    if (end != text && *end && strchr(units, toupper((unsigned char)*end))) {
        value *= (double)(1ull << 10 * (strchr(units, toupper((unsigned char)*end)) - units + 1));
        end++;
        end += strcasecmp(end, "B") == 0 || strcasecmp(end, "iB") == 0 ? strlen(end) : 0;
    }
    bool good = isdigit((unsigned char)*text) && !*end && value >= 1 && value < 0x1p60;
    if (!good) {
        return cli_usage(command, "%s takes bytes, such as 8G, 1.5G or 800M, not '%s'.", option, text);
    }
    *bytes = (uint64_t)value;
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

int take_caches(const char *command, char *list, const char **caches, int *n, int most)
{
    for (char *item; (item = strsep(&list, ","));) {
        tada_spec spec;
        tada_error error = {""};
        if (tada_spec_parse(item, &spec, &error) != TADA_OK) {
            return cli_usage(command, "%s", error.text);
        }
        bool is_f16 = spec.stock && strcmp(spec.stock_k, "f16") == 0 && strcmp(spec.stock_v, "f16") == 0;
        if (is_f16 || is_listed(caches, *n, item)) {
            continue;
        }
        if (*n == most) {
            return cli_usage(
                command, "--cache takes at most %d caches beside f16: measure them in several runs.", most);
        }
        caches[(*n)++] = item;
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
