/* Any numbers as arguments of tada.h: an error with a sentence, or what was asked for, and never a signal. */
#include "fuzz.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 130, STREAMS = 2, DIM = 32, WIDTH = 64, MOST_BYTES = 1 << 18 };

/* A number at the end of some range, near one that a size has, or any. */
static int64_t number(fuzz_input *in)
{
    static const int64_t some[] = {0,         1,        -1,       2,        16,       63,       64,
                                   65,        128,      1 << 16,  1 << 20,  INT_MAX,  INT_MIN,  INT64_MAX,
                                   INT64_MIN, 1L << 31, 1L << 32, 1L << 40, 1L << 57, 1L << 62, INT_MAX - 63};
    int choice = fuzz_byte(in);
    int64_t value = 0;
    if (choice < 128) {
        uint64_t near = (uint64_t)some[choice % (int)(sizeof some / sizeof *some)];
        return (int64_t)(near + (uint64_t)(choice / 43) - 1);
    }
    for (int i = choice % 8; i >= 0; i--) {
        value = (int64_t)((uint64_t)value << 8 | fuzz_byte(in));
    }
    return choice % 16 < 8 ? value : -(value >> 1);
}

/* Changes one of the n numbers of a structure that the list gives, or none. */
typedef struct member {
    size_t at, size;
} member;

#define MEMBER(structure, name)                                                                              \
    {                                                                                                        \
        offsetof(structure, name), sizeof((structure *)0)->name                                              \
    }

static void spoil(fuzz_input *in, void *structure, const member *members, size_t n)
{
    for (int times = fuzz_below(in, 3); times > 0; times--) {
        const member *m = &members[fuzz_below(in, (int)n)];
        int64_t value = number(in);
        /* The low bytes, as the machine has them: any of the smaller type. */
        memcpy((char *)structure + m->at, &value, m->size);
    }
}

#define RECIPE(structure, name)                                                                              \
    MEMBER(structure, name.bits), MEMBER(structure, name.group), MEMBER(structure, name.centring),           \
        MEMBER(structure, name.rotation), MEMBER(structure, name.axis), MEMBER(structure, name.scale),       \
        MEMBER(structure, name.search), MEMBER(structure, name.quarters)
static const member in_spec[] = {RECIPE(tada_spec, k),      RECIPE(tada_spec, v),
                                 MEMBER(tada_spec, window), MEMBER(tada_spec, window_bits),
                                 MEMBER(tada_spec, refine), MEMBER(tada_spec, sinks)};
static const member in_shape[] = {MEMBER(tada_shape, kind), MEMBER(tada_shape, width),
                                  MEMBER(tada_shape, n_cells), MEMBER(tada_shape, n_streams),
                                  MEMBER(tada_shape, head_dim)};
static const member in_plan[] = {MEMBER(tada_plan_info, sinks), MEMBER(tada_plan_info, n_ctx)};
static const member in_plane[] = {RECIPE(tada_plan_plane, recipe),      MEMBER(tada_plan_plane, width),
                                  MEMBER(tada_plan_plane, head_dim),    MEMBER(tada_plan_plane, window),
                                  MEMBER(tada_plan_plane, window_bits), MEMBER(tada_plan_plane, sensitivity)};
static const member in_attention[] = {
    MEMBER(tada_attention, k_column),      MEMBER(tada_attention, v_column),
    MEMBER(tada_attention, k_dim),         MEMBER(tada_attention, v_dim),
    MEMBER(tada_attention, k_head_stride), MEMBER(tada_attention, v_head_stride),
    MEMBER(tada_attention, n_heads),       MEMBER(tada_attention, n_heads_kv),
    MEMBER(tada_attention, first_stream),  MEMBER(tada_attention, n_streams),
    MEMBER(tada_attention, first_cell),    MEMBER(tada_attention, n_cells),
    MEMBER(tada_attention, n_queries),     MEMBER(tada_attention, mask_heads),
    MEMBER(tada_attention, mask_streams),  MEMBER(tada_attention, q_query),
    MEMBER(tada_attention, q_head),        MEMBER(tada_attention, q_stream),
    MEMBER(tada_attention, mask_query),    MEMBER(tada_attention, mask_head),
    MEMBER(tada_attention, mask_stream),   MEMBER(tada_attention, out_query),
    MEMBER(tada_attention, out_head),      MEMBER(tada_attention, out_stream),
    MEMBER(tada_attention, scale),         MEMBER(tada_attention, max_bias),
    MEMBER(tada_attention, softcap)};
