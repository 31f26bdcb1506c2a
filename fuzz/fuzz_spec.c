/* Cache specs: any text is read or refused with a reason, and what is read can be written and read again. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same_recipe(const tada_recipe *a, const tada_recipe *b)
{
    return a->bits == b->bits && a->group == b->group && a->centring == b->centring &&
           a->rotation == b->rotation && a->axis == b->axis && a->scale == b->scale &&
           a->search == b->search && a->quarters == b->quarters && a->weights == b->weights;
}

/* All options of one plane; those that decide how others are read come first. */
static void print_recipe(const tada_recipe *r, char plane, char *text, size_t size)
{
    static const char *const centrings[] = {"none", "tokens", "heads16", "heads8"};
    size_t length = strlen(text);
    snprintf(text + length, size - length,
             ":%c.axis=%s:%c.group=%d:%c.scale=%d:%c.rotate=%s:%c.centre=%s:%c.search=%s", plane,
             r->axis == TADA_AXIS_CHANNEL ? "channel" : "token", plane, r->group, plane,
             r->scale == TADA_SCALE_8    ? 8
             : r->scale == TADA_SCALE_16 ? 16
                                         : 32,
             plane, r->rotation ? "hadamard" : "none", plane, centrings[r->centring], plane,
             r->search == TADA_SEARCH_MINMAX ? "minmax" : "error");
}

static int bits_of_window(const tada_spec *spec)
{
    return spec->window_bits ? spec->window_bits : 16;
}

static void check_again(const char *text, const tada_spec *spec)
{
    char again[512], k[32];
    tada_spec back;
    tada_error error = {""};
    if (spec->plan) {
        return;
    }
    if (spec->stock) {
        snprintf(again, sizeof again, "%s/%s", spec->stock_k, spec->stock_v);
    } else {
        snprintf(k, sizeof k, "%g", spec->k.quarters ? spec->k.quarters / 4.0 : spec->k.bits);
        snprintf(again, sizeof again, "tada:%s/%d:window=%d:sinks=%d", k, spec->v.bits, spec->window,
                 spec->sinks);
        size_t length = strlen(again);
        snprintf(again + length, sizeof again - length, ":window_bits=%d:refine=%s", bits_of_window(spec),
                 spec->refine == TADA_REFINE_OFF ? "off" : "on");
        print_recipe(&spec->k, 'k', again, sizeof again);
        print_recipe(&spec->v, 'v', again, sizeof again);
        strcat(again, spec->k.quarters ? ":k.widths=adaptive" : ":k.widths=equal");
    }
    if (strlen(again) > 255) {
        return;
    }
    if (tada_spec_parse(again, &back, &error) != TADA_OK) {
        fuzz_fail("'%s', read from '%s', is refused: %s", again, text, error.text);
    }
    if (back.window != spec->window || bits_of_window(&back) != bits_of_window(spec) ||
        back.refine != spec->refine || back.sinks != spec->sinks || back.stock != spec->stock ||
        strcmp(back.stock_k, spec->stock ? spec->stock_k : back.stock_k) != 0 ||
        strcmp(back.stock_v, spec->stock ? spec->stock_v : back.stock_v) != 0 ||
        (!spec->stock && (!same_recipe(&back.k, &spec->k) || !same_recipe(&back.v, &spec->v)))) {
        fuzz_fail("'%s' means something else than '%s'", again, text);
    }
}

/* No option may be given twice. */
static void check_twice(const char *text)
{
    char twice[512];
    tada_spec spec;
    const char *last = strrchr(text, ':');
    if (tada_spec_plan_path(text) || !last || !strchr(last, '=')) {
        return;
    }
    snprintf(twice, sizeof twice, "%s%s", text, last);
    if (tada_spec_parse(twice, &spec, NULL) == TADA_OK) {
        fuzz_fail("'%s' is accepted", twice);
    }
}

/* Shapes of every kind: sizes that fit together, and no plane in too little memory. */
static void check_sizes(const tada_spec *spec)
{
    static const int widths[] = {1, 16, 48, 64, 576, 1024, 1 << 20, 0, -16};
    static const int heads[] = {0, 16, 48, 64, 128, 40, -16};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (size_t h = 0; h < sizeof heads / sizeof *heads; h++) {
            tada_shape shape = {(enum tada_kind)(h % 2), widths[w], 300, 2, heads[h]};
            tada_plane_parts parts;
            size_t bytes = tada_plane_bytes(spec, &shape);
            bool sound = tada_plane_measure(spec, &shape, &parts);
            if (sound != (bytes > 0) || parts.codes + parts.window + parts.sinks + parts.table != bytes) {
                fuzz_fail("the parts of a plane of width %d are not the whole", widths[w]);
            }
            tada_plane_batch_bytes(spec, &shape, 512);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_memory(size);
    tada_error error = {""};
    tada_spec spec, before;
    memset(&spec, 0x5a, sizeof spec);
    before = spec;
    memcpy(text, data, size);
    text[size] = '\0';
    const char *path = tada_spec_plan_path(text);
    if (path && (path < text || path > text + strlen(text))) {
        fuzz_fail("the path of a plan is not in the text");
    }
    if (tada_spec_parse(text, &spec, &error) == TADA_OK) {
        if (spec.plan != (path != NULL)) {
            fuzz_fail("'%s' is a plan, or not", text);
        }
        check_again(text, &spec);
        check_twice(text);
        check_sizes(&spec);
    } else if (memcmp(&spec, &before, sizeof spec) != 0 || strlen(error.text) < 10 ||
               tada_spec_parse(text, &spec, NULL) == TADA_OK) {
        fuzz_fail("'%s' is refused, but not as it should be", text);
    }
    free(text);
    return 0;
}
