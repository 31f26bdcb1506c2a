#include "cache_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS, MARKS_KEPT = 64 };

static const tada_recipe *recipe_of(const cache_model *m)
{
    return m->shape.kind == TADA_K ? &m->spec.k : &m->spec.v;
}

/* Bytes of one tile more. */
static size_t codes_of_tile(const tada_spec *spec, const tada_shape *shape)
{
    tada_plane_parts parts, more;
    tada_shape large = *shape;
    large.n_cells = 1 << 20;
    tada_plane_measure(spec, &large, &parts);
    large.n_cells += CELLS;
    tada_plane_measure(spec, &large, &more);
    return (more.codes - parts.codes) / (size_t)shape->n_streams;
}

/* What a stream keeps hot and refined: doc/reference/format.md, "Which tiles are refined". */
static void keep(cache_model *m)
{
    const tada_recipe *r = recipe_of(m);
    int64_t window = m->spec.window / CELLS;
    bool exact = r->centring == TADA_CENTRE_NONE && r->scale != TADA_SCALE_32;
    bool refines = m->compressed && exact && (r->quarters ? r->quarters < 32 : r->bits <= 6) &&
                   codes_of_tile(&m->spec, &m->shape) < (size_t)(CELLS * m->shape.width);
    bool in_codes = refines && m->spec.window_bits == 8;
    m->most_hot = !m->compressed ? m->tiles_per_stream : in_codes ? 1 : window + 1;
    m->slots = m->tiles_per_stream - m->most_hot + (in_codes ? window : 0);
    m->most_refined = !refines                            ? 0
                      : m->spec.refine == TADA_REFINE_OFF ? (in_codes ? window : 0)
                                                          : m->tiles_per_stream;
}

bool cache_model_make(cache_model *m, const char *text, const tada_spec *spec, const tada_shape *shape,
                      tada_pool *pool)
{
    tada_plane_parts parts;
    tada_error error = {""};
    *m = (cache_model){.text = text, .spec = *spec, .shape = *shape, .pool = pool};
    size_t bytes = tada_plane_bytes(spec, shape);
    if (!tada_plane_measure(spec, shape, &parts)) {
        return false;
    }
    m->memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    memset(m->memory, 0xa5, bytes);
    enum tada_status status = tada_plane_create(spec, shape, m->memory, bytes, &m->plane, &error);
    if (status != TADA_OK) {
        if (status != TADA_E_UNSUPPORTED) {
            fuzz_fail("%s: %s", text, error.text);
        }
        free(m->memory);
        return false;
    }
    m->compressed = parts.compressed;
    m->total = shape->n_cells * shape->n_streams;
    m->tiles_per_stream = (shape->n_cells + CELLS - 1) / CELLS;
    m->n_tiles = m->tiles_per_stream * shape->n_streams;
    keep(m);
    m->rows = calloc((size_t)(m->total * shape->width), sizeof *m->rows);
    m->marks = calloc((size_t)m->total, 1);
    m->hot = calloc((size_t)m->n_tiles, 1);
    m->refined = calloc((size_t)m->n_tiles, 1);
    m->moved = calloc((size_t)m->n_tiles, 1);
    m->layered = calloc((size_t)m->n_tiles, 1);
    m->stamps = calloc((size_t)m->n_tiles, sizeof *m->stamps);
    return true;
}

void cache_model_free(cache_model *m)
{
    tada_plane_free(m->plane);
    free(m->memory);
    free(m->rows);
    free(m->marks);
    free(m->hot);
    free(m->refined);
    free(m->moved);
    free(m->layered);
    free(m->stamps);
}

static bool is_zero(const uint16_t *row, int n)
{
    for (int i = 0; i < n; i++) {
        if (row[i] & 0x7fff) {
            return false;
        }
    }
    return true;
}

bool cache_model_written(const cache_model *m, int64_t cell)
{
    return !is_zero(cache_model_row(m, cell), m->shape.width);
}

static int64_t tile_of(const cache_model *m, int64_t cell)
{
    return cell / m->shape.n_cells * m->tiles_per_stream + cell % m->shape.n_cells / CELLS;
}

static int64_t first_cell(const cache_model *m, int64_t tile)
{
    return tile / m->tiles_per_stream * m->shape.n_cells + tile % m->tiles_per_stream * CELLS;
}