static const member in_rope[] = {
    MEMBER(tada_rope, column),      MEMBER(tada_rope, n_dims),     MEMBER(tada_rope, n_heads),
    MEMBER(tada_rope, head_stride), MEMBER(tada_rope, pairs),      MEMBER(tada_rope, n_ctx_orig),
    MEMBER(tada_rope, freq_base),   MEMBER(tada_rope, freq_scale), MEMBER(tada_rope, ext_factor),
    MEMBER(tada_rope, attn_factor), MEMBER(tada_rope, beta_fast),  MEMBER(tada_rope, beta_slow)};
#define SPOIL(in, structure, members) spoil(in, structure, members, sizeof(members) / sizeof *(members))

static void expect(enum tada_status status, const tada_error *error)
{
    if (status != TADA_OK && strlen(error->text) < 10) {
        fuzz_fail("status %d without a sentence", status);
    }
}

/* Rows from `first` on. */
static void write_some(tada_plane *plane, tada_pool *pool, int width, int64_t first, int64_t n)
{
    float *rows = fuzz_memory((size_t)n * (size_t)width * sizeof *rows);
    int64_t *cells = fuzz_memory((size_t)n * sizeof *cells);
    fuzz_random random = fuzz_seed((uint32_t)width);
    for (int64_t i = 0; i < n * width; i++) {
        rows[i] = fuzz_normal(&random);
    }
    for (int64_t i = 0; i < n; i++) {
        cells[i] = first + i;
    }
    if (tada_plane_write(plane, pool, rows, TADA_F32, (size_t)width * 4, cells, n, NULL) != TADA_OK ||
        tada_plane_settle(plane, NULL, NULL) != TADA_OK) {
        fuzz_fail("rows cannot be written");
    }
    free(rows);
    free(cells);
}

static void try_plane(fuzz_input *in)
{
    char text[256];
    tada_spec spec = fuzz_spec(in, text, sizeof text);
    tada_shape shape = {(enum tada_kind)fuzz_below(in, 2), 16 * (1 + fuzz_below(in, 8)), CELLS, 1, 0};
    tada_plane_parts parts;
    tada_error error = {""};
    tada_plane *plane = NULL;
    SPOIL(in, &spec, in_spec);
    SPOIL(in, &shape, in_shape);
    size_t bytes = tada_plane_bytes(&spec, &shape);
    if (tada_plane_measure(&spec, &shape, &parts) != (bytes > 0) ||
        parts.codes + parts.window + parts.sinks + parts.table != bytes) {
        fuzz_fail("the parts of a plane are not the whole");
    }
    tada_plane_batch_bytes(&spec, &shape, number(in));
    void *memory = aligned_alloc(64, bytes < MOST_BYTES ? bytes / 64 * 64 + 64 : 64);
    enum tada_status status =
        tada_plane_create(&spec, &shape, memory, bytes < MOST_BYTES ? bytes : 0, &plane, &error);
    expect(status, &error);
    if (bytes > 0 && bytes < MOST_BYTES && status == TADA_E_ARGUMENT) {
        fuzz_fail("a plane has a size and cannot be: %s", error.text);
    }
    if (status == TADA_OK) {
        tada_pool *pool = tada_pool_create();
        tada_plane_set_head_dim(plane, (int)number(in));
        int64_t total = shape.n_cells * shape.n_streams, n = total < CELLS ? total : CELLS;
        write_some(plane, pool, shape.width, 0, n);
        uint16_t *out = fuzz_memory((size_t)n * (size_t)shape.width * 2);
        if (tada_plane_read(plane, total - n, n, out, NULL, NULL) != TADA_OK) {
            fuzz_fail("cells cannot be read");
        }
        free(out);
        tada_plane_free(plane);
        tada_pool_free(pool);
    }
    free(memory);
}

static void try_plan(fuzz_input *in)
{
    char text[256];
    tada_plan *plan = tada_plan_create((int)number(in));
    tada_plan_free(plan);
    plan = tada_plan_create(1 + fuzz_below(in, 3));
    tada_error error = {""};
    if (!plan) {
        fuzz_fail("no memory for a plan");
    }
    tada_plan_info info = *tada_plan_get_info(plan);
    SPOIL(in, &info, in_plan);
    expect(tada_plan_set_info(plan, &info, &error), &error);
    for (int i = 0; i < 2 * tada_plan_layers(plan); i++) {
        enum tada_kind kind = i % 2 ? TADA_V : TADA_K;
        tada_spec spec = fuzz_spec(in, text, sizeof text);
        tada_plan_plane plane = {.width = WIDTH, .recipe = i % 2 ? spec.v : spec.k, .window = spec.window};
        SPOIL(in, &plane, in_plane);
        enum tada_status status = tada_plan_set_plane(plan, i / 2, kind, &plane, &error);
        expect(status, &error);
        spec = tada_plan_spec(plan, i / 2, kind);
        tada_shape shape = {
            .kind = kind, .width = plane.width, .n_cells = CELLS, .n_streams = 1, .head_dim = plane.head_dim};
        if (status == TADA_OK && shape.width > 0 && tada_plane_bytes(&spec, &shape) == 0) {
            fuzz_fail("a plane of a sound plan cannot be");
        }
    }
    tada_plan_plane plane = {.width = 0};
    expect(tada_plan_set_plane(plan, (int)number(in), (enum tada_kind)number(in), &plane, &error), &error);
    if (tada_plan_get_point(plan, (int)number(in))) {
        fuzz_fail("a plan without points has one");
    }
    tada_spec spec = tada_plan_spec(plan, (int)number(in), (enum tada_kind)number(in));
    (void)spec;
    tada_plan_free(plan);
}

