/* Layers of tiles, and the slots that their codes and refinements have. */
#include "common/half.h"
#include "spoilt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    APART =
        3 /* times as large are rows that get a layer of their own: those of one text hardly differ by half */
};

/*
 * There is always a free slot. A stream of T tiles with H own hot tiles has S >= T - H slots. Settling, which
 * adds layers and refinements, first counts: the tiles that are cold then have a layer each at least,
 * and these are no more than T - H; where others are too many, layers are merged and those of hot tiles given
 * up; refinements get what is left. A copy of a stream, which was settled, goes to one that was emptied.
 * Layers part in two where slots are free, or for the slot of a refinement. Everything else only returns
 * slots.
 *
 * Attention is fastest when tiles that follow each other in a context do so in memory. So codes take the slot
 * of their tile's number if they can, and refinements the one that is half of all slots further: those that
 * were there first are gone when codes get so far.
 */
static int32_t take_slot(tada_plane *p, int64_t stream, int64_t wanted)
{
    int64_t n = p->slots_per_stream, slot = wanted;
    uint8_t *taken = p->taken + stream * n;
    if (wanted < 0 || wanted >= n || taken[wanted]) {
        for (slot = 0; taken[slot]; slot++) {
        }
    }
    taken[slot] = 1;
    return (int32_t)(stream * n + slot);
}

static void give_back(tada_plane *p, int32_t *slot)
{
    if (*slot >= 0) {
        p->taken[*slot] = 0;
        *slot = -1;
    }
}

void tada_layer_take_fine(tada_plane *p, int64_t index, tada_layer *layer)
{
    int64_t n = p->slots_per_stream, wanted = (index % p->tiles_per_stream + n / 2) % n;
    layer->fine = take_slot(p, index / p->tiles_per_stream, wanted);
}

void tada_layer_return_fine(tada_plane *p, tada_layer *layer)
{
    give_back(p, &layer->fine);
}

int64_t tada_layers_room(const tada_plane *p, int64_t stream)
{
    const uint8_t *taken = p->taken + stream * p->slots_per_stream;
    int64_t n = 0;
    for (int64_t i = 0; i < p->slots_per_stream; i++) {
        n += !taken[i];
    }
    return n;
}

bool tada_layers_has_fine(const tada_plane *p, int64_t index)
{
    bool has = false;
    for (const tada_layer *l = &p->tiles[index].codes; l; l = tada_layer_next(p, l)) {
        has = has || l->fine >= 0;
    }
    return has;
}

int64_t tada_layers_refined(const tada_plane *p, int64_t stream)
{
    int64_t n = 0;
    for (int64_t i = stream * p->tiles_per_stream; i < (stream + 1) * p->tiles_per_stream; i++) {
        n += tada_layers_has_fine(p, i);
    }
    return n;
}

bool tada_layers_before(const tada_plane *p, int64_t index, int64_t other)
{
    bool unseen = tada_tile_unseen(p, index);
    return unseen != tada_tile_unseen(p, other) ? unseen : p->tiles[index].stamp < p->tiles[other].stamp;
}

bool tada_layers_unrefine(tada_plane *p, int64_t stream, uint64_t stamp)
{
    int64_t first = -1;
    for (int64_t i = stream * p->tiles_per_stream; i < (stream + 1) * p->tiles_per_stream; i++) {
        if (p->tiles[i].stamp <= stamp && tada_layers_has_fine(p, i) &&
            (first < 0 || tada_layers_before(p, i, first))) {
            first = i;
        }
    }
    if (first < 0) {
        return false;
    }
    tada_counted before = tada_tile_counted(p, &p->tiles[first]);
    for (tada_layer *l = &p->tiles[first].codes; l; l = tada_layer_next(p, l)) {
        tada_layer_return_fine(p, l);
    }
    tada_plane_recount(p, &p->tiles[first], before);
    return true;
}

static void clear(tada_plane *p, tada_layer *layer)
{
    give_back(p, &layer->base);
    give_back(p, &layer->fine);
    *layer = tada_layer_unused;
}

