/* Arenas: a list of chunks, which is walked again after each reset. */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64 * 1024, ALIGNMENT = 64 };

typedef struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    _Alignas(ALIGNMENT) char bytes[];
} arena_chunk;

static arena_chunk *chunk_make(size_t bytes)
{
    size_t size = bytes > CHUNK ? bytes : CHUNK;
    arena_chunk *c = aligned_alloc(ALIGNMENT, (sizeof *c + size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (c) {
        c->next = NULL;
        c->size = size;
    }
    return c;
}

void *arena_take(arena *a, size_t bytes)
{
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    while (!a->now || a->used + bytes > a->now->size) {
        arena_chunk *next = a->now ? a->now->next : a->first;
        if (!next) {
            next = chunk_make(bytes);
            if (!next) {
                return NULL;
            }
            *(a->now ? &a->now->next : &a->first) = next;
        }
        a->now = next;
        a->used = 0;
    }
    void *piece = a->now->bytes + a->used;
    a->used += bytes;
    return memset(piece, 0, bytes);
}

void arena_reset(arena *a)
{
    a->now = NULL;
    a->used = 0;
}

void arena_free(arena *a)
{
    while (a->first) {
        arena_chunk *next = a->first->next;
        free(a->first);
        a->first = next;
    }
    *a = (arena){NULL, NULL, 0};
}