static int n_cells(const cache_model *m, int64_t tile)
{
    int64_t left = m->shape.n_cells - tile % m->tiles_per_stream * CELLS;
    return left < CELLS ? (int)left : CELLS;
}

static bool is_sink(const cache_model *m, int64_t cell)
{
    return m->compressed && (cell % m->shape.n_cells < m->spec.sinks || m->marks[cell]);
}

static uint16_t *read_tile(const cache_model *m, int64_t tile)
{
    tada_error error = {""};
    int n = n_cells(m, tile);
    uint16_t *rows = fuzz_memory((size_t)n * (size_t)m->shape.width * sizeof *rows);
    if (tada_plane_read(m->plane, first_cell(m, tile), n, rows, NULL, &error) != TADA_OK) {
        fuzz_fail("%s: %s", m->text, error.text);
    }
    return rows;
}

/* ---- what compression may do to a tile ---- */

/* Natural order, orthonormal, in place. */
static void hadamard(double *x, int n)
{
    for (int half = 1; half < n; half *= 2) {
        for (int i = 0; i < n; i++) {
            if (!(i & half)) {
                double a = x[i], b = x[i + half];
                x[i] = (a + b) * sqrt(0.5);
                x[i + half] = (a - b) * sqrt(0.5);
            }
        }
    }
}

/* Ranges of the groups of a tile, and the errors in them. */
typedef struct group_error {
    double low, high, squares;
    int n;
    double norm; /* of the largest head of a cell: only where rows are rotated, and of all groups together */
} group_error;

static void group_add(group_error *g, double value, double error)
{
    g->low = g->n ? fmin(g->low, value) : value;
    g->high = g->n ? fmax(g->high, value) : value;
    g->squares += error * error;
    g->n++;
}

/*
 * The error of a group in the mean is at most a step, where a step is 1.25 x 1.25 of range / levels (a scale
 * of 2 mantissa bits, one notch up), or so large that the zero point of 9 bits reaches, or that it is not
 * lost when rows that are rotated are rounded to f16 (9 / 4096 of a head's norm): half of it by rounding,
 * half by the zero point. Both searches keep to that, as the one for the least error begins with the other's
 * scale. Means that are taken out first may widen the range: then that of the whole tile counts three times.
 */
static void check_group(const cache_model *m, const tada_recipe *r, int64_t tile, const group_error *g,
                        const group_error *whole)
{
    int levels = (1 << (r->quarters ? 1 : r->bits)) - 1;
    double range = g->high - g->low, size = fmax(fabs(g->low), fabs(g->high));
    double all = fmax(fabs(whole->low), fabs(whole->high));
    if (r->centring != TADA_CENTRE_NONE) {
        range = size = 3 * all;
    }
    /* Words of 8 bits have zero points about the middle of the codes alone. */
    double reach = r->scale == TADA_SCALE_8 ? 0.375 * (levels + 1) : 255;
    double step = 1.5625 * fmax(fmax(range / levels, size / reach), 9 * 0x1p-12 * whole->norm);
    double most = 1.02 * step + all * 0x1p-8 + 0x1p-11;
    if (g->n && !(sqrt(g->squares / g->n) <= most)) {
        fuzz_fail(
            "%s of kind %d, width %d, head size %d, tile %lld: error %g in the mean over a range of %g to %g "
            "(allowed %g)",
            m->text, m->shape.kind, m->shape.width, m->shape.head_dim, (long long)tile,
            sqrt(g->squares / g->n), g->low, g->high, most);
    }
}