int tada_layers_count(const tada_plane *p, int64_t index)
{
    int n = 0;
    for (const tada_layer *l = &p->tiles[index].codes; l; l = tada_layer_next(p, l)) {
        n += l->base >= 0;
    }
    return n;
}

/* Slots that no tile needs that attention sees. */
static int64_t spare_slots(const tada_plane *p, int64_t stream)
{
    int64_t n = tada_layers_room(p, stream);
    for (int64_t i = stream * p->tiles_per_stream; i < (stream + 1) * p->tiles_per_stream; i++) {
        for (const tada_layer *l = &p->tiles[i].codes; l && tada_tile_unseen(p, i);
             l = tada_layer_next(p, l)) {
            n += l->fine >= 0;
        }
    }
    return n;
}

int tada_layers_left(const tada_plane *p, int64_t index)
{
    enum { FEW = 2, SLOTS = 2 * (TADA_LAYERS - FEW) };
    int64_t stream = index / p->tiles_per_stream;
    bool scarce =
        2 * tada_room_of(p, stream).layers <= p->layers_per_stream || spare_slots(p, stream) < SLOTS;
    int most = scarce ? FEW : TADA_LAYERS, n = tada_layers_count(p, index);
    return n < most ? most - n : 0;
}

tada_layer *tada_layers_add(tada_plane *p, int64_t index)
{
    int64_t stream = index / p->tiles_per_stream;
    tada_layer *last = &p->tiles[index].codes, *layer = last;
    if (last->base >= 0) {
        int64_t at = stream * p->layers_per_stream, end = at + p->layers_per_stream;
        while (at < end && p->layers[at].base >= 0) {
            at++;
        }
        if (at == end || tada_layers_count(p, index) == TADA_LAYERS) {
            return NULL;
        }
        while (last->next >= 0) {
            last = tada_layer_next(p, last);
        }
        last->next = (int32_t)at;
        layer = &p->layers[at];
    }
    layer->base = take_slot(p, stream, index % p->tiles_per_stream);
    return layer;
}

tada_layer *tada_layers_copy(tada_plane *p, const tada_layer *source, int64_t to)
{
    tada_layer *target = tada_layers_add(p, to);
    target->cells = source->cells;
    target->shift = source->shift;
    if (source->fine >= 0) {
        tada_layer_take_fine(p, to, target);
    }
    tada_cold copy = tada_layer_cold(p, target), original = tada_layer_cold(p, source);
    tada_cold_copy(&p->codec, &original, &copy);
    return target;
}

/* ---- parts of layers ---- */

tada_room tada_room_of(const tada_plane *p, int64_t stream)
{
    tada_room room = {.fines = p->window_slots < 1 ? -1 : -p->window_slots};
    for (int64_t i = stream * p->slots_per_stream; i < (stream + 1) * p->slots_per_stream; i++) {
        room.slots += !p->taken[i];
    }
    for (int64_t i = stream * p->layers_per_stream; i < (stream + 1) * p->layers_per_stream; i++) {
        room.layers += p->layers[i].base < 0;
        room.fines += p->layers[i].fine >= 0;
    }
    for (int64_t i = stream * p->tiles_per_stream; i < (stream + 1) * p->tiles_per_stream; i++) {
        room.fines += p->tiles[i].codes.fine >= 0;
    }
    return room;
}

bool tada_room_take(tada_room *room, const tada_layer *layer)
{
    int64_t slots = layer->fine >= 0 ? 2 : 1;
    bool free = room->slots >= slots, gives = !free && slots == 1 && room->fines > 0;
    if (room->layers == 0 || (!free && !gives)) {
        return false;
    }
    room->layers--;
    room->slots -= free ? slots : 0;
    room->fines += free ? slots - 1 : -1;
    return true;
}

