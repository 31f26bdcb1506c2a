/* Finding caches that a model cannot have, and showing why. */
#include "impossible.h"

#include "output/json.h"
#include "output/lines.h"

#include <stdio.h>

void impossible_sift(const struct model *model, const char **specs, int *n, struct impossible *impossible)
{
    int n_left = 0;
    for (int i = 0; i < *n; i++) {
        int next = impossible->n;
        bool full = next == IMPOSSIBLE_MOST;
        if (full || cache_is_possible(model, specs[i], impossible->caches[next].why,
                                      sizeof impossible->caches[next].why)) {
            specs[n_left++] = specs[i];
        } else {
            impossible->caches[next].spec = specs[i];
            impossible->n++;
        }
    }
    *n = n_left;
}

void impossible_print(const struct impossible *impossible, int width)
{
    for (int i = 0; i < impossible->n; i++) {
        char text[sizeof impossible->caches[i].why + 32];
        int n = printf("%-*s ", width, impossible->caches[i].spec);
        snprintf(text, sizeof text, "this model cannot have it: %s", impossible->caches[i].why);
        line_print(stdout, n, 2, text);
    }
}

void impossible_report(const struct impossible *impossible, cJSON *report)
{
    cJSON *list = impossible->n > 0 ? cJSON_AddArrayToObject(report, "impossible") : NULL;
    for (int i = 0; i < impossible->n; i++) {
        cJSON *item = cJSON_CreateObject();
        report_add_text(item, "cache", impossible->caches[i].spec);
        report_add_text(item, "why", impossible->caches[i].why);
        cJSON_AddItemToArray(list, item);
    }
}
