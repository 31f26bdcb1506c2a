#include "plane.h"

#include "common/lent.h"
#include "spoilt.h"
#include "problem.h"
#include "sinks.h"
#include "common/sizes.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    LAYERED_PART = 2 /* of the tiles of a stream may have more than one layer: more would find no slots */
};

/* Where the parts of a plane lie in its memory. */
typedef struct plane_map {
    int64_t tiles_per_stream, n_tiles, n_own, n_slots;
    int64_t n_layers;                   /* beyond the first ones of tiles */
    int64_t window_slots, most_refined; /* of a stream */
    int n_sinks;
    size_t tile_bytes, sinks_bytes, slot_bytes;
    size_t layers_at, used_at, taken_at, own_at, sinks_at, cold_at, bytes;
    bool compressed;
} plane_map;

static const tada_recipe *recipe_of(const tada_spec *spec, const tada_shape *shape)
{
    return shape->kind == TADA_K ? &spec->k : &spec->v;
}

static size_t align64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Whether tiles are refined: where codes and refinement take less than f16, whatever the head size. */
static bool refines(const tada_recipe *recipe, const plane_map *map)
{
    return tada_recipe_refines(recipe) && 2 * map->slot_bytes < map->tile_bytes;
}

/* What may be compressed of a plane, and where the rest is. */
static void map_tiles(const tada_spec *spec, const tada_shape *shape, plane_map *map)
{
    const tada_recipe *recipe = recipe_of(spec, shape);
    int64_t window = spec->window / CELLS;
    /* The window of each stream, and the tile that is being written; its other tiles may all be cold. */
    map->n_own = shape->n_streams * (window + 1);
    map->n_slots = map->n_tiles - map->n_own;
    map->compressed = false;
    /* Not where the hot tiles alone hold everything, */
    if (recipe->bits < 16 && shape->width % 16 == 0 && map->n_slots > 0) {
        map->slot_bytes = tada_slot_bytes(recipe, shape->width, shape->head_dim);
        if (refines(recipe, map)) {
            bool cold = spec->window_bits == 8;
            map->most_refined = spec->refine == TADA_REFINE_ON ? map->tiles_per_stream : cold ? window : 0;
            /* Each tile of the window may be cold and refined. */
            map->n_own -= cold ? shape->n_streams * window : 0;
            map->n_slots += cold ? 2 * shape->n_streams * window : 0;
            map->window_slots = cold ? window : 0;
        }
        size_t bytes =
            (size_t)map->n_own * map->tile_bytes + map->sinks_bytes + (size_t)map->n_slots * map->slot_bytes;
        /* nor where the scales outweigh the codes. */
        map->compressed = bytes < (size_t)map->n_tiles * map->tile_bytes;
    }
    map->n_layers = map->compressed ? shape->n_streams * (map->tiles_per_stream / LAYERED_PART + 2) : 0;
    if (!map->compressed) {
        map->n_own = map->n_tiles;
        map->n_slots = map->window_slots = map->most_refined = 0;
        map->n_sinks = 0;
        map->sinks_bytes = map->slot_bytes = 0;
    }
}

static bool map_make(const tada_spec *spec, const tada_shape *shape, plane_map *map)
{
    if (!tada_plane_is_sound(spec, shape)) {
        return false;
    }
    *map = (plane_map){.tiles_per_stream = (shape->n_cells + CELLS - 1) / CELLS, .n_sinks = spec->sinks};
    map->n_tiles = map->tiles_per_stream * shape->n_streams;
    map->tile_bytes = (size_t)shape->width * CELLS * 2;
    map->sinks_bytes = (size_t)shape->n_streams * (size_t)spec->sinks * (size_t)shape->width * 2;
    map_tiles(spec, shape, map);
    map->layers_at = (size_t)map->n_tiles * sizeof(tada_tile);
    map->used_at = align64(map->layers_at + (size_t)map->n_layers * sizeof(tada_layer));
    map->taken_at = map->used_at + (size_t)map->n_own;
    map->own_at = align64(map->taken_at + (size_t)map->n_slots);
    map->sinks_at = map->own_at + align64((size_t)map->n_own * map->tile_bytes);
    map->cold_at = map->sinks_at + align64(map->sinks_bytes);
    map->bytes = map->cold_at + (size_t)map->n_slots * map->slot_bytes;
    return map->n_slots <= INT32_MAX;
}

