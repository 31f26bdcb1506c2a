#include "guard.h"

#include "sets.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ARENAS = 64,
    ARENA_BYTES = 1 << 20,
    MARGIN = 256, /* bytes on either side that are looked at, as far as there are any */
    FILL = 0xff,
    MARK = 0x5a
};

typedef struct arena {
    uint8_t *memory, *buffer; /* buffer: NULL when it is free */
    size_t bytes;
} arena;

static arena arenas[ARENAS];
static enum guard_side side_now;

static void map_arena(arena *a)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *all =
        mmap(NULL, ARENA_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(all != MAP_FAILED);
    assert_int_equal(mprotect(all + page, ARENA_BYTES, PROT_READ | PROT_WRITE), 0);
    a->memory = all + page;
}

void guard_start(enum guard_side side)
{
    side_now = side;
    for (int i = 0; i < ARENAS; i++) {
        arenas[i].buffer = NULL;
    }
}

static uint8_t *margin_before(const arena *a)
{
    return a->buffer - a->memory > MARGIN ? a->buffer - MARGIN : a->memory;
}

static uint8_t *margin_end(const arena *a)
{
    uint8_t *end = a->buffer + a->bytes, *last = a->memory + ARENA_BYTES;
    return last - end > MARGIN ? end + MARGIN : last;
}

void *guard_take(size_t n, size_t size)
{
    arena *a = arenas;
    while (a < arenas + ARENAS && a->buffer) {
        a++;
    }
    assert_true(a < arenas + ARENAS);
    if (!a->memory) {
        map_arena(a);
    }
    a->bytes = n * size;
    assert_true(a->bytes + MARGIN + 64 <= ARENA_BYTES);
    switch (side_now) {
    case GUARD_AFTER:
        a->buffer = a->memory + ARENA_BYTES - a->bytes;
        break;
    case GUARD_BEFORE:
        a->buffer = a->memory;
        break;
    default:
        a->buffer = a->memory + MARGIN + size;
    }
    memset(margin_before(a), MARK, (size_t)(a->buffer - margin_before(a)));
    memset(a->buffer, FILL, a->bytes);
    memset(a->buffer + a->bytes, MARK, (size_t)(margin_end(a) - a->buffer) - a->bytes);
    return a->buffer;
}

const void *guard_forbidden(void)
{
    if (!arenas[0].memory) {
        map_arena(arenas);
    }
    return arenas[0].memory + ARENA_BYTES;
}

void guard_check(void)
{
    for (const arena *a = arenas; a < arenas + ARENAS; a++) {
        if (!a->buffer) {
            continue;
        }
        for (const uint8_t *p = margin_before(a); p < margin_end(a); p++) {
            if (p == a->buffer) {
                p += a->bytes;
                if (p >= margin_end(a)) {
                    break;
                }
            }
            if (*p != MARK) {
                fail_case("wrote %td bytes from the start of buffer %td of %zu bytes", p - a->buffer,
                          a - arenas, a->bytes);
            }
        }
    }
}
