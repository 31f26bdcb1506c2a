/* Cache specs: what their text names. */
#include "codec/recipe.h"

#include <stddef.h>
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

/* doc/results.md says what they come to. */
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

/* One digit or more at *text, which goes beyond them. By hand: strtol takes blanks and signs, strtod
 * hexadecimal numbers and exponents, and a comma for the point where a host has set such a locale. */
static bool parse_digits(const char **text, int *value)
{
    const char *start = *text;
    int number = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        number = number * 10 + (**text - '0');
        if (number > 1 << 24) {
            return false;
        }
    }
    *value = number;
    return *text > start;
}

static bool parse_number(const char *text, int *value)
{
    int number;
    if (!parse_digits(&text, &number) || *text) {
        return false;
    }
    *value = number;
    return true;
}

/* "3", "3.5", "3.25": quarters, which need two digits after the point at most. */
static bool parse_quarters(const char *text, int *quarters)
{
    int whole, hundredths = 0;
    if (!parse_digits(&text, &whole)) {
        return false;
    }
    if (*text == '.') {
        const char *start = ++text;
        if (!parse_digits(&text, &hundredths) || text - start > 2) {
            return false;
        }
        hundredths *= text - start == 1 ? 10 : 1;
    }
    if (*text || hundredths % 25 != 0 || whole > 1000) {
        return false;
    }
    *quarters = whole * 4 + hundredths / 25;
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
    int quarters;
    if (!parse_quarters(text, &quarters)) {
        return false;
    }
    r->bits = quarters / 4;
    bool whole = quarters % 4 == 0;
    if (!whole && !r->quarters) {
        return false;
    }
    /* Nothing adapts beyond these. */
    r->quarters = r->quarters && quarters >= 8 && quarters < 32 ? quarters : 0;
    return whole || r->quarters;
}

/* Options of a recipe whose value is one of some words. The number of a word is that of its enumerator. */
static const struct {
    const char *key, *words[5], *problem;
    size_t member; /* of tada_recipe: its offset */
} word_options[] = {
    {"rotate",
     {"none", "hadamard", NULL},
     "rotate must be none or hadamard",
     offsetof(tada_recipe, rotation)},
    {"axis", {"channel", "token", NULL}, "axis must be channel or token", offsetof(tada_recipe, axis)},
    {"centre",
     {"none", "tokens", "heads16", "heads8", NULL},
     "centre must be none, tokens, heads16 or heads8",
     offsetof(tada_recipe, centring)},
    {"scale", {"16", "32", "8", NULL}, "scale must be 8, 16 or 32", offsetof(tada_recipe, scale)},
    {"search", {"minmax", "error", NULL}, "search must be minmax or error", offsetof(tada_recipe, search)},
};
_Static_assert(sizeof(enum tada_rotation) == sizeof(int) && sizeof(enum tada_axis) == sizeof(int) &&
                   sizeof(enum tada_centring) == sizeof(int) && sizeof(enum tada_scale) == sizeof(int) &&
                   sizeof(enum tada_search) == sizeof(int),
               "enumerators are written as ints");

/* "widths=equal" or "widths=adaptive"; NULL or what is wrong. */
static const char *set_widths(tada_recipe *r, const char *value)
{
    static const char *const rules[] = {"equal", "adaptive", NULL};
    int choice;
    if (!parse_choice(value, rules, &choice)) {
        return "widths must be equal or adaptive";
    }
    if (choice == 0 && r->quarters % 4 != 0) {
        return "equal widths need a whole number of bits";
    }
    r->quarters = choice ? (r->quarters ? r->quarters : r->bits * 4) : 0;
    return NULL;
}

