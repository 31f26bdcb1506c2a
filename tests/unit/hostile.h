/* Numbers that no caller should give: each number of a structure in turn, at and beyond its ends. */
#ifndef TADA_TEST_HOSTILE_H
#define TADA_TEST_HOSTILE_H

#include "support.h"

#include <limits.h>
#include <signal.h>
#include <unistd.h>

/* Sizes that no memory has are refused by the allocator, not by the sanitizer. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:max_allocation_size_mb=2000";
}

__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return __asan_default_options();
}

/* ---- what is tried now, told when it ends in a signal ---- */

static char now[200];

static inline void tell(int number)
{
    static const char words[] = "ended by a signal: ";
    ssize_t written = write(STDERR_FILENO, words, sizeof words - 1);
    written = write(STDERR_FILENO, now, strlen(now));
    written = write(STDERR_FILENO, "\n", 1);
    (void)written;
    signal(number, SIG_DFL);
    raise(number);
}

static inline void tell_signals(void)
{
    static const int numbers[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        signal(numbers[i], tell);
    }
}

/* ---- numbers ---- */

enum number_type { INT, INT64, SIZE, ENUM, FLOAT };

/* A number of a structure. */
typedef struct number {
    const char *name;
    size_t at;
    enum number_type type;
} number;

#define NUMBER(structure, member, type)                                                                      \
    {                                                                                                        \
#structure "." #member, offsetof(structure, member), type                                            \
    }

static const int64_t hostile[] = {0,
                                  1,
                                  2,
                                  -1,
                                  3,
                                  4,
                                  5,
                                  7,
                                  8,
                                  15,
                                  16,
                                  17,
                                  31,
                                  32,
                                  33,
                                  48,
                                  63,
                                  64,
                                  65,
                                  128,
                                  255,
                                  256,
                                  257,
                                  272,
                                  -64,
                                  1000,
                                  1024,
                                  0x10000,
                                  0xffff0,
                                  0x100000,
                                  0x100001,
                                  0x100010,
                                  0x7fffffc0,
                                  0x7fffffff,
                                  -0x80000000L,
                                  0x80000000,
                                  0xffffffff,
                                  0x100000000,
                                  0xffffffffc0,
                                  0x10000000000,
                                  0x10000000001,
                                  1L << 57,
                                  1L << 58,
                                  1L << 62,
                                  INT64_MAX - 63,
                                  INT64_MAX - 1,
                                  INT64_MAX,
                                  INT64_MIN,
                                  INT64_MIN + 1};
enum { N_HOSTILE = sizeof hostile / sizeof *hostile };

static const float hostile_floats[] = {0, -1, 1e30f, -1e30f, 1e-45f, INFINITY, -INFINITY, NAN};
enum { N_FLOATS = sizeof hostile_floats / sizeof *hostile_floats };

/* How many values a number is set to. */
static inline int n_values(const number *n)
{
    return n->type == FLOAT ? N_FLOATS : N_HOSTILE;
}

/* Sets the number of a structure to the i-th value. False: its type has no such value. */
static inline bool set_number(void *structure, const number *n, int i)
{
    void *at = (char *)structure + n->at;
    if (n->type == FLOAT) {
        memcpy(at, &hostile_floats[i], sizeof hostile_floats[i]);
        snprintf(now, sizeof now, "%s = %g", n->name, (double)hostile_floats[i]);
        return true;
    }
    int64_t value = hostile[i];
    int small = (int)value;
    size_t size = (size_t)value;
    if ((n->type == INT || n->type == ENUM) && small != value) {
        return false;
    }
    if (n->type == INT64) {
        memcpy(at, &value, sizeof value);
    } else if (n->type == SIZE) {
        memcpy(at, &size, sizeof size);
    } else {
        memcpy(at, &small, sizeof small);
    }
    snprintf(now, sizeof now, "%s = %lld", n->name, (long long)value);
    return true;
}

static inline void is_refused(enum tada_status status, const tada_error *error)
{
    if (status != TADA_E_ARGUMENT) {
        fail_msg("%s: status %d, not that of a bad argument", now, status);
    }
    if (strlen(error->text) < 10) {
        fail_msg("%s: refused without a sentence", now);
    }
}

static inline bool in_range(int64_t value, int64_t least, int64_t most)
{
    return value >= least && value <= most;
}

/* ---- planes that are there ---- */

enum { CELLS = 200, STREAMS = 2, DIM = 32, WIDTH = 64, HEADS = 4 };

typedef struct some_planes {
    test_plane k, v;
    tada_pool *pool;
    float *rows;
    uint16_t *out;
    int64_t cells[CELLS * STREAMS];
} some_planes;

static inline some_planes planes_make(void)
{
    some_planes s = {.k = plane_of("tada", TADA_K, WIDTH, CELLS, STREAMS, DIM),
                     .v = plane_of("tada", TADA_V, WIDTH, CELLS, STREAMS, DIM),
                     .pool = tada_pool_create(),
                     .rows = malloc(sizeof *s.rows * CELLS * STREAMS * WIDTH),
                     .out = malloc(sizeof *s.out * CELLS * STREAMS * WIDTH)};
    fill(s.rows, (int64_t)CELLS * STREAMS, WIDTH, 0);
    for (int i = 0; i < CELLS * STREAMS; i++) {
        s.cells[i] = i;
    }
    for (int kind = 0; kind < 2; kind++) {
        tada_plane *plane = kind ? s.v.plane : s.k.plane;
        assert_int_equal(tada_plane_write(plane, s.pool, s.rows, TADA_F32, sizeof *s.rows * WIDTH, s.cells,
                                          (int64_t)CELLS * STREAMS, NULL),
                         TADA_OK);
        assert_int_equal(tada_plane_settle(plane, NULL, NULL), TADA_OK);
    }
    return s;
}

static inline void planes_done(some_planes *s)
{
    plane_done(&s->k);
    plane_done(&s->v);
    tada_pool_free(s->pool);
    free(s->rows);
    free(s->out);
}

/* Attention over these planes. q and out: [heads][3 queries][DIM]. */
static inline tada_attention attention_over(const some_planes *s, float *out)
{
    return (tada_attention){.k = s->k.plane,
                            .v = s->v.plane,
                            .k_dim = DIM,
                            .v_dim = DIM,
                            .k_head_stride = DIM,
                            .v_head_stride = DIM,
                            .n_heads = HEADS,
                            .n_heads_kv = WIDTH / DIM,
                            .n_streams = STREAMS,
                            .n_cells = CELLS,
                            .n_queries = 3,
                            .q = s->rows,
                            .q_query = DIM * 4,
                            .q_head = DIM * 12,
                            .q_stream = DIM * 12 * HEADS,
                            .scale = 0.2f,
                            .out = out,
                            .out_query = DIM * 4,
                            .out_head = DIM * 12,
                            .out_stream = DIM * 12 * HEADS};
}

#endif
