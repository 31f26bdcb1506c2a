/* Cache specs: what their text names. */
#include "recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what names stand for ---- */

#define K_OF(quarters)                                                                                       \
    {                                                                                                        \
        (quarters) / 4, 64, TADA_CENTRE_NONE, TADA_ROTATE_NONE, TADA_AXIS_CHANNEL, TADA_SCALE_16,            \
            TADA_SEARCH_ERROR, (quarters), NULL                                                              \
    }
#define V_OF(bits, scale)                                                                                    \
    {                                                                                                        \
        (bits), 64, TADA_CENTRE_NONE, TADA_ROTATE_HADAMARD, TADA_AXIS_TOKEN, (scale), TADA_SEARCH_ERROR, 0,  \
            NULL                                                                                             \
    }
/* KIVI (arXiv 2402.02750): K by channel, V by token, groups of 32, the last 128 tokens exact, plain minimum
 * and maximum in 16 bits each. */
#define KIVI(bits)                                                                                           \
    {                                                                                                        \
        {(bits),                                                                                             \
         32,                                                                                                 \
         TADA_CENTRE_NONE,                                                                                   \
         TADA_ROTATE_NONE,                                                                                   \
         TADA_AXIS_CHANNEL,                                                                                  \
         TADA_SCALE_32,                                                                                      \
         TADA_SEARCH_MINMAX,                                                                                 \
         0,                                                                                                  \
         NULL},                                                                                              \
            {(bits),                                                                                         \
             32,                                                                                             \
             TADA_CENTRE_NONE,                                                                               \
             TADA_ROTATE_NONE,                                                                               \
             TADA_AXIS_TOKEN,                                                                                \
             TADA_SCALE_32,                                                                                  \
             TADA_SEARCH_MINMAX,                                                                             \
             0,                                                                                              \
             NULL},                                                                                          \
            .window = 128                                                                                    \
    }
/* Section 3 of the paper: mean over the heads in 16 bits, one 16-bit scale and zero per 128 values, no
 * search. */
#define PAPER                                                                                                \
    {                                                                                                        \
        4, 128, TADA_CENTRE_HEADS16, TADA_ROTATE_NONE, TADA_AXIS_TOKEN, TADA_SCALE_32, TADA_SEARCH_MINMAX,   \
            0, NULL                                                                                          \
    }

/* The README's table says how they were chosen. */
static const struct {
    const char *name;
    tada_spec spec;
} named[] = {
    {"tada", {K_OF(16), V_OF(3, TADA_SCALE_8), .window = 64, .window_bits = 8, .sinks = 4}},
    {"tada:high", {K_OF(21), V_OF(5, TADA_SCALE_16), .window = 64, .window_bits = 8, .sinks = 4}},
    {"tada:balanced", {K_OF(16), V_OF(3, TADA_SCALE_8), .window = 64, .window_bits = 8, .sinks = 4}},
    {"tada:compact", {K_OF(14), V_OF(3, TADA_SCALE_8), .window = 0, .window_bits = 8, .sinks = 4}},
    {"tada:paper", {PAPER, PAPER, .window = 128}},
    {"kivi:2", KIVI(2)},
    {"kivi:4", KIVI(4)},
};

/* ---- parsing ---- */

static bool parse_number(const char *text, int *value)
{
    char *end;
    if (*text < '0' || *text > '9') {
        return false;
    }
    long number = strtol(text, &end, 10);
    if (*end || number > 1 << 24) {
        return false;
    }
    *value = (int)number;
    return true;
}

static bool parse_choice(const char *text, const char *const *names, int *value)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *value = i;
            return true;
        }
    }
    return false;
}

/* "4", or where widths adapt also "3.5" or "3.25". */
static bool parse_bits(const char *text, tada_recipe *r)
{
    char *end;
    double bits = *text >= '0' && *text <= '9' ? strtod(text, &end) : -1;
    if (bits < 0 || *end || bits > 1000 || bits * 4 != (int)(bits * 4)) {
        return false;
    }
    r->bits = (int)bits;
    bool whole = r->bits == bits;
    if (!whole && !r->quarters) {
        return false;
    }
    /* Nothing adapts beyond these. */
    r->quarters = r->quarters && bits >= 2 && bits < 8 ? (int)(bits * 4) : 0;
    return whole || r->quarters;
}