/* rows: what the tile reads as now; the model: what it did. */
static void check_tile(const cache_model *m, const tada_recipe *r, int64_t tile, const uint16_t *rows,
                       const uint8_t *coded)
{
    int width = m->shape.width, head = m->shape.head_dim ? m->shape.head_dim : width;
    int block = r->rotation == TADA_ROTATE_HADAMARD ? head & -head : 1;
    double *want = fuzz_memory((size_t)width * sizeof *want), *got = fuzz_memory((size_t)width * sizeof *got);
    group_error *columns = calloc((size_t)width, sizeof *columns), whole = {.n = 0};
    group_error cells[CELLS] = {{.n = 0}};
    for (int i = 0; i < n_cells(m, tile); i++) {
        if (!coded[i]) {
            continue;
        }
        for (int d = 0; d < width; d++) {
            want[d] = fuzz_half(cache_model_row(m, first_cell(m, tile) + i)[d]);
            got[d] = fuzz_half(rows[(size_t)i * (size_t)width + (size_t)d]);
        }
        for (int d = 0; d < width; d += block) {
            hadamard(want + d, block);
            hadamard(got + d, block);
        }
        for (int d = 0; d < width; d++) {
            group_add(&columns[d], want[d], got[d] - want[d]);
            group_add(&cells[i], want[d], got[d] - want[d]);
            group_add(&whole, want[d], got[d] - want[d]);
        }
        for (int d = 0; d < width && block > 1; d += head) {
            double squares = 0;
            for (int j = d; j < d + head; j++) {
                squares += want[j] * want[j];
            }
            whole.norm = fmax(whole.norm, sqrt(squares));
        }
    }
    /* Pairs of channels that were turned since share their errors, whatever their ranges are now; and the
     * steps of a layer are those of all rows that it had, also of those that were written again since. */
    bool others = m->moved[tile] || (m->layered[tile] && r->axis == TADA_AXIS_CHANNEL);
    if (others) {
        check_group(m, r, tile, &whole, &whole);
    }
    for (int d = 0; d < width && r->axis == TADA_AXIS_CHANNEL && !others; d++) {
        check_group(m, r, tile, &columns[d], &whole);
    }
    for (int i = 0; i < CELLS && r->axis == TADA_AXIS_TOKEN && !others; i++) {
        check_group(m, r, tile, &cells[i], &whole);
    }
    free(want);
    free(got);
    free(columns);
}

void cache_model_take_codes(cache_model *m, int64_t tile)
{
    size_t row = (size_t)m->shape.width * 2;
    uint16_t *rows = read_tile(m, tile);
    uint8_t coded[CELLS] = {0};
    for (int i = 0; i < n_cells(m, tile); i++) {
        int64_t cell = first_cell(m, tile) + i;
        const uint16_t *now = rows + (size_t)i * (size_t)m->shape.width;
        bool same = memcmp(now, cache_model_row(m, cell), row) == 0;
        if (!cache_model_written(m, cell) || is_sink(m, cell)) {
            if (!same && !(m->marks[cell] && m->maybe_marked)) {
                fuzz_fail("%s: cell %lld, a sink or unwritten, has changed", m->text, (long long)cell);
            }
        }
        coded[i] = cache_model_written(m, cell) && !is_sink(m, cell);
    }
    check_tile(m, recipe_of(m), tile, rows, coded);
    for (int i = 0; i < n_cells(m, tile); i++) {
        memcpy(cache_model_row(m, first_cell(m, tile) + i), rows + (size_t)i * (size_t)m->shape.width, row);
    }
    free(rows);
}

/* ---- operations ---- */

static void set_row(cache_model *m, int64_t cell, const uint16_t *row)
{
    memcpy(cache_model_row(m, cell), row, (size_t)m->shape.width * 2);
    if (is_zero(row, m->shape.width)) {
        memset(cache_model_row(m, cell), 0, (size_t)m->shape.width * 2);
    }
}

static bool tile_is_empty(const cache_model *m, int64_t tile)
{
    return is_zero(cache_model_row(m, first_cell(m, tile)), n_cells(m, tile) * m->shape.width);
}

void cache_model_write(cache_model *m, const uint16_t *rows, const int64_t *cells, int64_t n)
{
    tada_error error = {""};
    if (tada_plane_write(m->plane, m->pool, rows, TADA_F16, (size_t)m->shape.width * 2, cells, n, &error) !=
        TADA_OK) {
        fuzz_fail("%s: %s", m->text, error.text);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t tile = tile_of(m, cells[i]);
        if (tile_is_empty(m, tile)) {
            m->layered[tile] = m->moved[tile] = false;
        } else if (m->compressed && !m->hot[tile]) {
            m->layered[tile] = m->any_layered = true;
        }
        set_row(m, cells[i], rows + i * m->shape.width);
        m->marks[cells[i]] = 0;
        m->hot[tile] = true;
        m->refined[tile] = false;
        m->moved[tile] = m->moved[tile] && m->layered[tile];
        m->stamps[tile] = ++m->clock;
    }
}

void cache_model_mark(cache_model *m, const int64_t *cells, int64_t n)
{
    tada_plane_mark_sinks(m->plane, cells, n);
    for (int64_t i = 0; i < n && m->compressed && m->spec.sinks > 0; i++) {
        if (m->hot[tile_of(m, cells[i])] && cache_model_written(m, cells[i]) && !is_sink(m, cells[i])) {
            m->marks[cells[i]] = 1;
            m->maybe_marked = m->maybe_marked || ++m->n_marks > MARKS_KEPT;
        }
    }
}

