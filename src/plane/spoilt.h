/* Planes whose rows in f16 may hold values that are not finite ("spoilt"): attention then looks at each. */
#ifndef TADA_PLANE_SPOILT_H
#define TADA_PLANE_SPOILT_H

#include "codec/nonfinite.h"
#include "plane.h"

/* Notes a row that was written, or changed, by its peak. One thread at a time. */
static inline void tada_spoilt_note(tada_plane *plane, int peak)
{
    if (peak >= TADA_HALF_INFINITY) {
        plane->spoilt = true;
        tada_count(&plane->nonfinite, 1);
    }
}

/* Looks whether such rows are still there: the plane is not spoilt any more when they are gone. */
void tada_spoilt_recheck(tada_plane *plane);

#endif
