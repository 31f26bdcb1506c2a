#include "spoilt.h"

#include "sinks.h"

enum { CELLS = TADA_TILE_CELLS };

static bool tile_finite(const tada_plane *p, int64_t index)
{
    const tada_tile *tile = &p->tiles[index];
    int width = p->shape.width;
    bool finite = !tile->hot || tada_rows_finite(tile->hot, tile->mask, width);
    for (tada_sinks s = tada_sinks_next(p, index, 0); !tile->hot && s.n > 0;
         s = tada_sinks_next(p, index, s.first + s.n)) {
        finite = finite && tada_rows_finite(s.rows, UINT64_MAX >> (CELLS - s.n), width);
    }
    return finite;
}

void tada_spoilt_recheck(tada_plane *p)
{
    bool finite = true;
    for (int64_t i = 0; i < p->n_tiles && finite && p->spoilt; i++) {
        finite = tile_finite(p, i);
    }
    p->spoilt = p->spoilt && !finite;
}
