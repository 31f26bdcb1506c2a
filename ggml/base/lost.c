/* Lost cells: a bit for each cell, and the search for a query that attends to one of them. */
#include "lost.h"

#include "pages.h"

enum { MASKED = 0xfc00 }; /* minus infinity in f16 */

bool lost_make(lost_cells *l, int64_t n_cells)
{
    l->bytes = (size_t)(n_cells + 63) / 64 * sizeof *l->bits;
    l->bits = pages_reserve(l->bytes);
    atomic_init(&l->any, false);
    return l->bits != NULL;
}

void lost_free(lost_cells *l)
{
    if (l->bits) {
        pages_free(l->bits, l->bytes);
    }
    l->bits = NULL;
}

static bool is_lost(const lost_cells *l, int64_t cell)
{
    return l->bits[cell / 64] >> (cell % 64) & 1;
}

static void set_lost(lost_cells *l, int64_t cell, bool lost)
{
    uint64_t bit = (uint64_t)1 << (cell % 64), word = l->bits[cell / 64];
    l->bits[cell / 64] = lost ? word | bit : word & ~bit;
}

void lost_add(lost_cells *l, int64_t first, int64_t n)
{
    for (int64_t i = first; i < first + n; i++) {
        set_lost(l, i, true);
    }
    atomic_store(&l->any, true);
}

void lost_remove(lost_cells *l, const int64_t *cells, int64_t n)
{
    for (int64_t i = 0; i < n && atomic_load_explicit(&l->any, memory_order_relaxed); i++) {
        set_lost(l, cells[i], false);
    }
}

void lost_clear(lost_cells *l)
{
    if (atomic_exchange(&l->any, false)) {
        (void)pages_drop(l->bits, l->bytes);
    }
}

void lost_copy(lost_cells *l, int64_t from, int64_t to, int64_t n)
{
    for (int64_t i = 0; i < n && atomic_load_explicit(&l->any, memory_order_relaxed); i++) {
        set_lost(l, to + i, is_lost(l, from + i));
    }
}

/* A query of the stream, the first being 0, sees the cell. */
static bool is_seen(const tada_attention *a, int64_t stream, int64_t cell)
{
    if (!a->mask) {
        return true;
    }
    const char *of_stream = (const char *)a->mask + (size_t)(stream % a->mask_streams) * a->mask_stream;
    for (int64_t i = 0; i < a->n_queries * a->mask_heads; i++) {
        const char *row = of_stream + (size_t)(i / a->n_queries) * a->mask_head +
                          (size_t)(i % a->n_queries) * a->mask_query;
        if (((const uint16_t *)(const void *)row)[cell] != MASKED) {
            return true;
        }
    }
    return false;
}

bool lost_attended(const lost_cells *l, const tada_attention *a, int64_t stream_cells)
{
    for (int64_t s = 0; s < a->n_streams && atomic_load_explicit(&l->any, memory_order_relaxed); s++) {
        int64_t first = (a->first_stream + s) * stream_cells + a->first_cell;
        for (int64_t i = 0; i < a->n_cells; i++) {
            if (is_lost(l, first + i) && is_seen(a, s, i)) {
                return true;
            }
        }
    }
    return false;
}