size_t tada_plane_bytes(const tada_spec *spec, const tada_shape *shape)
{
    plane_map map;
    return map_make(spec, shape, &map) ? map.bytes : 0;
}

bool tada_plane_measure(const tada_spec *spec, const tada_shape *shape, tada_plane_parts *parts)
{
    plane_map map;
    bool sound = map_make(spec, shape, &map);
    *parts = (tada_plane_parts){0};
    if (sound) {
        *parts = (tada_plane_parts){.codes = map.bytes - map.cold_at,
                                    .window = map.sinks_at - map.own_at,
                                    .sinks = map.cold_at - map.sinks_at,
                                    .table = map.own_at,
                                    .compressed = map.compressed};
    }
    return sound;
}

size_t tada_plane_batch_bytes(const tada_spec *spec, const tada_shape *shape, int64_t n_rows)
{
    plane_map map;
    if (n_rows < 1 || !map_make(spec, shape, &map) || !map.compressed) {
        return 0;
    }
    int64_t tiles = shape->n_streams * tada_parts(tada_parts(n_rows, shape->n_streams), CELLS);
    return (size_t)(tiles < map.n_tiles ? tiles : map.n_tiles) * map.tile_bytes;
}

/* Everything of a plane but its memory. */
static enum tada_status describe(const tada_spec *spec, const tada_shape *shape, plane_map *map,
                                 tada_plane *p, tada_error *error)
{
    *map = (plane_map){0};
    if (!map_make(spec, shape, map)) {
        return tada_fail(
            error, TADA_E_ARGUMENT,
            "A plane needs a sound recipe and at least one cell, one stream and one value a row, "
            "and a head size that is 0 or a multiple of 16 that divides the row.");
    }
    *p = (tada_plane){.shape = *shape,
                      .codec = {.kind = shape->kind, .recipe = *recipe_of(spec, shape)},
                      .compressed = map->compressed,
                      .tiles_per_stream = map->tiles_per_stream,
                      .n_tiles = map->n_tiles,
                      .slots_per_stream = map->n_slots / shape->n_streams,
                      .n_slots = map->n_slots,
                      .layers_per_stream = map->n_layers / shape->n_streams,
                      .window_slots = map->window_slots,
                      .most_refined = map->most_refined,
                      .n_own = map->n_own,
                      .n_sinks = map->n_sinks,
                      .tile_values = map->tile_bytes / 2,
                      .bytes = map->bytes};
    if (p->compressed) {
        int head_dim = shape->head_dim ? shape->head_dim : shape->width;
        p->codec.layout = tada_layout_make(&p->codec.recipe, shape->width, head_dim);
        if (p->codec.layout.group > TADA_GROUP_MAX) {
            return tada_fail(error, TADA_E_UNSUPPORTED,
                             "Rows of %d values cannot be cut into groups: use scale axis "
                             "channel for this model.",
                             shape->width);
        }
    }
    return TADA_OK;
}

bool tada_plane_describe(const tada_spec *spec, const tada_shape *shape, tada_plane *plane)
{
    plane_map map;
    return describe(spec, shape, &map, plane, NULL) == TADA_OK;
}