/* One "key=value" for one recipe; NULL or what is wrong. */
static const char *set_recipe(tada_recipe *r, const char *key, const char *value)
{
    if (strcmp(key, "bits") == 0) {
        return parse_bits(value, r) ? NULL : "bits must be a number, whole where widths are equal";
    }
    if (strcmp(key, "group") == 0) {
        return parse_number(value, &r->group) ? NULL : "group must be a number";
    }
    if (strcmp(key, "widths") == 0) {
        return set_widths(r, value);
    }
    for (size_t i = 0; i < sizeof word_options / sizeof *word_options; i++) {
        int choice;
        if (strcmp(key, word_options[i].key) != 0) {
            continue;
        }
        if (!parse_choice(value, word_options[i].words, &choice)) {
            return word_options[i].problem;
        }
        memcpy((char *)r + word_options[i].member, &choice, sizeof choice);
        return NULL;
    }
    return "options are window, window_bits, refine, sinks, bits, widths, group, rotate, axis, centre, "
           "scale, search";
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

/* ---- what has been given ---- */

static const char *const keys[] = {"window", "window_bits", "refine", "sinks", "bits",   "widths", "group",
                                   "rotate", "axis",        "centre", "scale", "search", NULL};

/* How each option of K and of V was given: not at all, for both of them, or with its letter. */
typedef struct spec_given {
    uint8_t how[2][sizeof keys / sizeof *keys];
    char problem[64];
} spec_given;

enum { NOT_GIVEN, FOR_BOTH, FOR_ONE };

/* Notes an option, unless it is unknown; NULL or what is wrong: it would set again what was set before. Only
 * one with a letter after one for both has a meaning of its own. */
static const char *note_given(spec_given *given, const char *key)
{
    bool only_k = strncmp(key, "k.", 2) == 0, only_v = strncmp(key, "v.", 2) == 0;
    uint8_t how = only_k || only_v ? FOR_ONE : FOR_BOTH;
    int index;
    bool once = true;
    if (!parse_choice(key + (how == FOR_ONE ? 2 : 0), keys, &index)) {
        return NULL;
    }
    for (int kind = only_v ? 1 : 0; kind <= (only_k ? 0 : 1); kind++) {
        once = once && given->how[kind][index] < how;
        given->how[kind][index] = how;
    }
    if (once) {
        return NULL;
    }
    snprintf(given->problem, sizeof given->problem, "'%s' sets again what was set before", key);
    return given->problem;
}

static bool is_given(const spec_given *given, enum tada_kind kind, const char *key)
{
    int index;
    return parse_choice(key, keys, &index) && given->how[kind == TADA_V][index] != NOT_GIVEN;
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
                 "3.5/3 (2 to 6, 8 or 16; of K also fractions in quarters)";
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

/* What follows a name, after a colon: bits (only after "tada") and options. NULL or what is wrong. */
static const char *parse_rest(char *rest, bool may_have_bits, tada_spec *spec, spec_given *given)
{
    const char *problem = NULL;
    for (bool first = may_have_bits; rest && !problem; first = false) {
        char *part = strsep(&rest, ":"), *value = strchr(part, '=');
        if (value) {
            *value++ = '\0';
            problem = note_given(given, part);
            problem = problem ? problem : set_option(spec, part, value);
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

/* What a name sets but was not asked for is taken back where other options rule it out. */
static void set_defaults(tada_spec *spec, const spec_given *given)
{
    if (!is_given(given, TADA_K, "widths") && spec->k.quarters % 4 == 0 && !tada_recipe_adapts(&spec->k)) {
        spec->k.quarters = 0;
    }
    /* Scale words of 8 bits also want short codes: the middle of longer ones is too far from zero. */
    if (!is_given(given, TADA_V, "scale") && spec->v.scale == TADA_SCALE_8 &&
        (spec->v.axis != TADA_AXIS_TOKEN || spec->v.bits > 4)) {
        spec->v.scale = TADA_SCALE_16;
    }
}

enum tada_status tada_spec_parse(const char *text, tada_spec *spec, tada_error *error)
{
    tada_spec result;
    char copy[256];
    if (!*text) {
        return tada_fail(error, TADA_E_ARGUMENT,
                         "A cache spec is empty: write one, such as tada, or take out a comma.");
    }
    if (tada_spec_plan_path(text)) {
        /* Before the limit of length: paths may be longer. */
        find_named("tada", spec);
        spec->plan = true;
        return TADA_OK;
    }
    if (strlen(text) >= sizeof copy) {
        return tada_fail(error, TADA_E_ARGUMENT, "The cache spec is too long: use at most 255 characters.");
    }
    strcpy(copy, text);
    size_t name = find_named(text, &result);
    if (name == 0) {
        enum tada_status status = parse_stock(copy, &result, error);
        *spec = status == TADA_OK ? result : *spec;
        return status;
    }
    const char *problem = NULL;
    spec_given given = {0};
    if (text[name]) {
        problem = parse_rest(copy + name + 1, name == strlen("tada"), &result, &given);
    }
    set_defaults(&result, &given);
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
