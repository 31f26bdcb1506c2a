#include "cache_shift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

/* One row of the model, turned. */
static void turn(const tada_rope *rope, double distance, const uint16_t *row, int width, double *x)
{
    int half = rope->n_dims / 2;
    bool apart = rope->pairs == TADA_ROPE_HALVES;
    for (int d = 0; d < width; d++) {
        x[d] = fuzz_half(row[d]);
    }
    for (int h = 0; h < rope->n_heads; h++) {
        for (int i = 0; i < half; i++) {
            double *a = x + rope->column + h * rope->head_stride + (apart ? i : 2 * i),
                   *b = a + (apart ? half : 1), first = *a, second = *b;
            double angle = distance * pow((double)rope->freq_base, -2.0 * i / rope->n_dims);
            *a = first * cos(angle) - second * sin(angle);
            *b = first * sin(angle) + second * cos(angle);
        }
    }
}

/* Rounded, not always to nearest: what is compared with it is only near. */
static uint16_t near_half(double x)
{
    int exponent = -13;
    frexp(x, &exponent);
    exponent = fabs(x) < 0x1p-14 ? -13 : exponent;
    return (uint16_t)((signbit(x) ? 0x8000 : 0) + (int)nearbyint(ldexp(fabs(x), 11 - exponent)) +
                      (exponent + 13) * 1024);
}

static bool in_codes(const cache_model *m, int64_t tile, int64_t cell)
{
    return m->compressed && !m->hot[tile] && cache_model_written(m, cell) &&
           cell % m->shape.n_cells >= m->spec.sinks && !m->marks[cell];
}

/* Whether tiles keep their codes, those that move as one or in two parts. */
static bool remembers(const cache_model *m, const tada_rope *rope)
{
    int head = m->shape.head_dim ? m->shape.head_dim : m->shape.width;
    return m->compressed && m->shape.kind == TADA_K && rope->column % head + rope->n_dims <= head &&
           (rope->n_heads == 1 || rope->head_stride == head);
}

static int64_t first_cell(const cache_model *m, int64_t tile)
{
    return tile / m->tiles_per_stream * m->shape.n_cells + tile % m->tiles_per_stream * CELLS;
}

static int64_t end_cell(const cache_model *m, int64_t tile)
{
    int64_t left = m->shape.n_cells - tile % m->tiles_per_stream * CELLS;
    return first_cell(m, tile) + (left < CELLS ? left : CELLS);
}

/* Whether a tile has codes, or has kept some, of which not all move by the same distance. */
static bool is_mixed(const cache_model *m, const int32_t *deltas, int64_t tile)
{
    const int32_t *one = NULL;
    bool mixed = false, open = m->hot[tile] && m->layered[tile];
    for (int64_t cell = first_cell(m, tile); cell < end_cell(m, tile); cell++) {
        if (in_codes(m, tile, cell) || (open && cache_model_written(m, cell))) {
            one = one ? one : &deltas[cell];
            mixed = mixed || *one != deltas[cell];
        }
    }
    return mixed;
}

/* A row that is not encoded again has been turned, and rounded when it was read before and now. */
static void take_row(cache_model *m, int64_t cell, int32_t distance, const double *want, const uint16_t *now)
{
    double most = 0;
    for (int d = 0; d < m->shape.width; d++) {
        most = fmax(most, fabs(want[d]));
    }
    most = distance == 0 ? 0 : 1.5 * most * (2 * 0x1p-11 + 2e-3) + 0x1p-23;
    for (int d = 0; d < m->shape.width; d++) {
        if (!(fabs(fuzz_half(now[d]) - want[d]) <= most)) {
            fuzz_fail(
                "%s of kind %d, width %d, head size %d: cell %lld, shifted by %d, value %d: %g instead of %g",
                m->text, m->shape.kind, m->shape.width, m->shape.head_dim, (long long)cell, distance, d,
                fuzz_half(now[d]), want[d]);
        }
    }
    memcpy(cache_model_row(m, cell), now, (size_t)m->shape.width * 2);
}

void cache_model_shift(cache_model *m, const tada_rope *rope, const int32_t *deltas, int n_threads)
{
    tada_error error = {""};
    int width = m->shape.width;
    double *want = fuzz_memory((size_t)width * sizeof *want);
    uint16_t *rows = fuzz_memory((size_t)(m->total * width) * sizeof *rows);
    if (tada_plane_shift(m->plane, rope, deltas, fuzz_threads(n_threads), &error) != TADA_OK ||
        tada_plane_read(m->plane, 0, m->total, rows, NULL, &error) != TADA_OK) {
        fuzz_fail("%s: %s", m->text, error.text);
    }
    bool keeps = remembers(m, rope), mixed = false;
    for (int64_t tile = 0; tile < m->n_tiles && keeps; tile++) {
        mixed = mixed || is_mixed(m, deltas, tile);
    }
    for (int64_t tile = 0; tile < m->n_tiles; tile++) {
        bool open = m->compressed && m->hot[tile] && m->layered[tile], changes = false;
        if (keeps && is_mixed(m, deltas, tile)) {
            m->any_layered = true;
            m->layered[tile] = true;
        }
        for (int64_t cell = first_cell(m, tile); cell < end_cell(m, tile); cell++) {
            bool coded = in_codes(m, tile, cell), turns = deltas[cell] != 0;
            if (!cache_model_written(m, cell)) {
                continue;
            }
            turn(rope, deltas[cell], cache_model_row(m, cell), width, want);
            m->moved[tile] = m->moved[tile] || (keeps && turns && (coded || open));
            changes = changes || turns;
            /* Where a tile parts, another one may have lost its refinement for that. */
            if (!coded || (keeps && !mixed)) {
                take_row(m, cell, deltas[cell], want, rows + cell * width);
            }
            for (int d = 0; d < width && coded && turns && (!keeps || mixed); d++) {
                cache_model_row(m, cell)[d] = near_half(want[d]);
            }
        }
        if (m->compressed && !m->hot[tile] && (keeps ? mixed : changes)) {
            m->moved[tile] = m->moved[tile] && keeps;
            cache_model_take_codes(m, tile);
        }
    }
    free(want);
    free(rows);
}