/* One "key=value" for one recipe; NULL or what is wrong. */
static const char *set_recipe(tada_recipe *r, const char *key, const char *value)
{
    static const char *const rotations[] = {"none", "hadamard", NULL};
    static const char *const axes[] = {"channel", "token", NULL};
    static const char *const centrings[] = {"none", "tokens", "heads16", "heads8", NULL};
    static const char *const searches[] = {"minmax", "error", NULL};
    static const char *const scales[] = {"16", "32", "8", NULL};
    static const char *const width_rules[] = {"equal", "adaptive", NULL};
    int choice;
    if (strcmp(key, "bits") == 0) {
        return parse_bits(value, r) ? NULL : "bits must be a number, whole where widths are equal";
    }
    if (strcmp(key, "group") == 0) {
        return parse_number(value, &r->group) ? NULL : "group must be a number";
    }
    if (strcmp(key, "widths") == 0) {
        if (!parse_choice(value, width_rules, &choice)) {
            return "widths must be equal or adaptive";
        }
        if (choice == 0 && r->quarters % 4 != 0) {
            return "equal widths need a whole number of bits";
        }
        r->quarters = choice ? (r->quarters ? r->quarters : r->bits * 4) : 0;
        return NULL;
    }
    if (strcmp(key, "rotate") == 0) {
        if (!parse_choice(value, rotations, &choice)) {
            return "rotate must be none or hadamard";
        }
        r->rotation = (enum tada_rotation)choice;
    } else if (strcmp(key, "axis") == 0) {
        if (!parse_choice(value, axes, &choice)) {
            return "axis must be channel or token";
        }
        r->axis = (enum tada_axis)choice;
    } else if (strcmp(key, "centre") == 0) {
        if (!parse_choice(value, centrings, &choice)) {
            return "centre must be none, tokens, heads16 or heads8";
        }
        r->centring = (enum tada_centring)choice;
    } else if (strcmp(key, "search") == 0) {
        if (!parse_choice(value, searches, &choice)) {
            return "search must be minmax or error";
        }
        r->search = (enum tada_search)choice;
    } else if (strcmp(key, "scale") == 0) {
        if (!parse_choice(value, scales, &choice)) {
            return "scale must be 8, 16 or 32";
        }
        r->scale = (enum tada_scale)choice;
    } else {
        return "options are window, window_bits, refine, sinks, bits, widths, group, rotate, axis, centre, "
               "scale, search";
    }
    return NULL;
}

static const char *set_option(tada_spec *spec, const char *key, const char *value)
{
    if (strcmp(key, "window") == 0) {
        return parse_number(value, &spec->window) && spec->window % TADA_TILE_CELLS == 0
                   ? NULL
                   : "window must be a multiple of 64";
    }
    if (strcmp(key, "window_bits") == 0) {
        return parse_number(value, &spec->window_bits) && spec->window_bits != 0
                   ? tada_window_bits_problem(spec->window_bits)
                   : "window_bits must be 8 or 16";
    }
    if (strcmp(key, "refine") == 0) {
        static const char *const choices[] = {"on", "off", NULL};
        int choice = 0;
        bool known = parse_choice(value, choices, &choice);
        spec->refine = (enum tada_refine)choice;
        return known ? NULL : "refine must be on or off";
    }
    if (strcmp(key, "sinks") == 0) {
        return parse_number(value, &spec->sinks) && spec->sinks <= TADA_TILE_CELLS
                   ? NULL
                   : "sinks must be a number of cells from 0 to 64";
    }
    const char *problem = NULL;
    bool only_k = strncmp(key, "k.", 2) == 0, only_v = strncmp(key, "v.", 2) == 0;
    key += only_k || only_v ? 2 : 0;
    if (!only_v) {
        problem = set_recipe(&spec->k, key, value);
    }
    if (!only_k && !problem) {
        problem = set_recipe(&spec->v, key, value);
    }
    return problem;
}

static bool is_stock(const char *name)
{
    static const char *const types[] = {"f32",  "f16",    "bf16", "q8_0", "q4_0",
                                        "q4_1", "iq4_nl", "q5_0", "q5_1", NULL};
    int choice;
    return parse_choice(name, types, &choice);
}

/* The named spec that `text` is, or starts with up to a colon; the longest one. Its length, or 0. */
static size_t find_named(const char *text, tada_spec *spec)
{
    size_t found = 0;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        size_t length = strlen(named[i].name);
        if (length > found && strncmp(text, named[i].name, length) == 0 &&
            (text[length] == '\0' || text[length] == ':')) {
            *spec = named[i].spec;
            found = length;
        }
    }
    return found;
}

