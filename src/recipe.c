/* Recipes and cache specs: parsing, checks, sizes. */
#include "recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum tada_status tada_fail(tada_error *error, enum tada_status status, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return status;
}

const char *tada_recipe_problem(const tada_recipe *r)
{
    if (r->bits != 2 && r->bits != 3 && r->bits != 4 && r->bits != 5 && r->bits != 6 && r->bits != 8 &&
        r->bits != 16) {
        return "bits must be 2, 3, 4, 5, 6, 8 or 16";
    }
    if (r->axis == TADA_AXIS_CHANNEL && r->group != 16 && r->group != 32 && r->group != 64) {
        return "group must be 16, 32 or 64 cells when the scale axis is channel";
    }
    if (r->axis == TADA_AXIS_TOKEN && (r->group < 16 || r->group > 256 || r->group % 16 != 0)) {
        return "group must be a multiple of 16 from 16 to 256 channels when the scale axis is token";
    }
    return NULL;
}

tada_layout tada_layout_make(const tada_recipe *recipe, int width, int head_dim)
{
    tada_layout layout = {.width = width, .head_dim = head_dim, .n_heads = width / head_dim, .rotation = 1};
    if (recipe->rotation == TADA_ROTATE_HADAMARD) {
        layout.rotation = head_dim & -head_dim;
    }
    if (recipe->axis == TADA_AXIS_CHANNEL) {
        layout.group = recipe->group;
        layout.n_groups = TADA_TILE_CELLS / recipe->group;
    } else {
        /* The most groups that the memory allows such that a group neither straddles heads nor splits 16
         * channels. */
        int most = width / recipe->group > 1 ? width / recipe->group : 1;
        layout.n_groups = 1;
        for (int n = most; n > 1; n--) {
            int group = width / n;
            if (width % n == 0 && group % 16 == 0 && (head_dim % group == 0 || group % head_dim == 0)) {
                layout.n_groups = n;
                break;
            }
        }
        layout.group = width / layout.n_groups;
    }
    layout.unit = recipe->axis == TADA_AXIS_TOKEN && layout.group > head_dim ? layout.group : head_dim;
    layout.n_units = width / layout.unit;
    int words = recipe->axis == TADA_AXIS_CHANNEL ? layout.n_groups * layout.unit
                                                  : TADA_TILE_CELLS * (layout.unit / layout.group);
    layout.means_at = (size_t)words * (recipe->scale == TADA_SCALE_16 ? 2 : 4);
    layout.codes_at = layout.means_at + (recipe->centring == TADA_CENTRE_TOKENS ? (size_t)layout.unit : 0);
    layout.record_bytes = layout.codes_at + tada_code_bytes(recipe, layout.unit);
    if (layout.n_heads > 1 && recipe->centring == TADA_CENTRE_HEADS16) {
        layout.head_means_bytes = 2 * TADA_TILE_CELLS * (size_t)head_dim;
    } else if (layout.n_heads > 1 && recipe->centring == TADA_CENTRE_HEADS8) {
        layout.head_means_bytes = TADA_TILE_CELLS * (size_t)head_dim;
    }
    return layout;
}

size_t tada_code_bytes(const tada_recipe *recipe, int width)
{
    return (size_t)width * TADA_TILE_CELLS * (size_t)recipe->bits / 8;
}

size_t tada_cold_bytes(const tada_recipe *recipe, int width)
{
    size_t groups =
        recipe->axis == TADA_AXIS_CHANNEL
            ? (size_t)width * (size_t)(TADA_TILE_CELLS / recipe->group)
            : (size_t)TADA_TILE_CELLS * (size_t)(width / recipe->group > 1 ? width / recipe->group : 1);
    size_t bytes = tada_code_bytes(recipe, width) + groups * (recipe->scale == TADA_SCALE_16 ? 2 : 4);
    if (recipe->centring == TADA_CENTRE_TOKENS) {
        bytes += (size_t)width;
    } else if (recipe->centring != TADA_CENTRE_NONE) {
        /* The head size is not known yet when memory is asked for; a mean is worth having from two heads on.
         */
        bytes +=
            (size_t)TADA_TILE_CELLS * (size_t)(width / 2) * (recipe->centring == TADA_CENTRE_HEADS16 ? 2 : 1);
    }
    return (bytes + 63) / 64 * 64;
}

/* ---- specs ---- */