static bool has_rows(const cache_model *m, int64_t tile)
{
    return !tile_is_empty(m, tile);
}

/* Whether a tile is among the last written ones of its stream that are in `some`, `most` at most. */
static bool is_among(const cache_model *m, const uint8_t *some, int64_t tile, int64_t most)
{
    int64_t stream = tile / m->tiles_per_stream, later = 0;
    for (int64_t i = stream * m->tiles_per_stream; i < (stream + 1) * m->tiles_per_stream; i++) {
        later += some[i] && m->stamps[i] > m->stamps[tile];
    }
    return some[tile] && later < most;
}

/* Of each stream the last written tiles stay hot; and of those that are refined, or are compressed just now,
 * so many are that its slots suffice. */
static void settle_stream(cache_model *m, int64_t stream)
{
    int64_t first = stream * m->tiles_per_stream, end = first + m->tiles_per_stream, cold = 0;
    uint8_t *hot = calloc((size_t)m->n_tiles, 1), *fine = calloc((size_t)m->n_tiles, 1);
    uint8_t *stay = calloc((size_t)m->n_tiles, 1);
    for (int64_t i = first; i < end; i++) {
        hot[i] = m->hot[i] && has_rows(m, i);
    }
    for (int64_t i = first; i < end; i++) {
        stay[i] = is_among(m, hot, i, m->most_hot);
        cold += has_rows(m, i) && !stay[i];
        fine[i] = has_rows(m, i) && !stay[i] && (m->refined[i] || m->hot[i]);
    }
    int64_t left = m->slots - cold, most = left < m->most_refined ? left : m->most_refined;
    for (int64_t i = first; i < end; i++) {
        bool encoded = hot[i] && !stay[i], refined = is_among(m, fine, i, most),
             drops = m->refined[i] && !refined;
        m->hot[i] = stay[i];
        m->refined[i] = refined;
        /* Any may have lost a refinement, or have become one layer. */
        if ((encoded || drops || (m->any_layered && !stay[i])) && has_rows(m, i)) {
            m->moved[i] = m->moved[i] && (!encoded || m->layered[i]);
            cache_model_take_codes(m, i);
        }
    }
    free(hot);
    free(fine);
    free(stay);
}

void cache_model_settle(cache_model *m, int n_threads)
{
    if (tada_plane_settle(m->plane, fuzz_threads(n_threads), NULL) != TADA_OK ||
        tada_plane_unsettled(m->plane)) {
        fuzz_fail("%s: the plane does not settle", m->text);
    }
    tada_plane_stats stats;
    tada_plane_get_stats(m->plane, &stats);
    m->any_layered = m->any_layered || stats.layered > 0;
    for (int64_t i = 0; i < m->shape.n_streams && m->compressed; i++) {
        settle_stream(m, i);
    }
}

void cache_model_edit(cache_model *m, const uint8_t *chosen, tada_edit edit, void *context, int n_threads)
{
    tada_error error = {""};
    if (tada_plane_edit(m->plane, chosen, edit, context, fuzz_threads(n_threads), &error) != TADA_OK) {
        fuzz_fail("%s: %s", m->text, error.text);
    }
    for (int64_t tile = 0; tile < m->n_tiles; tile++) {
        bool changed = false;
        for (int i = 0; i < n_cells(m, tile); i++) {
            int64_t cell = first_cell(m, tile) + i;
            if (chosen[cell] && cache_model_written(m, cell)) {
                edit(context, 0, &cell, 1, cache_model_row(m, cell));
                set_row(m, cell, cache_model_row(m, cell));
                changed = true;
            }
        }
        if (changed && m->compressed && !m->hot[tile]) {
            /* A layer without such rows keeps its codes. */
            m->moved[tile] = m->moved[tile] && m->any_layered;
            cache_model_take_codes(m, tile);
        }
    }
}

