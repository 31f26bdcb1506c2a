/* Bytes of tensors that the host reads and writes outside of graphs: saved and restored states, copies of
 * streams. Where a tensor has a plane, its rows are decoded, and written to the plane. */
#include "cache.h"

#include "base/threads.h"

#include <stdlib.h>
#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    CHUNK_ROWS = 1024, /* rows that are written at once */
    SESSION_ROWS = 16  /* so many rows at once are taken for a saved sequence */
};

static int64_t rows_in(const cache_plane *c, size_t offset, size_t size)
{
    return size ? (int64_t)((offset + size - 1) / cache_row_bytes(c) - offset / cache_row_bytes(c)) + 1 : 0;
}

bool cache_read_ready(cache_plane *c)
{
    read_tile *t = &c->buffer->last_read;
    t->cache = NULL;
    return scratch_get(&t->rows, cache_row_bytes(c) * CELLS) &&
           scratch_get(&t->decoding, tada_plane_read_scratch(c->plane));
}

const uint16_t *cache_read_tile(cache_plane *c, int64_t cell)
{
    read_tile *t = &c->buffer->last_read;
    if (t->cache != c || t->touches != c->buffer->touches || cell < t->first || cell >= t->first + t->n) {
        int64_t within = cell % c->n_cells / CELLS * CELLS;
        t->cache = c;
        t->first = cell - cell % c->n_cells + within;
        t->n = c->n_cells - within < CELLS ? c->n_cells - within : CELLS;
        t->touches = c->buffer->touches;
        (void)tada_plane_read_in(c->plane, t->first, t->n, t->rows.memory, t->decoding.memory, NULL);
    }
    return (const uint16_t *)t->rows.memory + (size_t)(cell - t->first) * (size_t)c->width;
}

/* The cells of the tile from this one on. */
static int64_t left_in_tile(const cache_plane *c, int64_t cell)
{
    int64_t within = cell % c->n_cells, in_tile = CELLS - within % CELLS;
    return in_tile < c->n_cells - within ? in_tile : c->n_cells - within;
}

void cache_get(cache_plane *c, size_t offset, void *data, size_t size)
{
    tada_threads threads = threads_lend();
    char *to = data;
    metrics_read(c->kind, rows_in(c, offset, size));
    while (size > 0) {
        size_t within = offset % cache_row_bytes(c), part;
        int64_t cell = (int64_t)(offset / cache_row_bytes(c)), n = (int64_t)(size / cache_row_bytes(c));
        /* The caller's memory may have any alignment; the library's rows may not. Short of memory, it goes
         * tile by tile, too. */
        if (within == 0 && n > left_in_tile(c, cell) && (uintptr_t)to % 2 == 0 &&
            tada_plane_read(c->plane, cell, n, (uint16_t *)(void *)to, &threads, NULL) == TADA_OK) {
            part = (size_t)n * cache_row_bytes(c);
        } else {
            size_t most = (size_t)left_in_tile(c, cell) * cache_row_bytes(c) - within;
            part = most < size ? most : size;
            memcpy(to, (const char *)cache_read_tile(c, cell) + within, part);
        }
        to += part;
        offset += part;
        size -= part;
    }
}

/* Many rows at once are a saved sequence that is restored: the first ones are its sinks, and would be spoilt
 * where the sequence does not begin with the stream. */
static void mark_restored(const cache_plane *c, const int64_t *cells, int64_t n)
{
    if (n >= SESSION_ROWS) {
        tada_plane_mark_sinks(c->plane, cells, c->n_sinks < n ? c->n_sinks : n);
    }
}

/* Writes n rows to cells from `first` on. */
static bool set_rows(cache_plane *c, int64_t first, const void *rows, int64_t n, bool begins)
{
    int64_t cells[CHUNK_ROWS];
    for (int64_t i = 0; i < n; i++) {
        cells[i] = first + i;
    }
    bool done = tada_plane_write(c->plane, c->buffer->pool, rows, TADA_F16, cache_row_bytes(c), cells, n,
                                 NULL) == TADA_OK;
    cache_touch(c->buffer);
    if (done) {
        lost_remove(&c->lost, cells, n);
        if (begins) {
            mark_restored(c, cells, n);
        }
        cache_warn_nonfinite(c);
    }
    return done;
}

/* Writes `size` bytes from `within` on in the row of a cell; the rest of the row stays as it is. */
static bool set_part(cache_plane *c, int64_t cell, size_t within, const void *from, size_t size, bool begins)
{
    uint16_t *row = malloc(cache_row_bytes(c));
    if (!row) {
        return false;
    }
    memcpy(row, cache_read_tile(c, cell), cache_row_bytes(c));
    memcpy((char *)row + within, from, size);
    bool done = set_rows(c, cell, row, 1, begins);
    free(row);
    return done;
}

bool cache_set(cache_plane *c, size_t offset, const void *data, size_t size)
{
    const size_t row_bytes = cache_row_bytes(c);
    const char *from = data;
    bool done = cache_settle(c), begins = true;
    cache_touch(c->buffer);
    metrics_written(c->kind, rows_in(c, offset, size));
    while (size > 0 && done) {
        size_t within = offset % row_bytes, part;
        int64_t cell = (int64_t)(offset / row_bytes), n = (int64_t)(size / row_bytes);
        if (within == 0 && n > 0 && (uintptr_t)from % 2 == 0) {
            n = n < CHUNK_ROWS ? n : CHUNK_ROWS;
            part = (size_t)n * row_bytes;
            done = set_rows(c, cell, from, n, begins);
        } else {
            part = row_bytes - within < size ? row_bytes - within : size;
            done = set_part(c, cell, within, from, part, begins);
        }
        if (!done) {
            break;
        }
        begins = false;
        from += part;
        offset += part;
        size -= part;
        done = cache_settle(c);
    }
    if (size > 0) {
        lost_add(&c->lost, (int64_t)(offset / row_bytes), rows_in(c, offset, size));
    }
    return size == 0;
}

bool cache_copy_stream(cache_plane *c, int64_t from, int64_t to)
{
    tada_threads threads = threads_lend();
    cache_touch(c->buffer);
    bool done = tada_plane_copy_stream(c->plane, c->buffer->pool, from, to, &threads, NULL) == TADA_OK;
    if (done) {
        lost_copy(&c->lost, from * c->n_cells, to * c->n_cells, c->n_cells);
    } else {
        lost_add(&c->lost, to * c->n_cells, c->n_cells);
    }
    return done;
}

void cache_set_plain(cache_buffer *b, char *to, const void *data, size_t size)
{
    memcpy(to, data, size);
    /* Most planes are made at once, and where the cache stays plain, none will be. */
    if (b->planes || b->told_plain) {
        return;
    }
    /* Without the memory, the rows will be found, if not that they came together. */
    (void)ranges_add(&b->restored, (size_t)(to - b->base), size);
}
