/* Recipes: checks and sizes. */
#include "recipe.h"

#include <stddef.h>

bool tada_recipe_adapts(const tada_recipe *r)
{
    return r->axis == TADA_AXIS_CHANNEL && r->group == TADA_TILE_CELLS && r->scale == TADA_SCALE_16;
}

/* Enumerations count from 0. */
static bool is_member(int value, int last)
{
    return value >= 0 && value <= last;
}

const char *tada_recipe_problem(const tada_recipe *r)
{
    if (!is_member((int)r->centring, TADA_CENTRE_HEADS8) ||
        !is_member((int)r->rotation, TADA_ROTATE_HADAMARD) || !is_member((int)r->axis, TADA_AXIS_TOKEN) ||
        !is_member((int)r->scale, TADA_SCALE_8) || !is_member((int)r->search, TADA_SEARCH_ERROR)) {
        return "centring, rotation, axis, scale and search must be of their enumerations";
    }
    if (!r->quarters && r->bits != 2 && r->bits != 3 && r->bits != 4 && r->bits != 5 && r->bits != 6 &&
        r->bits != 8 && r->bits != 16) {
        return "bits must be 2, 3, 4, 5, 6, 8 or 16";
    }
    if (r->axis == TADA_AXIS_CHANNEL && r->group != 16 && r->group != 32 && r->group != 64) {
        return "group must be 16, 32 or 64 cells when the scale axis is channel";
    }
    if (r->axis == TADA_AXIS_TOKEN && (r->group < 16 || r->group > 256 || r->group % 16 != 0)) {
        return "group must be a multiple of 16 from 16 to 256 channels when the scale axis is token";
    }
    if (r->quarters && (r->quarters < 8 || r->quarters > 32)) {
        return "adaptive widths take 2 to 8 bits on average, in quarters";
    }
    if (r->quarters && r->bits != r->quarters / 4) {
        return "with adaptive widths, bits must be a fourth of the quarters, rounded down";
    }
    if (r->quarters && !tada_recipe_adapts(r)) {
        return "adaptive widths need axis channel, group 64 and scale 16";
    }
    if (r->scale == TADA_SCALE_8 && r->axis != TADA_AXIS_TOKEN) {
        return "scale 8 needs axis token";
    }
    return NULL;
}

const char *tada_window_bits_problem(int bits)
{
    return bits == 0 || bits == 8 || bits == 16 ? NULL : "window_bits must be 8 or 16";
}

static size_t word_bytes(const tada_recipe *r)
{
    return r->scale == TADA_SCALE_8 ? 1 : r->scale == TADA_SCALE_16 ? 2 : 4;
}

/* Half a byte for each 8 columns. */
static size_t widths_bytes(const tada_recipe *recipe, int columns)
{
    return recipe->quarters ? (size_t)columns / 16 : 0;
}

/* Of a tile's means over heads. A mean is worth having from two heads on; a head size that is not known may
 * turn out to be half the row. */
static size_t head_means_bytes(const tada_recipe *recipe, int width, int head_dim)
{
    bool full = recipe->centring == TADA_CENTRE_HEADS16;
    if ((!full && recipe->centring != TADA_CENTRE_HEADS8) || head_dim == width) {
        return 0;
    }
    return (size_t)TADA_TILE_CELLS * (size_t)(head_dim ? head_dim : width / 2) * (full ? 2 : 1);
}

bool tada_recipe_settles(const tada_recipe *recipe)
{
    return recipe->centring == TADA_CENTRE_NONE && recipe->scale != TADA_SCALE_32;
}

/* Not where decoded rows do not encode to themselves, nor where codes leave less than 2 of 8 bits. */
bool tada_recipe_refines(const tada_recipe *recipe)
{
    return tada_recipe_settles(recipe) && (recipe->quarters ? recipe->quarters < 32 : recipe->bits <= 6);
}

/* The most that a record of that size holds, and that codes of one width leave of 8 bits. Codes have 2 bits
 * or more on average, so there is room for 2 in any record. */
static int fine_bits(const tada_recipe *recipe, int columns, size_t record_bytes)
{
    int bits = !tada_recipe_refines(recipe) ? 0 : recipe->quarters ? 4 : 8 - recipe->bits;
    bits = bits < 4 ? bits : 4;
    while (bits > 0 && (size_t)(columns * TADA_TILE_CELLS * bits / 8) > record_bytes) {
        bits--;
    }
    return bits;
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
    layout.base_at = (size_t)words * word_bytes(recipe);
    layout.means_at = layout.base_at + (recipe->scale == TADA_SCALE_8 ? 1 : 0);
    layout.widths_at = layout.means_at + (recipe->centring == TADA_CENTRE_TOKENS ? (size_t)layout.unit : 0);
    layout.codes_at = layout.widths_at + widths_bytes(recipe, layout.unit);
    layout.record_bytes = layout.codes_at + tada_code_bytes(recipe, layout.unit);
    layout.head_means_bytes = head_means_bytes(recipe, width, head_dim);
    layout.fine_bits = fine_bits(recipe, layout.unit, layout.record_bytes);
    layout.fine_bytes = (size_t)(layout.unit * TADA_TILE_CELLS * layout.fine_bits / 8);
    return layout;
}

size_t tada_code_bytes(const tada_recipe *recipe, int width)
{
    if (recipe->quarters) {
        return (size_t)(width / 8 * recipe->quarters / 4) * TADA_TILE_CELLS;
    }
    return (size_t)width * TADA_TILE_CELLS * (size_t)recipe->bits / 8;
}

size_t tada_slot_bytes(const tada_recipe *recipe, int width, int head_dim)
{
    size_t groups =
        recipe->axis == TADA_AXIS_CHANNEL
            ? (size_t)width * (size_t)(TADA_TILE_CELLS / recipe->group)
            : (size_t)TADA_TILE_CELLS * (size_t)(width / recipe->group > 1 ? width / recipe->group : 1);
    size_t bytes = tada_code_bytes(recipe, width) + groups * word_bytes(recipe) + widths_bytes(recipe, width);
    if (recipe->centring == TADA_CENTRE_TOKENS) {
        bytes += (size_t)width;
    }
    bytes += head_means_bytes(recipe, width, head_dim);
    /* A unit has at least one group. */
    return bytes + (recipe->scale == TADA_SCALE_8 ? groups / TADA_TILE_CELLS : 0);
}

size_t tada_cold_bytes(const tada_recipe *recipe, int width, int head_dim)
{
    size_t bytes = tada_slot_bytes(recipe, width, head_dim);
    return recipe->scale == TADA_SCALE_8 ? bytes : (bytes + 63) / 64 * 64;
}
