/* An arena: memory that is taken piece by piece and given back all at once. Its chunks are used again. One
 * thread at a time uses an arena. */
#ifndef PLUGIN_BASE_ARENA_H
#define PLUGIN_BASE_ARENA_H

#include <stddef.h>

typedef struct arena {
    struct arena_chunk *first; /* NULL: nothing has been taken yet */
    struct arena_chunk *now;   /* the chunk that pieces are taken from; NULL: begin with the first */
    size_t used;               /* bytes of `now` that are taken */
} arena;

/* A zeroed piece, aligned to 64 bytes. It is valid until arena_reset. NULL: memory is short. */
void *arena_take(arena *arena, size_t bytes);
/* Gives all pieces back to the arena, which keeps its memory. */
void arena_reset(arena *arena);
/* Gives the memory back to the system. The arena is then as new. */
void arena_free(arena *arena);

#endif