enum tada_status tada_plane_create(const tada_spec *spec, const tada_shape *shape, void *memory, size_t bytes,
                                   tada_plane **plane, tada_error *error)
{
    plane_map map;
    tada_plane described;
    enum tada_status status = describe(spec, shape, &map, &described, error);
    if (status != TADA_OK) {
        return status;
    }
    if (bytes < map.bytes || (uintptr_t)memory % 64 != 0) {
        return tada_fail(error, TADA_E_ARGUMENT,
                         "The plane needs %zu bytes of 64-byte aligned memory, but got %zu.", map.bytes,
                         bytes);
    }
    tada_plane *p = malloc(sizeof *p);
    if (!p) {
        return tada_fail(error, TADA_E_MEMORY, "Out of memory for a plane: free some and try again.");
    }
    *p = described;
    p->tiles = memory;
    p->layers = (tada_layer *)(void *)((uint8_t *)memory + map.layers_at);
    p->used = (uint8_t *)memory + map.used_at;
    p->taken = (uint8_t *)memory + map.taken_at;
    p->own = (uint16_t *)(void *)((uint8_t *)memory + map.own_at);
    p->sinks = (uint16_t *)(void *)((uint8_t *)memory + map.sinks_at);
    p->cold = (uint8_t *)memory + map.cold_at;
    tada_plane_clear(p);
    *plane = p;
    return TADA_OK;
}

void tada_plane_free(tada_plane *p)
{
    if (p) {
        tada_plane_clear(p);
        free(p->rope);
        free(p);
    }
}

void tada_plane_clear(tada_plane *p)
{
    /* The first call comes with memory that holds anything: only a plane that has been used has something to
     * release. */
    for (int64_t i = 0; p->n_borrowed > 0 && i < p->n_tiles; i++) {
        tada_plane_release(p, &p->tiles[i]);
    }
    memset(p->tiles, 0, (size_t)p->n_tiles * sizeof *p->tiles);
    memset(p->used, 0, (size_t)p->n_own);
    memset(p->taken, 0, (size_t)p->n_slots);
    tada_sinks_free(p);
    for (int64_t i = 0; i < p->layers_per_stream * p->shape.n_streams; i++) {
        p->layers[i] = tada_layer_unused;
    }
    for (int64_t i = 0; i < p->n_tiles; i++) {
        p->tiles[i].codes = tada_layer_unused;
        tada_sinks_reset(p, i);
    }
    p->n_written = p->n_hot = p->n_cold = p->n_refined = p->n_layered = 0;
    p->frozen = false;
    p->opened = false;
    p->spoilt = false;
}

enum tada_status tada_plane_set_head_dim(tada_plane *p, int head_dim)
{
    if (head_dim < 1 || p->shape.width % head_dim != 0) {
        return TADA_E_UNSUPPORTED;
    }
    if (!p->compressed || p->codec.layout.head_dim == head_dim) {
        return TADA_OK;
    }
    if (p->frozen || head_dim % 16 != 0) {
        return TADA_E_UNSUPPORTED;
    }
    tada_layout layout = tada_layout_make(&p->codec.recipe, p->shape.width, head_dim);
    size_t needed = (size_t)layout.n_units * layout.record_bytes + layout.head_means_bytes;
    if (layout.group > TADA_GROUP_MAX ||
        needed > tada_slot_bytes(&p->codec.recipe, p->shape.width, p->shape.head_dim)) {
        return TADA_E_UNSUPPORTED;
    }
    p->codec.layout = layout;
    return TADA_OK;
}

size_t tada_plane_encode_scratch(const tada_plane *p)
{
    return p->compressed ? tada_tile_encode_scratch(&p->codec) : 0;
}

size_t tada_plane_scratch(const tada_plane *p)
{
    return p->compressed ? tada_tile_scratch(&p->codec) : 0;
}

void tada_plane_encode(tada_plane *p, int64_t index, tada_layer *layer, uint64_t cells, float *scratch)
{
    tada_tile *tile = &p->tiles[index];
    tada_sinks_keep(p, index);
    if (layer) {
        tada_cold cold = tada_layer_cold(p, layer);
        layer->shift = 0;
        layer->cells = tada_tile_encode(&p->codec, tile->hot, cells, &cold, scratch);
        tile->mask &= ~cells | layer->cells;
    }
    if (!tile->mask) {
        tada_layers_drop(p, index);
    }
}

