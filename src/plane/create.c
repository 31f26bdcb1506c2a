/* Planes: where their parts lie in memory, from creation to the end. */
#include "plane.h"
#include "codec/recipe.h"
#include "common/sizes.h"
#include "problem.h"
#include "sinks.h"
#include "spoilt.h"

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
    size_t layers_at, used_at, taken_at, unseen_at, own_at, sinks_at, cold_at, bytes;
    bool compressed;
} plane_map;

static const tada_recipe *recipe_of(const tada_spec *spec, const tada_shape *shape)
{
    return shape->kind == TADA_K ? &spec->k : &spec->v;
}

static size_t align64(size_t bytes)
{
    return tada_size_round(bytes, 64);
}

static size_t unseen_bytes(int64_t n_tiles)
{
    return (size_t)tada_parts(n_tiles, 8);
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

/* NULL, or why there is no such plane, as the end of a sentence. */
static const char *map_make(const tada_spec *spec, const tada_shape *shape, plane_map *map)
{
    const char *problem = tada_plane_problem(spec, shape);
    if (problem) {
        return problem;
    }
    *map = (plane_map){.tiles_per_stream = (shape->n_cells + CELLS - 1) / CELLS, .n_sinks = spec->sinks};
    map->n_tiles = map->tiles_per_stream * shape->n_streams;
    map->tile_bytes = (size_t)shape->width * CELLS * 2;
    map->sinks_bytes = (size_t)shape->n_streams * (size_t)spec->sinks * (size_t)shape->width * 2;
    map_tiles(spec, shape, map);
    map->layers_at = (size_t)map->n_tiles * sizeof(tada_tile);
    map->used_at = align64(map->layers_at + (size_t)map->n_layers * sizeof(tada_layer));
    map->taken_at = map->used_at + (size_t)map->n_own;
    map->unseen_at = map->taken_at + (size_t)map->n_slots;
    map->own_at = align64(map->unseen_at + unseen_bytes(map->n_tiles));
    map->sinks_at = map->own_at + align64((size_t)map->n_own * map->tile_bytes);
    map->cold_at = map->sinks_at + align64(map->sinks_bytes);
    map->bytes = map->cold_at + (size_t)map->n_slots * map->slot_bytes;
    return map->n_slots <= INT32_MAX && map->n_layers <= INT32_MAX
               ? NULL
               : "it has more than 2^31 tiles or layers of tiles: make streams shorter or fewer";
}

void tada_shape_init(tada_shape *shape, enum tada_kind kind, int width, int64_t n_cells)
{
    *shape = (tada_shape){.kind = kind, .width = width, .n_cells = n_cells, .n_streams = 1};
}

size_t tada_plane_bytes(const tada_spec *spec, const tada_shape *shape)
{
    plane_map map;
    return map_make(spec, shape, &map) ? 0 : map.bytes;
}

bool tada_plane_measure(const tada_spec *spec, const tada_shape *shape, tada_plane_parts *parts)
{
    plane_map map;
    bool sound = !map_make(spec, shape, &map);
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
    if (n_rows < 1 || map_make(spec, shape, &map) || !map.compressed) {
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
    const char *problem = map_make(spec, shape, map);
    if (problem) {
        return tada_fail(error, TADA_E_ARGUMENT, "The plane cannot be made: %s.", problem);
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
    p->unseen = (uint8_t *)memory + map.unseen_at;
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
    memset(p->unseen, 0, unseen_bytes(p->n_tiles));
    tada_sinks_free(p);
    free(p->rope);
    p->rope = NULL;
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
