/* Saving cells as they are. */
#include "state.h"

#include "crc.h"
#include "problem.h"
#include "sinks.h"

#include <stdlib.h>
#include <string.h>

enum { CELLS = TADA_TILE_CELLS };

tada_cells_run tada_cells_next(const tada_plane *p, const int64_t *cells, int64_t n)
{
    int t = tada_cell_in_tile(p, cells[0]);
    int64_t first = cells[0] - t, end = first + CELLS;
    int64_t stream_end = (cells[0] / p->shape.n_cells + 1) * p->shape.n_cells;
    end = end < stream_end ? end : stream_end;
    tada_cells_run run = {tada_tile_of(p, cells[0]), 1, (uint64_t)1 << t};
    while (run.n < n && cells[run.n] > cells[run.n - 1] && cells[run.n] < end) {
        run.chosen |= (uint64_t)1 << (cells[run.n] - first);
        run.n++;
    }
    return run;
}

/* What a state has of a tile. */
typedef struct tile_part {
    tada_state_piece head;
    const tada_layer *from[TADA_LAYERS];
    tada_state_layer layers[TADA_LAYERS];
    uint64_t exact; /* cells in f16 */
} tile_part;

/* When a run of cells was last written. Unwritten cells are as old as can be. */
static uint64_t stamp_of(const tada_plane *p, const tada_cells_run *run)
{
    const tada_tile *tile = &p->tiles[run->tile];
    return tile->mask & run->chosen ? tile->stamp : 0;
}

static tile_part part_of(const tada_plane *p, const tada_cells_run *run)
{
    const tada_tile *tile = &p->tiles[run->tile];
    tile_part part = {.head = {.chosen = run->chosen, .mask = tile->mask & run->chosen}};
    part.head.sinks = tile->sinks & part.head.mask;
    part.head.rank = stamp_of(p, run);
    part.head.hot = tile->hot && part.head.mask;
    part.exact = part.head.mask;
    for (const tada_layer *l = &tile->codes; l; l = tada_layer_next(p, l)) {
        /* Of a hot tile, a cell may have become a sink since. */
        uint64_t cells = l->base < 0 ? 0 : l->cells & part.head.mask & ~part.head.sinks;
        if (cells) {
            part.layers[part.head.n_layers] = (tada_state_layer){cells, l->shift, l->fine >= 0};
            part.from[part.head.n_layers++] = l;
            /* The rows of a hot tile may be better than its codes, whose refinement has gone. */
            part.exact &= tile->hot ? part.exact : ~cells;
        }
    }
    return part;
}

static size_t part_bytes(const tada_plane *p, const tile_part *part)
{
    size_t bytes = sizeof part->head;
    for (uint32_t i = 0; i < part->head.n_layers; i++) {
        bytes += sizeof part->layers[i] + tada_state_codes(&p->codec.layout, part->layers[i].fine);
    }
    return bytes + (size_t)__builtin_popcountll(part->exact) * (size_t)p->shape.width * 2;
}

static bool moved(const tile_part *part)
{
    bool any = false;
    for (uint32_t i = 0; i < part->head.n_layers; i++) {
        any = any || part->layers[i].shift != 0;
    }
    return any;
}

static size_t rope_bytes(const tada_rope *rope)
{
    return sizeof(tada_state_rope) + (rope->factors ? (size_t)rope->n_dims / 2 * sizeof *rope->factors : 0);
}

/* The header, and the bytes of all. Cells exist. */
static tada_state_header measure(const tada_plane *p, const int64_t *cells, int64_t n)
{
    const tada_recipe *r = &p->codec.recipe;
    bool any_moved = false;
    tada_state_header h = {.magic = TADA_STATE_MAGIC,
                           .version = TADA_STATE_VERSION,
                           .tiles = TADA_STATE_TILES,
                           .bytes = sizeof h + TADA_STATE_SUM,
                           .rows = (uint64_t)n,
                           .width = (uint32_t)p->shape.width,
                           .kind = (uint8_t)p->shape.kind};
    if (p->compressed) {
        h.head_dim = (uint32_t)p->codec.layout.head_dim;
        h.group = (uint16_t)r->group;
        h.bits = (uint8_t)r->bits;
        h.centring = (uint8_t)r->centring;
        h.rotation = (uint8_t)r->rotation;
        h.axis = (uint8_t)r->axis;
        h.scale = (uint8_t)r->scale;
        h.quarters = (uint8_t)r->quarters;
    }
    for (int64_t i = 0; i < n;) {
        tada_cells_run run = tada_cells_next(p, cells + i, n - i);
        tile_part part = part_of(p, &run);
        h.bytes += part_bytes(p, &part);
        h.pieces++;
        any_moved = any_moved || moved(&part);
        i += run.n;
    }
    h.rope = any_moved ? (uint32_t)rope_bytes(p->rope) : 0;
    h.bytes += h.rope;
    return h;
}

size_t tada_plane_state_bytes(const tada_plane *p, const int64_t *cells, int64_t n)
{
    return tada_cells_check(p, cells, n, NULL) == TADA_OK ? (size_t)measure(p, cells, n).bytes : 0;
}