void cache_model_copy(cache_model *m, int64_t from, int64_t to, int n_threads)
{
    tada_error error = {""};
    /* What a plane does first, so that there is a state to compare with. */
    cache_model_settle(m, n_threads);
    if (tada_plane_copy_stream(m->plane, m->pool, from, to, fuzz_threads(n_threads), &error) != TADA_OK) {
        fuzz_fail("%s: %s", m->text, error.text);
    }
    if (from == to) {
        return;
    }
    size_t cells = (size_t)m->shape.n_cells;
    for (size_t i = 0; i < cells; i++) {
        m->n_marks += m->marks[(size_t)from * cells + i];
    }
    m->maybe_marked = m->maybe_marked || m->n_marks > MARKS_KEPT;
    memcpy(cache_model_row(m, to * m->shape.n_cells), cache_model_row(m, from * m->shape.n_cells),
           cells * (size_t)m->shape.width * 2);
    memcpy(m->marks + (size_t)to * cells, m->marks + (size_t)from * cells, cells);
    for (int64_t i = 0; i < m->tiles_per_stream; i++) {
        int64_t origin = from * m->tiles_per_stream + i, copy = to * m->tiles_per_stream + i;
        m->hot[copy] = m->hot[origin];
        m->refined[copy] = m->refined[origin];
        m->moved[copy] = m->moved[origin];
        m->layered[copy] = m->layered[origin];
        m->stamps[copy] = m->stamps[origin];
    }
}

void cache_model_clear(cache_model *m)
{
    tada_plane_clear(m->plane);
    memset(m->rows, 0, (size_t)(m->total * m->shape.width) * 2);
    memset(m->marks, 0, (size_t)m->total);
    memset(m->hot, 0, (size_t)m->n_tiles);
    memset(m->refined, 0, (size_t)m->n_tiles);
    memset(m->moved, 0, (size_t)m->n_tiles);
    memset(m->layered, 0, (size_t)m->n_tiles);
    m->any_layered = false;
    m->n_marks = 0;
    m->maybe_marked = false;
}

static void compare_counts(const cache_model *m)
{
    tada_plane_stats stats;
    int64_t written = 0, with_rows = 0, refined = 0;
    tada_plane_get_stats(m->plane, &stats);
    for (int64_t tile = 0; tile < m->n_tiles; tile++) {
        int64_t before = written;
        for (int i = 0; i < n_cells(m, tile); i++) {
            written += cache_model_written(m, first_cell(m, tile) + i);
        }
        with_rows += written > before;
        refined += written > before && m->refined[tile];
    }
    /* With means, or scales in f16, rows that decode to zeros stay written (doc/reference/format.md, section
     * 5). */
    const tada_recipe *r = recipe_of(m);
    bool exact = r->centring == TADA_CENTRE_NONE && r->scale != TADA_SCALE_32;
    if (exact ? stats.written != written : stats.written < written) {
        fuzz_fail("%s: the plane counts %lld rows where there are %lld", m->text, (long long)stats.written,
                  (long long)written);
    }
    int64_t tiles = stats.hot + stats.cold;
    if ((exact ? tiles != with_rows : tiles < with_rows) || stats.cells != m->total ||
        stats.tiles != m->n_tiles) {
        fuzz_fail("%s: the plane counts rows in %lld of %lld tiles where there are some in %lld of %lld",
                  m->text, (long long)tiles, (long long)stats.tiles, (long long)with_rows,
                  (long long)m->n_tiles);
    }
    if (m->any_layered ? stats.refined > stats.cold || stats.layered > stats.cold
                       : stats.refined != refined) {
        fuzz_fail("%s: the plane counts %lld refined tiles where there are %lld", m->text,
                  (long long)stats.refined, (long long)refined);
    }
}

void cache_model_compare(const cache_model *m, int n_threads)
{
    tada_error error = {""};
    size_t row = (size_t)m->shape.width * 2;
    uint16_t *rows = fuzz_memory((size_t)m->total * row);
    if (tada_plane_read(m->plane, 0, m->total, rows, fuzz_threads(n_threads), &error) != TADA_OK) {
        fuzz_fail("%s: %s", m->text, error.text);
    }
    for (int64_t i = 0; i < m->total; i++) {
        if (memcmp(rows + i * m->shape.width, cache_model_row(m, i), row) != 0) {
            fuzz_fail("%s of kind %d, width %d, head size %d: cell %lld (%s) is not as it was", m->text,
                      m->shape.kind, m->shape.width, m->shape.head_dim, (long long)i,
                      m->hot[tile_of(m, i)]       ? "hot"
                      : m->refined[tile_of(m, i)] ? "refined"
                                                  : "cold");
        }
    }
    free(rows);
    compare_counts(m);
}