static const tada_recipe default_k = {
    4, 64, TADA_CENTRE_NONE, TADA_ROTATE_NONE, TADA_AXIS_CHANNEL, TADA_SCALE_16, TADA_SEARCH_ERROR};
static const tada_recipe default_v = {
    4, 64, TADA_CENTRE_NONE, TADA_ROTATE_HADAMARD, TADA_AXIS_TOKEN, TADA_SCALE_16, TADA_SEARCH_ERROR};
/* Section 3 of the paper: mean over the heads in 16 bits, one 16-bit scale and zero per 128 values, no
 * search. */
static const tada_recipe paper = {
    4, 128, TADA_CENTRE_HEADS16, TADA_ROTATE_NONE, TADA_AXIS_TOKEN, TADA_SCALE_32, TADA_SEARCH_MINMAX};

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

/* One "key=value" for one recipe; NULL or what is wrong. */
static const char *set_recipe(tada_recipe *r, const char *key, const char *value)
{
    static const char *const rotations[] = {"none", "hadamard", NULL};
    static const char *const axes[] = {"channel", "token", NULL};
    static const char *const centrings[] = {"none", "tokens", "heads16", "heads8", NULL};
    static const char *const searches[] = {"minmax", "error", NULL};
    static const char *const scales[] = {"16", "32", NULL};
    int choice;
    if (strcmp(key, "bits") == 0) {
        return parse_number(value, &r->bits) ? NULL : "bits must be a number";
    }
    if (strcmp(key, "group") == 0) {
        return parse_number(value, &r->group) ? NULL : "group must be a number";
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
            return "scale must be 16 or 32";
        }
        r->scale = (enum tada_scale)choice;
    } else {
        return "options are window, sinks, bits, group, rotate, axis, centre, scale, search";
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

/* "BITS", "K/V" or "paper", the first part after "tada:"; NULL or what is wrong. */
static const char *set_level(tada_spec *spec, char *level)
{
    static const char *const help =
        "after 'tada:' comes BITS, K/V (bits of K and V) or paper, with bits 2 to 6, 8 or 16";
    if (strcmp(level, "paper") == 0) {
        spec->k = spec->v = paper;
        spec->sinks = 0;
        return NULL;
    }
    char *slash = strchr(level, '/');
    if (slash) {
        *slash++ = '\0';
    }
    return parse_number(level, &spec->k.bits) && parse_number(slash ? slash : level, &spec->v.bits) ? NULL
                                                                                                    : help;
}

enum tada_status tada_spec_parse(const char *text, tada_spec *spec, tada_error *error)
{
    tada_spec result = {.k = default_k, .v = default_v, .window = 128, .sinks = 4};
    char copy[256];
    if (strlen(text) >= sizeof copy) {
        return tada_fail(error, TADA_E_ARGUMENT, "The cache spec is too long: use at most 255 characters.");
    }
    strcpy(copy, text);
    const char *problem = NULL;
    char *rest = copy;
    char *part = strsep(&rest, ":");
    if (strcmp(part, "tada") != 0) {
        char *v = strchr(part, '/');
        if (v) {
            *v++ = '\0';
        }
        v = v ? v : part;
        if (rest || !is_stock(part) || !is_stock(v)) {
            return tada_fail(error, TADA_E_ARGUMENT,
                             "Unknown cache spec '%.60s': use tada, tada:4, tada:4/3 (bits of K/V), "
                             "tada:paper, or a stock "
                             "type such as f16, q8_0 or q8_0/q4_0.",
                             text);
        }
        result.stock = true;
        strcpy(result.stock_k, part);
        strcpy(result.stock_v, v);
        *spec = result;
        return TADA_OK;
    }
    for (bool first = true; rest && !problem; first = false) {
        part = strsep(&rest, ":");
        char *value = strchr(part, '=');
        if (value) {
            *value++ = '\0';
            problem = set_option(&result, part, value);
        } else if (first) {
            problem = set_level(&result, part);
        } else {
            problem = "options have the form key=value";
        }
    }
    problem = problem ? problem : tada_recipe_problem(&result.k);
    problem = problem ? problem : tada_recipe_problem(&result.v);
    if (problem) {
        return tada_fail(error, TADA_E_ARGUMENT, "Cache spec '%.60s' is not valid: %s.", text, problem);
    }
    *spec = result;
    return TADA_OK;
}