static void put(uint8_t **to, const void *bytes, size_t n)
{
    memcpy(*to, bytes, n);
    *to += n;
}

static void put_rope(uint8_t **to, const tada_rope *r)
{
    uint32_t n = r->factors ? (uint32_t)r->n_dims / 2 : 0;
    tada_state_rope rope = {r->column,
                            r->n_dims,
                            r->n_heads,
                            r->head_stride,
                            (int32_t)r->pairs,
                            r->n_ctx_orig,
                            r->freq_base,
                            r->freq_scale,
                            r->ext_factor,
                            r->attn_factor,
                            r->beta_fast,
                            r->beta_slow,
                            n};
    put(to, &rope, sizeof rope);
    if (n) {
        put(to, r->factors, n * sizeof *r->factors);
    }
}

static void put_codes(uint8_t **to, const tada_plane *p, const tada_layer *layer)
{
    const tada_layout *l = &p->codec.layout;
    tada_cold cold = tada_layer_cold(p, layer);
    for (size_t u = 0; u < (size_t)l->n_units; u++) {
        put(to, cold.records + u * cold.stride, l->record_bytes);
    }
    put(to, cold.head_means, l->head_means_bytes);
    for (size_t u = 0; cold.fine && u < (size_t)l->n_units; u++) {
        put(to, cold.fine + u * cold.stride, l->fine_bytes);
    }
}

/* Writes rows in f16: of a hot tile those that are saved so, of a cold tile its sinks. */
static void put_rows(uint8_t **to, const tada_plane *p, int64_t tile, uint64_t exact)
{
    size_t row = (size_t)p->shape.width;
    const uint16_t *hot = p->tiles[tile].hot;
    for (uint64_t left = hot ? exact : 0; left; left &= left - 1) {
        put(to, hot + (size_t)__builtin_ctzll(left) * row, row * 2);
    }
    for (tada_sinks s = tada_sinks_next(p, tile, 0); !hot && s.n > 0;
         s = tada_sinks_next(p, tile, s.first + s.n)) {
        for (int i = 0; i < s.n; i++) {
            if (exact >> (s.first + i) & 1) {
                put(to, s.rows + (size_t)i * row, row * 2);
            }
        }
    }
}

static int smaller_first(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The stamps of the tiles of all pieces, in ascending order. NULL: memory is short. */
static uint64_t *sorted_stamps(const tada_plane *p, const int64_t *cells, int64_t n, size_t pieces)
{
    uint64_t *stamps = malloc(pieces * sizeof *stamps + 1);
    for (int64_t i = 0, j = 0; stamps && i < n; j++) {
        tada_cells_run run = tada_cells_next(p, cells + i, n - i);
        stamps[j] = stamp_of(p, &run);
        i += run.n;
    }
    if (stamps) {
        qsort(stamps, pieces, sizeof *stamps, smaller_first);
    }
    return stamps;
}

/* The same without memory, at more cost. */
static uint64_t count_older(const tada_plane *p, const int64_t *cells, int64_t n, uint64_t stamp)
{
    uint64_t older = 0;
    for (int64_t i = 0; i < n;) {
        tada_cells_run run = tada_cells_next(p, cells + i, n - i);
        older += stamp_of(p, &run) < stamp;
        i += run.n;
    }
    return older;
}

/* The number of stamps that are smaller: states of the same rows have the same bytes, whatever else was
 * written between them. */
static uint64_t rank_of(const uint64_t *stamps, size_t n, uint64_t stamp)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (stamps[middle] < stamp) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

enum tada_status tada_plane_export(const tada_plane *p, const int64_t *cells, int64_t n, void *state,
                                   size_t size, tada_error *error)
{
    enum tada_status status = tada_cells_check(p, cells, n, error);
    if (status != TADA_OK) {
        return status;
    }
    tada_state_header header = measure(p, cells, n);
    if (size != header.bytes) {
        return tada_fail(error, TADA_E_ARGUMENT, "These cells take %llu bytes, but got room for %zu.",
                         (unsigned long long)header.bytes, size);
    }
    uint64_t *stamps = sorted_stamps(p, cells, n, header.pieces);
    uint8_t *to = state;
    put(&to, &header, sizeof header);
    if (header.rope) {
        put_rope(&to, p->rope);
    }
    for (int64_t i = 0; i < n;) {
        tada_cells_run run = tada_cells_next(p, cells + i, n - i);
        tile_part part = part_of(p, &run);
        part.head.rank = stamps ? rank_of(stamps, header.pieces, part.head.rank)
                                : count_older(p, cells, n, part.head.rank);
        put(&to, &part.head, sizeof part.head);
        for (uint32_t j = 0; j < part.head.n_layers; j++) {
            put(&to, &part.layers[j], sizeof part.layers[j]);
            put_codes(&to, p, part.from[j]);
        }
        put_rows(&to, p, run.tile, part.exact);
        i += run.n;
    }
    free(stamps);
    tada_crc crc;
    tada_crc_init(&crc);
    uint32_t sum = tada_crc_add(&crc, 0, state, size - TADA_STATE_SUM);
    put(&to, &sum, sizeof sum);
    return TADA_OK;
}