void tada_plane_decode(const tada_plane *p, int64_t index, uint16_t *rows, float *scratch)
{
    const tada_tile *tile = &p->tiles[index];
    for (int t = 0; t < CELLS && tile->mask != UINT64_MAX; t++) {
        if (!(tile->mask >> t & 1)) {
            memset(rows + (size_t)t * (size_t)p->shape.width, 0, (size_t)p->shape.width * 2);
        }
    }
    for (const tada_layer *l = &tile->codes; l; l = tada_layer_next(p, l)) {
        tada_cold cold = tada_layer_cold(p, l);
        tada_tile_decode_cells(&p->codec, &cold, l->cells, rows, scratch);
        tada_plane_turn(p, l, rows);
    }
    tada_sinks_restore(p, index, rows);
}

/* Makes a tile hot, decoding it when it was cold. */
static bool open_tile(tada_plane *p, tada_pool *pool, int64_t index)
{
    tada_tile *tile = &p->tiles[index];
    if (tile->hot) {
        return true;
    }
    tada_counted before = tada_tile_counted(p, tile);
    uint16_t *hot = tada_plane_acquire(p, pool, index);
    float *scratch = tile->mask ? malloc(tada_plane_scratch(p) * sizeof *scratch) : NULL;
    if (hot && tile->mask && scratch) {
        tada_plane_decode(p, index, hot, scratch);
        tada_count(&p->reopens, 1);
    } else if (hot && !tile->mask) {
        memset(hot, 0, p->tile_values * 2);
    }
    bool done = hot && (scratch || !tile->mask);
    tile->hot = hot;
    p->opened = p->opened || p->compressed;
    if (!done) {
        tada_plane_release(p, tile);
    }
    tada_plane_recount(p, tile, before);
    free(scratch);
    return done;
}

static int64_t tile_of(const tada_plane *p, int64_t cell)
{
    return cell / p->shape.n_cells * p->tiles_per_stream + cell % p->shape.n_cells / CELLS;
}

static int cell_in_tile(const tada_plane *p, int64_t cell)
{
    return (int)(cell % p->shape.n_cells % CELLS);
}

