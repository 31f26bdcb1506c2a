#include "problem.h"

#include "codec/recipe.h"
#include "common/sizes.h"

enum { CELLS = TADA_TILE_CELLS };

static const char *shape_problem(const tada_shape *s)
{
    if (s->kind != TADA_K && s->kind != TADA_V) {
        return "its kind must be TADA_K or TADA_V";
    }
    if (s->width < 1 || s->width > 1 << 20) {
        return "a row must have 1 to 1048576 values (width)";
    }
    if (s->n_cells < 1 || s->n_cells > (int64_t)1 << 40) {
        return "a stream must have 1 to 2^40 cells (n_cells)";
    }
    if (s->n_streams < 1 || s->n_streams > 1 << 20) {
        return "it must have 1 to 1048576 streams (n_streams)";
    }
    if (s->head_dim < 0 || (s->head_dim > 0 && (s->head_dim % 16 != 0 || s->width % s->head_dim != 0))) {
        return "the head size must be 0 or a multiple of 16 that divides the width (head_dim)";
    }
    return NULL;
}

static const char *spec_problem(const tada_spec *s, enum tada_kind kind)
{
    const tada_recipe *recipe = kind == TADA_K ? &s->k : &s->v;
    if (s->stock) {
        return "its spec is a stock cache type, which the host makes itself";
    }
    if (kind == TADA_V && recipe->quarters) {
        return "adaptive widths are for K (quarters)";
    }
    if (s->window < 0 || s->window % CELLS != 0) {
        return "the window must be 0 or a multiple of 64 cells";
    }
    if ((unsigned)s->refine > TADA_REFINE_OFF) {
        return "refine must be TADA_REFINE_ON or TADA_REFINE_OFF";
    }
    if (s->sinks < 0 || s->sinks > CELLS) {
        return "it must have 0 to 64 sinks";
    }
    const char *problem = tada_window_bits_problem(s->window_bits);
    return problem ? problem : tada_recipe_problem(recipe);
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

const char *tada_plane_problem(const tada_spec *spec, const tada_shape *shape)
{
    const char *problem = shape_problem(shape);
    problem = problem ? problem : spec_problem(spec, shape->kind);
    return problem || is_countable(shape) ? problem : "it needs more memory than there can be";
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

enum tada_status tada_cells_check(const tada_plane *p, const int64_t *cells, int64_t n, tada_error *error)
{
    int64_t total = p->shape.n_cells * p->shape.n_streams;
    if (n < 0) {
        return tada_fail(error, TADA_E_ARGUMENT, "The number of cells must be 0 or more.");
    }
    for (int64_t i = 0; i < n; i++) {
        if (cells[i] < 0 || cells[i] >= total) {
            return tada_fail(error, TADA_E_ARGUMENT, "Cell %lld does not exist: the plane has %lld.",
                             (long long)cells[i], (long long)total);
        }
    }
    return TADA_OK;
}
