/* Ranges, without those that another one with the same offset makes needless. */
#include "ranges.h"

#include <stdlib.h>

static int by_offset(const void *a, const void *b)
{
    const range *x = a, *y = b;
    return x->offset != y->offset ? (x->offset < y->offset ? -1 : 1)
                                  : (x->size > y->size) - (x->size < y->size);
}

/* The same bytes may have been set many times: once is enough. */
static void forget_repeated(ranges *r)
{
    int n = 0;
    qsort(r->items, (size_t)r->n, sizeof *r->items, by_offset);
    for (int i = 0; i < r->n; i++) {
        n -= n > 0 && r->items[n - 1].offset == r->items[i].offset;
        r->items[n++] = r->items[i];
    }
    r->n = n;
}

static bool make_room(ranges *r)
{
    if (r->items) {
        forget_repeated(r);
    }
    if (r->n >= r->room / 2) {
        int room = r->room ? 2 * r->room : 64;
        range *items = realloc(r->items, (size_t)room * sizeof *items);
        if (items) {
            r->items = items;
            r->room = room;
        }
    }
    return r->n < r->room;
}

bool ranges_add(ranges *r, size_t offset, size_t size)
{
    if (r->n == r->room && !make_room(r)) {
        return false;
    }
    r->items[r->n++] = (range){offset, size};
    return true;
}

void ranges_free(ranges *r)
{
    free(r->items);
    *r = (ranges){NULL, 0, 0};
}