/* Gives up the refinement of one layer. */
static void give_up_fine(tada_plane *p, int64_t stream)
{
    int64_t first = -1;
    tada_layer *layer = NULL;
    for (int64_t i = stream * p->tiles_per_stream; i < (stream + 1) * p->tiles_per_stream; i++) {
        for (tada_layer *l = &p->tiles[i].codes; l; l = tada_layer_next(p, l)) {
            if (l->fine >= 0 && (first < 0 || tada_layers_before(p, i, first))) {
                first = i;
                layer = l;
            }
        }
    }
    tada_counted before = tada_tile_counted(p, &p->tiles[first]);
    tada_layer_return_fine(p, layer);
    tada_plane_recount(p, &p->tiles[first], before);
}

void tada_layers_part(tada_plane *p, int64_t index, tada_layer *layer, uint64_t cells)
{
    tada_tile *tile = &p->tiles[index];
    tada_counted before = tada_tile_counted(p, tile);
    int64_t stream = index / p->tiles_per_stream;
    if (!memchr(p->taken + stream * p->slots_per_stream, 0, (size_t)p->slots_per_stream)) {
        give_up_fine(p, stream);
    }
    tada_layers_copy(p, layer, index)->cells = cells;
    layer->cells &= ~cells;
    tada_plane_recount(p, tile, before);
}

/* ---- rows of other sizes ---- */

static int smaller_first(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

uint64_t tada_layers_apart(const tada_plane *p, int64_t index, uint64_t cells)
{
    float sizes[CELLS], sorted[CELLS], limit = INFINITY, widest = APART;
    int n = 0;
    if (p->codec.recipe.axis != TADA_AXIS_CHANNEL) {
        return 0;
    }
    for (uint64_t left = cells; left; left &= left - 1) {
        int t = __builtin_ctzll(left);
        int peak = tada_row_peak(p->tiles[index].hot + (size_t)t * (size_t)p->shape.width, p->shape.width);
        if (peak >= TADA_HALF_INFINITY) {
            /* Values that are not finite take the size of the others, so there is nothing to tell rows
             * apart by. */
            return 0;
        }
        sizes[t] = tada_half_to_float((uint16_t)peak);
        if (sizes[t] > 0) {
            sorted[n++] = sizes[t];
        }
    }
    qsort(sorted, (size_t)n, sizeof *sorted, smaller_first);
    for (int i = 1; i < n; i++) {
        if (sorted[i] > widest * sorted[i - 1]) {
            widest = sorted[i] / sorted[i - 1];
            limit = sorted[i];
        }
    }
    uint64_t large = 0;
    for (uint64_t left = cells; left; left &= left - 1) {
        int t = __builtin_ctzll(left);
        large |= (uint64_t)(sizes[t] >= limit) << t;
    }
    return large;
}

void tada_layers_forget(tada_plane *p, int64_t index, int cell)
{
    for (tada_layer *l = &p->tiles[index].codes; l; l = tada_layer_next(p, l)) {
        l->cells &= ~((uint64_t)1 << cell);
    }
}

void tada_layers_tidy(tada_plane *p, int64_t index)
{
    tada_layer *first = &p->tiles[index].codes;
    uint64_t coded = tada_plane_coded(p, index);
    first->cells &= coded;
    for (int32_t *link = &first->next; *link >= 0;) {
        tada_layer *layer = &p->layers[*link];
        int32_t next = layer->next;
        if (layer->cells &= coded) {
            link = &layer->next;
        } else {
            clear(p, layer);
            *link = next;
        }
    }
    if (!first->cells) {
        tada_layer *second = tada_layer_next(p, first);
        clear(p, first);
        if (second) {
            *first = *second;
            *second = tada_layer_unused;
        }
    }
}

void tada_layers_cut(tada_plane *p, int64_t index)
{
    tada_layer *first = &p->tiles[index].codes;
    for (tada_layer *l = tada_layer_next(p, first), *next; l; l = next) {
        next = tada_layer_next(p, l);
        clear(p, l);
    }
    first->next = -1;
}

void tada_layers_drop(tada_plane *p, int64_t index)
{
    tada_layers_cut(p, index);
    clear(p, &p->tiles[index].codes);
}
