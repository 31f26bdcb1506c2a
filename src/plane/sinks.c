#include "sinks.h"

#include <stdlib.h>
#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    MARKED_MIN = 64,  /* rows that marks may take in any plane, */
    MARKED_PART = 64, /* and the part of all cells that they may take */
};

static size_t width(const tada_plane *p)
{
    return (size_t)p->shape.width;
}

uint64_t tada_sinks_placed(const tada_plane *p, int64_t tile)
{
    return p->n_sinks == 0 || tile % p->tiles_per_stream != 0 ? 0 : UINT64_MAX >> (CELLS - p->n_sinks);
}

static uint16_t *placed_rows(const tada_plane *p, int64_t tile)
{
    return p->sinks + (size_t)(tile / p->tiles_per_stream) * (size_t)p->n_sinks * width(p);
}

static uint64_t marked(const tada_plane *p, int64_t tile)
{
    return p->tiles[tile].sinks & ~tada_sinks_placed(p, tile);
}

static tada_marked *find(const tada_plane *p, int64_t tile)
{
    for (int i = 0; i < p->n_marked; i++) {
        if (p->marked[i].tile == tile) {
            return &p->marked[i];
        }
    }
    return NULL;
}

static uint64_t below(int cell)
{
    return ((uint64_t)1 << cell) - 1;
}

tada_sinks tada_sinks_next(const tada_plane *p, int64_t tile, int from)
{
    const tada_tile *t = &p->tiles[tile];
    uint64_t left = from < CELLS ? t->sinks & t->mask & ~below(from) : 0;
    if (left == 0) {
        return (tada_sinks){0, 0, NULL};
    }
    tada_sinks run = {.first = __builtin_ctzll(left)};
    uint64_t here = tada_sinks_placed(p, tile);
    bool by_place = here >> run.first & 1;
    left &= by_place ? here : ~here;
    uint64_t ended = ~(left >> run.first);
    run.n = ended ? __builtin_ctzll(ended) : CELLS;
    run.rows = by_place ? placed_rows(p, tile) + (size_t)run.first * width(p)
                        : find(p, tile)->rows +
                              (size_t)__builtin_popcountll(marked(p, tile) & below(run.first)) * width(p);
    return run;
}

void tada_sinks_keep(tada_plane *p, int64_t tile)
{
    for (tada_sinks s = tada_sinks_next(p, tile, 0); s.n > 0; s = tada_sinks_next(p, tile, s.first + s.n)) {
        memcpy(s.rows, p->tiles[tile].hot + (size_t)s.first * width(p), (size_t)s.n * width(p) * 2);
    }
}

void tada_sinks_restore(const tada_plane *p, int64_t tile, uint16_t *rows)
{
    for (tada_sinks s = tada_sinks_next(p, tile, 0); s.n > 0; s = tada_sinks_next(p, tile, s.first + s.n)) {
        memcpy(rows + (size_t)s.first * width(p), s.rows, (size_t)s.n * width(p) * 2);
    }
}

/* ---- marks ---- */

/* Room for so many rows of a tile; false: memory is short. */
static bool reserve(tada_plane *p, int64_t tile, int rows)
{
    tada_marked *m = find(p, tile);
    if (m && m->capacity >= rows) {
        return true;
    }
    /* Tiles whose marks are gone give back what they took. */
    for (int i = p->n_marked - 1; i >= 0; i--) {
        if (p->marked[i].tile != tile && marked(p, p->marked[i].tile) == 0) {
            p->marked_rows -= p->marked[i].capacity;
            free(p->marked[i].rows);
            p->marked[i] = p->marked[--p->n_marked];
        }
    }
    m = find(p, tile);
    if (!m) {
        tada_marked *list = realloc(p->marked, (size_t)(p->n_marked + 1) * sizeof *list);
        if (!list) {
            return false;
        }
        p->marked = list;
        m = &list[p->n_marked++];
        *m = (tada_marked){.tile = tile};
    }
    uint16_t *grown = realloc(m->rows, (size_t)rows * width(p) * 2);
    if (!grown) {
        return false;
    }
    m->rows = grown;
    p->marked_rows += rows - m->capacity;
    m->capacity = rows;
    return true;
}

/* Rows that marks may take. */
static int64_t most_marked(const tada_plane *p)
{
    int64_t most = p->shape.n_cells * p->shape.n_streams / MARKED_PART;
    return most > MARKED_MIN ? most : MARKED_MIN;
}

void tada_plane_mark_sinks(tada_plane *p, const int64_t *cells, int64_t n)
{
    int64_t most = most_marked(p);
    for (int64_t i = 0; i < n; i++) {
        int64_t stream = cells[i] / p->shape.n_cells, in_stream = cells[i] % p->shape.n_cells;
        if (p->n_sinks == 0 || cells[i] < 0 || stream >= p->shape.n_streams) {
            continue;
        }
        int64_t tile = stream * p->tiles_per_stream + in_stream / CELLS;
        uint64_t bit = (uint64_t)1 << in_stream % CELLS;
        tada_tile *t = &p->tiles[tile];
        if (t->hot && t->mask & bit && !(t->sinks & bit) && p->marked_rows < most &&
            reserve(p, tile, __builtin_popcountll(marked(p, tile)) + 1)) {
            t->sinks |= bit;
        }
    }
}

bool tada_sinks_copy(tada_plane *p, int64_t from, int64_t to)
{
    uint64_t marks = marked(p, from);
    tada_sinks_reset(p, to);
    if (marks && !reserve(p, to, __builtin_popcountll(marks))) {
        return false;
    }
    p->tiles[to].sinks |= marks;
    for (tada_sinks s = tada_sinks_next(p, from, 0); s.n > 0 && !p->tiles[from].hot;
         s = tada_sinks_next(p, from, s.first + s.n)) {
        memcpy(tada_sinks_next(p, to, s.first).rows, s.rows, (size_t)s.n * width(p) * 2);
    }
    return true;
}

bool tada_sinks_set(tada_plane *p, int64_t tile, uint64_t cells)
{
    uint64_t marks = cells & ~tada_sinks_placed(p, tile);
    int n = __builtin_popcountll(marks);
    if (n && (p->n_sinks == 0 || p->marked_rows + n > most_marked(p) || !reserve(p, tile, n))) {
        return false;
    }
    p->tiles[tile].sinks = tada_sinks_placed(p, tile) | marks;
    return true;
}

void tada_sinks_reset(tada_plane *p, int64_t tile)
{
    p->tiles[tile].sinks = tada_sinks_placed(p, tile);
}

void tada_sinks_unmark(tada_plane *p, int64_t tile, int cell)
{
    p->tiles[tile].sinks &= ~((uint64_t)1 << cell) | tada_sinks_placed(p, tile);
}

void tada_sinks_free(tada_plane *p)
{
    for (int i = 0; i < p->n_marked; i++) {
        free(p->marked[i].rows);
    }
    free(p->marked);
    p->marked = NULL;
    p->n_marked = 0;
    p->marked_rows = 0;
}