/* ---- two planes that are there ---- */

typedef struct pair {
    tada_spec spec;
    tada_shape shapes[2];
    void *memory[2];
    tada_plane *planes[2];
    tada_pool *pool;
} pair;

static pair pair_make(fuzz_input *in)
{
    char text[256];
    pair p = {.spec = fuzz_spec(in, text, sizeof text), .pool = tada_pool_create()};
    for (int kind = 0; kind < 2; kind++) {
        tada_error error = {""};
        p.shapes[kind] = (tada_shape){(enum tada_kind)kind, WIDTH, CELLS, STREAMS, DIM};
        size_t bytes = tada_plane_bytes(&p.spec, &p.shapes[kind]);
        p.memory[kind] = aligned_alloc(64, bytes / 64 * 64 + 64);
        if (tada_plane_create(&p.spec, &p.shapes[kind], p.memory[kind], bytes, &p.planes[kind], &error) !=
            TADA_OK) {
            fuzz_fail("%s: %s", text, error.text);
        }
        write_some(p.planes[kind], p.pool, WIDTH, fuzz_below(in, 64), (int64_t)CELLS * STREAMS - 64);
    }
    return p;
}

static void pair_free(pair *p)
{
    for (int kind = 0; kind < 2; kind++) {
        tada_plane_free(p->planes[kind]);
        free(p->memory[kind]);
    }
    tada_pool_free(p->pool);
}

static void run_ends(void *pool, tada_work work, void *context)
{
    const int *n = pool;
    work(context, 0, *n);
    if (*n > 1) {
        work(context, *n - 1, *n);
    }
}

static bool keep(void *context, int thread, const int64_t *cells, int n, uint16_t *rows)
{
    (void)context;
    (void)thread;
    (void)rows;
    return n < 1 || cells[0] >= 0;
}

static void try_calls(fuzz_input *in)
{
    enum { TOTAL = CELLS * STREAMS };
    static uint16_t out[TOTAL * WIDTH];
    static float rows[4 * WIDTH];
    static uint8_t chosen[TOTAL];
    static int32_t deltas[TOTAL];
    pair p = pair_make(in);
    tada_plane *plane = p.planes[0];
    memset(chosen, 1, sizeof chosen);
    for (int calls = 0; calls < 8 && fuzz_more(in); calls++) {
        tada_error error = {""};
        int n = (int)number(in);
        tada_threads lent = {n, fuzz_below(in, 4) ? run_ends : NULL, &n};
        const tada_threads *threads = fuzz_below(in, 2) ? &lent : NULL;
        int64_t a = number(in), b = number(in), cells[3] = {a, 1, b};
        size_t stride = (size_t)number(in);
        enum tada_type type = (enum tada_type)number(in);
        /* What is called with so many rows must be there. */
        bool there = b <= 1 || (b <= 3 && (stride <= WIDTH * sizeof *rows || stride > SIZE_MAX / 2));
        switch (fuzz_below(in, 9)) {
        case 8: {
            tada_rope rope = {0, DIM, WIDTH / DIM, DIM, TADA_ROPE_HALVES, 4096, 10000, 1, 0, 1, 32, 1, NULL};
            SPOIL(in, &rope, in_rope);
            for (int i = 0; i < TOTAL; i++) {
                deltas[i] = i < CELLS ? n : (int32_t)a;
            }
            expect(tada_plane_shift(plane, &rope, deltas, threads, &error), &error);
            break;
        }
        case 0:
            expect(tada_plane_read(plane, a, b, out, threads, &error), &error);
            break;
        case 1:
            expect(tada_plane_copy_stream(plane, p.pool, a, b, threads, &error), &error);
            break;
        case 2:
            if (there) {
                expect(tada_plane_write(plane, p.pool, rows, type, stride, cells, b, &error), &error);
            }
            break;
        case 3:
            tada_plane_mark_sinks(plane, cells, b < 3 ? b : 3);
            break;
        case 4:
            expect(tada_plane_edit(plane, chosen, keep, NULL, threads, &error), &error);
            break;
        case 5:
            expect(tada_plane_settle(plane, threads, &error), &error);
            break;
        case 6: {
            tada_settling *settling = tada_settling_create();
            expect(tada_settling_begin(settling, p.planes, n < 2 ? n : 2, &error), &error);
            tada_settling_end(settling);
            tada_settling_free(settling);
            break;
        }
        default:
            tada_plane_set_head_dim(plane, n);
        }
    }
    pair_free(&p);
}