/* "BITS" or "K/V" after "tada:"; NULL or what is wrong. */
static const char *set_bits(tada_spec *spec, char *bits)
{
    char *slash = strchr(bits, '/');
    if (slash) {
        *slash++ = '\0';
    }
    return parse_bits(bits, &spec->k) && parse_bits(slash ? slash : bits, &spec->v)
               ? NULL
               : "after 'tada:' comes high, balanced, compact, paper, or the bits of K and V as in 4 or "
                 "3.5/3 (2 to "
                 "6, 8 or 16; of K also fractions in quarters)";
}

static enum tada_status parse_stock(char *text, tada_spec *spec, tada_error *error)
{
    char k[16], v[16];
    int end = 0;
    bool both = sscanf(text, "%15[^/:]/%15[^/:]%n", k, v, &end) == 2 && !text[end];
    bool one = !both && sscanf(text, "%15[^/:]%n", k, &end) == 1 && !text[end];
    if ((!both && !one) || !is_stock(k) || (both && !is_stock(v))) {
        return tada_fail(
            error, TADA_E_ARGUMENT,
            "Unknown cache spec '%.60s': use tada, tada:high, tada:compact, tada:4/3 (bits of K/V), "
            "tada:paper, tada:@FILE (a plan), kivi:2, kivi:4, or a stock type such as f16, q8_0 or "
            "q8_0/q4_0.",
            text);
    }
    *spec = (tada_spec){.stock = true};
    strcpy(spec->stock_k, k);
    strcpy(spec->stock_v, both ? v : k);
    return TADA_OK;
}

/* What follows a name, after a colon: bits (only after "tada") and options. */
static const char *parse_rest(char *rest, bool may_have_bits, tada_spec *spec)
{
    const char *problem = NULL;
    for (bool first = may_have_bits; rest && !problem; first = false) {
        char *part = strsep(&rest, ":"), *value = strchr(part, '=');
        if (value) {
            *value++ = '\0';
            problem = set_option(spec, part, value);
        } else {
            problem = first ? set_bits(spec, part) : "options have the form key=value";
        }
    }
    return problem;
}

const char *tada_spec_plan_path(const char *text)
{
    static const char start[] = "tada:@";
    return strncmp(text, start, strlen(start)) == 0 && text[strlen(start)] ? text + strlen(start) : NULL;
}

enum tada_status tada_spec_parse(const char *text, tada_spec *spec, tada_error *error)
{
    tada_spec result;
    char copy[256];
    if (strlen(text) >= sizeof copy) {
        return tada_fail(error, TADA_E_ARGUMENT, "The cache spec is too long: use at most 255 characters.");
    }
    strcpy(copy, text);
    if (tada_spec_plan_path(text)) {
        find_named("tada", spec);
        spec->plan = true;
        return TADA_OK;
    }
    size_t name = find_named(text, &result);
    if (name == 0) {
        enum tada_status status = parse_stock(copy, &result, error);
        *spec = status == TADA_OK ? result : *spec;
        return status;
    }
    const char *problem = NULL;
    if (text[name]) {
        problem = parse_rest(copy + name + 1, name == strlen("tada"), &result);
    }
    /* Adaptive widths are the default of K, where its other options allow them. */
    if (!strstr(text, "widths=adaptive") && result.k.quarters % 4 == 0 && !tada_recipe_adapts(&result.k)) {
        result.k.quarters = 0;
    }
    /* So are words of 8 bits of V, and where codes are short: the middle of longer ones is too far from zero.
     */
    if (!strstr(text, "scale=8") && result.v.scale == TADA_SCALE_8 &&
        (result.v.axis != TADA_AXIS_TOKEN || result.v.bits > 4)) {
        result.v.scale = TADA_SCALE_16;
    }
    if (!problem && result.v.quarters) {
        problem = "adaptive widths are for K: write k.widths";
    }
    problem = problem ? problem : tada_recipe_problem(&result.k);
    problem = problem ? problem : tada_recipe_problem(&result.v);
    if (problem) {
        return tada_fail(error, TADA_E_ARGUMENT, "Cache spec '%.60s' is not valid: %s.", text, problem);
    }
    *spec = result;
    return TADA_OK;
}