enum tada_status tada_plane_write(tada_plane *p, tada_pool *pool, const void *rows, enum tada_type type,
                                  size_t stride, const int64_t *cells, int64_t n, tada_error *error)
{
    const tada_kernels *k = tada_kernels_get();
    int64_t total = p->shape.n_cells * p->shape.n_streams;
    const char *problem = tada_rows_problem(type, stride, n);
    if (problem) {
        return tada_fail(error, TADA_E_ARGUMENT, "%s", problem);
    }
    if (p->n_borrowed && p->pool != pool) {
        return tada_fail(error, TADA_E_ARGUMENT, "Settle the plane before it is written with another pool.");
    }
    for (int64_t i = 0; i < n; i++) {
        if (cells[i] < 0 || cells[i] >= total) {
            return tada_fail(error, TADA_E_ARGUMENT, "Cell %lld does not exist: the plane has %lld.",
                             (long long)cells[i], (long long)total);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        /* All memory before the first change, so that a failure changes nothing. */
        if (!open_tile(p, pool, tile_of(p, cells[i]))) {
            return tada_fail(error, TADA_E_MEMORY,
                             "Out of memory for the rows of a batch: use a smaller ubatch.");
        }
    }
    for (int64_t i = 0; i < n; i++) {
        tada_tile *tile = &p->tiles[tile_of(p, cells[i])];
        int t = cell_in_tile(p, cells[i]);
        tada_counted before = tada_tile_counted(p, tile);
        uint16_t *row = tile->hot + (size_t)t * (size_t)p->shape.width;
        const void *from = (const char *)rows + (size_t)i * stride;
        tada_sinks_unmark(p, tile_of(p, cells[i]), t);
        if (type == TADA_F32) {
            k->half_from_float(from, row, p->shape.width);
        } else if (memcmp(row, from, (size_t)p->shape.width * 2) != 0) {
            memcpy(row, from, (size_t)p->shape.width * 2);
        } else if (tile->mask >> t & 1) {
            /* What was read before comes back: it is the row that codes give, if there are any. */
            tile->stamp = ++p->clock;
            continue;
        }
        tada_layers_forget(p, tile_of(p, cells[i]), t);
        int peak = tada_row_peak(row, p->shape.width);
        tada_spoilt_note(p, peak);
        if (peak == 0) {
            memset(row, 0, (size_t)p->shape.width * 2);
            tile->mask &= ~((uint64_t)1 << t);
        } else {
            tile->mask |= (uint64_t)1 << t;
        }
        tada_plane_recount(p, tile, before);
        tile->stamp = ++p->clock;
    }
    return TADA_OK;
}

size_t tada_plane_read_scratch(const tada_plane *p)
{
    return p->compressed ? tada_plane_scratch(p) * sizeof(float) + p->tile_values * 2 : 0;
}

/* Reading cells [first, first + n), tile by tile. */
typedef struct plane_read {
    const tada_plane *plane;
    int64_t first, n;
    uint16_t *rows;
    int64_t end_tile;
    _Atomic int64_t next_tile;
    atomic_bool failed;
} plane_read;

/* The cells of a tile that are wanted. decoded: room for its rows and scratch, NULL until one needs it.
 * False: memory is short. */
static bool read_tile(const plane_read *r, int64_t index, float **decoded)
{
    const tada_plane *p = r->plane;
    const tada_tile *tile = &p->tiles[index];
    int64_t stream = index / p->tiles_per_stream;
    int64_t begin = stream * p->shape.n_cells + index % p->tiles_per_stream * CELLS;
    int64_t end =
        begin + CELLS < (stream + 1) * p->shape.n_cells ? begin + CELLS : (stream + 1) * p->shape.n_cells;
    int64_t from = begin > r->first ? begin : r->first, to = end < r->first + r->n ? end : r->first + r->n;
    size_t width = (size_t)p->shape.width, bytes = (size_t)(to - from) * width * 2;
    uint16_t *out = r->rows + (size_t)(from - r->first) * width;
    const uint16_t *rows = tile->hot;
    if (!rows && !tile->mask) {
        memset(out, 0, bytes);
        return true;
    }
    if (!rows) {
        size_t floats = tada_plane_scratch(p);
        *decoded = *decoded ? *decoded : malloc(tada_plane_read_scratch(p));
        if (!*decoded) {
            return false;
        }
        tada_plane_decode(p, index, (uint16_t *)(void *)(*decoded + floats), *decoded);
        rows = (uint16_t *)(void *)(*decoded + floats);
    }
    memcpy(out, rows + (size_t)(from - begin) * width, bytes);
    return true;
}

static void read_part(void *context, int thread, int n_threads)
{
    plane_read *r = context;
    float *decoded = NULL;
    (void)thread;
    (void)n_threads;
    for (int64_t i; (i = atomic_fetch_add_explicit(&r->next_tile, 1, memory_order_relaxed)) < r->end_tile;) {
        if (!read_tile(r, i, &decoded)) {
            r->failed = true;
        }
    }
    free(decoded);
}

static enum tada_status read_make(const tada_plane *p, int64_t first, int64_t n, uint16_t *rows,
                                  plane_read *r, tada_error *error)
{
    int64_t total = p->shape.n_cells * p->shape.n_streams;
    if (first < 0 || n < 0 || first > total - n) {
        return tada_fail(error, TADA_E_ARGUMENT,
                         "The plane has %lld cells: it can't give %lld from cell %lld on.", (long long)total,
                         (long long)n, (long long)first);
    }
    *r = (plane_read){.plane = p, .first = first, .n = n, .rows = rows};
    if (n > 0) {
        r->next_tile = tile_of(p, first);
        r->end_tile = tile_of(p, first + n - 1) + 1;
    }
    return TADA_OK;
}

enum tada_status tada_plane_read(const tada_plane *p, int64_t first, int64_t n, uint16_t *rows,
                                 const tada_threads *threads, tada_error *error)
{
    plane_read r;
    enum tada_status status = read_make(p, first, n, rows, &r, error);
    status = status == TADA_OK ? tada_lent_check(threads, error) : status;
    if (status != TADA_OK) {
        return status;
    }
    tada_lent_run(r.end_tile - r.next_tile > 1 ? threads : NULL, read_part, &r);
    return r.failed ? tada_fail(error, TADA_E_MEMORY,
                                "Out of memory while decoding cells: free some and try again.")
                    : TADA_OK;
}

enum tada_status tada_plane_read_in(const tada_plane *p, int64_t first, int64_t n, uint16_t *rows,
                                    void *scratch, tada_error *error)
{
    plane_read r = {0};
    float *decoded = scratch;
    enum tada_status status = read_make(p, first, n, rows, &r, error);
    for (int64_t i = r.next_tile; status == TADA_OK && i < r.end_tile; i++) {
        read_tile(&r, i, &decoded);
    }
    return status;
}

/* So that what is copied to it finds slots, and own hot tiles. */
static void empty_stream(tada_plane *p, int64_t stream)
{
    for (int64_t i = stream * p->tiles_per_stream; i < (stream + 1) * p->tiles_per_stream; i++) {
        tada_tile *tile = &p->tiles[i];
        tada_counted before = tada_tile_counted(p, tile);
        tada_plane_release(p, tile);
        tada_layers_drop(p, i);
        tile->mask = 0;
        tada_sinks_reset(p, i);
        tada_plane_recount(p, tile, before);
    }
}

static void copy_layer(tada_plane *p, const tada_layer *source, int64_t to)
{
    tada_layer *target = tada_layers_add(p, to);
    target->cells = source->cells;
    target->shift = source->shift;
    if (source->fine >= 0) {
        tada_layer_take_fine(p, to, target);
    }
    tada_cold copy = tada_layer_cold(p, target), original = tada_layer_cold(p, source);
    tada_cold_copy(&p->codec, &original, &copy);
}

/* To a tile without rows. False: memory is short, and there still are none. */
static bool copy_tile(tada_plane *p, tada_pool *pool, int64_t from, int64_t to)
{
    const tada_tile *source = &p->tiles[from];
    tada_tile *target = &p->tiles[to];
    if (!source->mask) {
        return true;
    }
    target->mask = source->mask;
    target->hot = source->hot ? tada_plane_acquire(p, pool, to) : NULL;
    if (!tada_sinks_copy(p, from, to) || (source->hot && !target->hot)) {
        tada_plane_release(p, target);
        target->mask = 0;
        return false;
    }
    if (source->hot) {
        memcpy(target->hot, source->hot, p->tile_values * 2);
    } else {
        for (const tada_layer *from_layer = &source->codes; from_layer;
             from_layer = tada_layer_next(p, from_layer)) {
            copy_layer(p, from_layer, to);
        }
    }
    target->stamp = source->stamp;
    tada_plane_recount(p, target, (tada_counted){0, TADA_EMPTY, false, false});
    return true;
}

enum tada_status tada_plane_copy_stream(tada_plane *p, tada_pool *pool, int64_t from, int64_t to,
                                        const tada_threads *threads, tada_error *error)
{
    if (from < 0 || from >= p->shape.n_streams || to < 0 || to >= p->shape.n_streams) {
        return tada_fail(error, TADA_E_ARGUMENT, "A stream to copy does not exist: the plane has %lld.",
                         (long long)p->shape.n_streams);
    }
    enum tada_status status = tada_lent_check(threads, error);
    if (status != TADA_OK) {
        return status;
    }
    status = tada_plane_settle(p, threads, error);
    if (from == to) {
        return status;
    }
    empty_stream(p, to);
    for (int64_t i = 0; i < p->tiles_per_stream && status == TADA_OK; i++) {
        if (!copy_tile(p, pool, from * p->tiles_per_stream + i, to * p->tiles_per_stream + i)) {
            status = tada_fail(error, TADA_E_MEMORY,
                               "Out of memory while a sequence was copied: free some and try again.");
        }
    }
    status = status == TADA_OK ? tada_plane_settle(p, threads, error) : status;
    if (status != TADA_OK) {
        /* Half a sequence is worse than none. */
        empty_stream(p, to);
    }
    return status;
}
