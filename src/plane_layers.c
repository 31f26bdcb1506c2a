/* Layers of tiles, and the slots that their codes and refinements have. */
#include "plane.h"

/*
 * There is always a free slot. A stream of T tiles with H own hot tiles has S >= T - H slots. Settling, which
 * alone adds layers and refinements, first counts: the tiles that are cold then have a layer each at least,
 * and these are no more than T - H; where others are too many, layers are merged and those of hot tiles given
 * up; refinements get what is left. A copy of a stream, which was settled, goes to one that was emptied.
 * Everything else only returns slots.
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

tada_layer *tada_layers_add(tada_plane *p, int64_t index)
{
    int64_t stream = index / p->tiles_per_stream;
    tada_layer *first = &p->tiles[index].codes, *layer = first;
    if (first->base >= 0) {
        int64_t at = stream * p->layers_per_stream, end = at + p->layers_per_stream;
        while (at < end && p->layers[at].base >= 0) {
            at++;
        }
        if (at == end || first->next >= 0) {
            return NULL;
        }
        first->next = (int32_t)at;
        layer = &p->layers[at];
    }
    layer->base = take_slot(p, stream, index % p->tiles_per_stream);
    return layer;
}

void tada_layers_forget(tada_plane *p, int64_t index, int cell)
{
    for (tada_layer *l = &p->tiles[index].codes; l; l = tada_layer_next(p, l)) {
        l->cells &= ~((uint64_t)1 << cell);
    }
}

void tada_layers_tidy(tada_plane *p, int64_t index)
{
    tada_layer *first = &p->tiles[index].codes, *second = tada_layer_next(p, first);
    uint64_t coded = tada_plane_coded(p, index);
    first->cells &= coded;
    if (second && !(second->cells &= coded)) {
        tada_layers_cut(p, index);
        second = NULL;
    }
    if (!first->cells) {
        clear(p, first);
        if (second) {
            *first = *second;
            *second = tada_layer_unused;
        }
    }
}

void tada_layers_cut(tada_plane *p, int64_t index)
{
    tada_layer *first = &p->tiles[index].codes, *second = tada_layer_next(p, first);
    if (second) {
        first->next = -1;
        clear(p, second);
    }
}

void tada_layers_drop(tada_plane *p, int64_t index)
{
    tada_layers_cut(p, index);
    clear(p, &p->tiles[index].codes);
}
