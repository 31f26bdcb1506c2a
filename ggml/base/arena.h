/* Memory that is taken piece by piece and given back all at once, to be taken again. */
#ifndef PLUGIN_BASE_ARENA_H
#define PLUGIN_BASE_ARENA_H

#include <stddef.h>

typedef struct arena {
    struct arena_chunk *first, *now; /* NULL: none yet; what is taken next */
    size_t used;                     /* of `now` */
} arena;

/* Zeroed, and aligned for anything. NULL: memory is short. */
void *arena_take(arena *arena, size_t bytes);
void arena_reset(arena *arena);
void arena_free(arena *arena);

#endif
