#include "problem.h"

#include "codec/recipe.h"
#include "common/sizes.h"

enum { CELLS = TADA_TILE_CELLS };

static bool is_sound_shape(const tada_shape *s)
{
    return (s->kind == TADA_K || s->kind == TADA_V) && s->width >= 1 && s->width <= 1 << 20 &&
           s->n_cells >= 1 && s->n_cells <= (int64_t)1 << 40 && s->n_streams >= 1 &&
           s->n_streams <= 1 << 20 &&
           (s->head_dim == 0 || (s->head_dim > 0 && s->head_dim % 16 == 0 && s->width % s->head_dim == 0));
}

static bool is_sound_spec(const tada_spec *s, enum tada_kind kind)
{
    const tada_recipe *recipe = kind == TADA_K ? &s->k : &s->v;
    return !s->stock && !tada_recipe_problem(recipe) && (kind == TADA_K || !recipe->quarters) &&
           s->window >= 0 && s->window % CELLS == 0 && !tada_window_bits_problem(s->window_bits) &&
           (unsigned)s->refine <= TADA_REFINE_OFF && s->sinks >= 0 && s->sinks <= CELLS;
}

/* Whether no sum over the tiles overflows: all parts of a plane together take less than 8 times its tiles in
 * f16, and a table. */
static bool is_countable(const tada_shape *shape)
{
    enum { TABLE_BYTES = 1024 };
    size_t tiles = (size_t)tada_parts(shape->n_cells, CELLS) * (size_t)shape->n_streams;
    size_t tile_bytes = (size_t)shape->width * CELLS * 2;
    return tada_size_possible(tada_size_multiply(tiles, 8 * tile_bytes + TABLE_BYTES));
}

bool tada_plane_is_sound(const tada_spec *spec, const tada_shape *shape)
{
    return is_sound_shape(shape) && is_sound_spec(spec, shape->kind) && is_countable(shape);
}

const char *tada_rows_problem(enum tada_type type, size_t stride, int64_t n)
{
    if (type != TADA_F32 && type != TADA_F16) {
        return "Rows must be of type TADA_F32 or TADA_F16.";
    }
    if (n < 0) {
        return "The number of rows must be 0 or more.";
    }
    size_t value = type == TADA_F32 ? sizeof(float) : sizeof(uint16_t);
    bool possible =
        n <= 1 || (stride % value == 0 && tada_size_possible(tada_size_multiply((size_t)n - 1, stride)));
    return possible ? NULL
                    : "The stride of rows must be bytes of whole values, and the last row within memory.";
}