/* ---- attention ---- */

/* Bytes from the first to beyond the last value of an operand. */
static double extent(const tada_attention *a, size_t query, size_t head, size_t stream, double values)
{
    return fmax((double)a->n_queries - 1, 0) * (double)query +
           fmax((double)a->n_heads - 1, 0) * (double)head +
           fmax((double)a->n_streams - 1, 0) * (double)stream + values;
}

static void try_attention(fuzz_input *in)
{
    static float q[MOST_BYTES / sizeof(float)], out[MOST_BYTES / sizeof(float)];
    static uint16_t mask[MOST_BYTES / sizeof(uint16_t)];
    pair p = pair_make(in);
    int threads = (int)number(in), n = 1 + fuzz_below(in, 20);
    tada_attention a = {.k = p.planes[0],
                        .v = p.planes[1],
                        .k_dim = DIM,
                        .v_dim = DIM,
                        .k_head_stride = DIM,
                        .v_head_stride = DIM,
                        .n_heads = 4,
                        .n_heads_kv = 2,
                        .n_streams = STREAMS,
                        .n_cells = CELLS,
                        .n_queries = n,
                        .q = q,
                        .q_query = DIM * 16,
                        .q_head = DIM * 4,
                        .q_stream = DIM * 320,
                        .mask = fuzz_below(in, 2) ? mask : NULL,
                        .mask_query = CELLS * 2,
                        .mask_heads = 1,
                        .mask_streams = 1,
                        .scale = 0.2f,
                        .out = out,
                        .out_query = DIM * 16,
                        .out_head = DIM * 4,
                        .out_stream = DIM * 320};
    SPOIL(in, &a, in_attention);
    tada_error error = {""};
    tada_attention_job *job = NULL;
    tada_attention_bytes(&a, &p.spec, &p.shapes[0], &p.spec, &p.shapes[1], threads);
    enum tada_status status = tada_attention_plan(&a, &job, &error);
    expect(status, &error);
    double end = fmax(extent(&a, a.q_query, a.q_head, a.q_stream, 4.0 * a.k_dim),
                      extent(&a, a.out_query, a.out_head, a.out_stream, 4.0 * a.v_dim));
    end = a.mask ? fmax(end, extent(&a, a.mask_query, a.mask_head, a.mask_stream, 2.0 * (double)a.n_cells))
                 : end;
    /* Where it is refused, no pointer is looked at; else all of it must be there. */
    bool there = end <= MOST_BYTES && (double)a.n_queries * a.n_heads < 4096;
    if (status == TADA_E_ARGUMENT || there) {
        int64_t cells[8];
        int64_t capacity = number(in), found = tada_attention_sinks(&a, cells, capacity < 8 ? capacity : 8);
        if (found < 0 || found > 8 || (status != TADA_OK && found > 0)) {
            fuzz_fail("%lld sinks", (long long)found);
        }
        enum tada_status again = tada_attention_run(&a, p.pool, NULL, &error);
        expect(again, &error);
        if ((status == TADA_E_ARGUMENT) != (again == TADA_E_ARGUMENT)) {
            fuzz_fail("attention can be planned, or run, and not both");
        }
    }
    if (job && there) {
        void *shared = aligned_alloc(64, tada_attention_job_shared(job) + 64),
             *scratch = aligned_alloc(64, tada_attention_job_scratch(job) + 64);
        tada_attention_look(job, NULL);
        tada_attention_work(job, (int)number(in), (int)number(in), shared, scratch);
        tada_attention_work(job, 0, 1, shared, scratch);
        if (!tada_attention_is_done(job)) {
            fuzz_fail("attention is not done");
        }
        free(shared);
        free(scratch);
    }
    tada_attention_job_free(job);
    pair_free(&p);
}

/* Sizes that no memory has are refused by the allocator, not by the sanitizer. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:max_allocation_size_mb=2000";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size, 0};
    switch (fuzz_below(&in, 4)) {
    case 0:
        try_plane(&in);
        break;
    case 1:
        try_plan(&in);
        break;
    case 2:
        try_calls(&in);
        break;
    default:
        try_attention(&in);
    }
    return 0;
}
