/* Each allocation fails in turn: the call says so, nothing is lost or leaks, and the same call works
 * afterwards. */
#include "faults.h"
#include "folder.h"
#include "session_file.h"

#include "session.h"

#include <unistd.h>

enum { WIDTH = 64, HEAD = 32, CELLS = 150, STREAMS = 2, TOTAL = CELLS * STREAMS, QUERIES = 3 };

/* Runs a call with failing allocations, and once more without when it failed. */
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        tada_error error = {""};                                                                             \
        faults_armed = true;                                                                                 \
        enum tada_status tried = (call);                                                                     \
        faults_armed = false;                                                                                \
        if (tried != TADA_OK) {                                                                              \
            if (tried != TADA_E_MEMORY || !faults_hit) {                                                     \
                fail_msg("%s: status %d, %s", #call, tried, error.text);                                     \
            }                                                                                                \
            if (strstr(#call, "&error") && strlen(error.text) < 10) {                                        \
                fail_msg("%s: no reason is given", #call);                                                   \
            }                                                                                                \
            after_failure(#call);                                                                            \
            tried = (call);                                                                                  \
            if (tried != TADA_OK) {                                                                          \
                fail_msg("%s fails again: %s", #call, error.text);                                           \
            }                                                                                                \
        }                                                                                                    \
    } while (0)

/* For calls that give memory, or NULL. */
#define TRY_POINTER(pointer, call)                                                                           \
    do {                                                                                                     \
        faults_armed = true;                                                                                 \
        (pointer) = (call);                                                                                  \
        faults_armed = false;                                                                                \
        if (!(pointer)) {                                                                                    \
            assert_true(faults_hit);                                                                         \
            (pointer) = (call);                                                                              \
        }                                                                                                    \
        assert_non_null(pointer);                                                                            \
    } while (0)

/* What must be as it was after a call has failed: cells of a plane. */
static struct {
    const tada_plane *plane;
    int64_t n;
    bool rest_is_empty; /* the cells after these n have no rows */
    uint16_t rows[TOTAL * WIDTH];
} watched;

static void watch(const tada_plane *plane, int64_t n)
{
    watched.plane = plane;
    watched.n = n;
    watched.rest_is_empty = false;
    if (plane) {
        assert_int_equal(tada_plane_read(plane, 0, n, watched.rows, threads_of(1), NULL), TADA_OK);
    }
}

static void after_failure(const char *call)
{
    static uint16_t now[TOTAL * WIDTH];
    if (watched.plane) {
        assert_int_equal(tada_plane_read(watched.plane, 0, watched.n, now, threads_of(1), NULL), TADA_OK);
        if (memcmp(now, watched.rows, (size_t)watched.n * WIDTH * sizeof *now) != 0) {
            fail_msg("%s has changed what it should not have", call);
        }
    }
    if (watched.plane && watched.rest_is_empty) {
        assert_int_equal(tada_plane_read(watched.plane, watched.n, TOTAL - watched.n, now, NULL, NULL),
                         TADA_OK);
        for (int64_t i = 0; i < (TOTAL - watched.n) * WIDTH; i++) {
            if (now[i] != 0) {
                fail_msg("%s has left something at %lld", call, (long long)i);
            }
        }
    }
}

/* ---- what is done with failing allocations ---- */

/* The allocation to fail after number n: the next one, or under TADA_QUICK=N one of the next 2 N - 1. */
static long next_fault(long n)
{
    return n + 1 + random_below(2 * quick() - 1);
}

/* What came out, to compare. */
typedef struct outcome {
    uint16_t rows[2][TOTAL * WIDTH];
    float out[STREAMS * QUERIES * 2 * WIDTH];
    size_t bytes[2];
} outcome;

/* The same by a job. */
static void attend_job(const tada_attention *a)
{
    tada_attention_job *job;
    TRY(tada_attention_plan(a, &job, &error));
    void *shared = aligned_alloc(64, tada_attention_job_shared(job) + 64),
         *scratch = aligned_alloc(64, tada_attention_job_scratch(job) + 64);
    tada_attention_look(job, NULL);
    tada_attention_work(job, 0, 1, shared, scratch);
    assert_true(tada_attention_is_done(job));
    free(shared);
    free(scratch);
    tada_attention_job_free(job);
}

static void attend(const tada_plane *k, const tada_plane *v, tada_pool *pool, float *out)
{
    static float q[STREAMS * QUERIES * 2 * WIDTH];
    static uint16_t mask[STREAMS * QUERIES * CELLS];
    for (size_t i = 0; i < sizeof q / sizeof *q; i++) {
        q[i] = (float)(i % 13) * 0.1f - 0.6f;
    }
    for (size_t i = 0; i < sizeof mask / sizeof *mask; i++) {
        mask[i] = i % 7 == 0 ? 0xfc00 : 0;
    }
    tada_attention a = attention_of(k, v, HEAD, 4, 2, CELLS, QUERIES, q, out);
    a.n_streams = STREAMS;
    add_mask(&a, mask);
    a.scale = 0.2f;
    TRY(tada_attention_run(&a, pool, threads_of(1), &error));
    attend_job(&a);
}

/* Both planes get rows again, and are settled together by one thread. */
static void settle_both(tada_plane *const *planes, tada_pool *pool)
{
    static float x[TOTAL * WIDTH];
    int64_t cells[TOTAL];
    tada_settling *settling;
    for (int i = 0; i < TOTAL; i++) {
        cells[i] = i;
        x[i * WIDTH] = (float)(i % 5);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            tada_plane_write(planes[i], pool, x, TADA_F32, WIDTH * 4, cells + 10, TOTAL - 10, NULL), TADA_OK);
    }
    watch(planes[1], TOTAL);
    TRY_POINTER(settling, tada_settling_create());
    TRY(tada_settling_begin(settling, planes, 2, &error));
    tada_settling_end(settling);
    for (int i = 0; i < 2; i++) {
        assert_false(tada_plane_unsettled(planes[i]));
    }
    tada_settling_free(settling);
    watch(planes[0], TOTAL);
    tada_pool_trim(pool);
    assert_int_equal(tada_pool_bytes(pool), 0);
}

static void use_plane(const char *text, enum tada_kind kind, tada_plane *plane, tada_pool *pool, outcome *o)
{
    static float x[TOTAL * WIDTH];
    static int64_t cells[TOTAL];
    static uint8_t chosen[TOTAL];
    static int32_t deltas[TOTAL];
    const tada_rope rope = {.n_dims = HEAD,
                            .n_heads = WIDTH / HEAD,
                            .head_stride = HEAD,
                            .freq_base = 10000,
                            .freq_scale = 1,
                            .attn_factor = 1};
    const int64_t marks[] = {70, 71, 130};
    (void)text;
    for (int i = 0; i < TOTAL * WIDTH; i++) {
        x[i] = sinf((float)i * 0.37f) + 0.1f * cosf((float)(i % WIDTH));
    }
    for (int i = 0; i < TOTAL; i++) {
        cells[i] = i;
        chosen[i] = i % 3 == 0;
        /* The first tile moves as one. */
        deltas[i] = i < 64 ? 5 : i % 2;
    }
    watch(plane, TOTAL);
    /* Most of the first stream, then a cold tile is opened and the second stream gets rows. */
    TRY(tada_plane_write(plane, pool, x, TADA_F32, WIDTH * 4, cells, 140, &error));
    faults_armed = true;
    tada_plane_mark_sinks(plane, marks, 3);
    faults_armed = false;
    tada_plane_mark_sinks(plane, marks, 3);
    watch(plane, TOTAL);
    TRY(tada_plane_settle(plane, threads_of(2), NULL));
    watch(plane, TOTAL);
    TRY(tada_plane_write(plane, pool, x, TADA_F32, WIDTH * 4, cells + 60, 110, &error));
    /* A copy of the stream has to make room for these. */
    tada_plane_mark_sinks(plane, marks, 3);
    watch(plane, TOTAL);
    TRY(tada_plane_settle(plane, threads_of(1), NULL));
    watch(plane, TOTAL);
    TRY(tada_plane_edit(plane, chosen, negate_rows, &(int){WIDTH}, threads_of(2), &error));
    watch(plane, TOTAL);
    TRY(tada_plane_shift(plane, &rope, deltas, threads_of(2), &error));
    watch(plane, CELLS);
    watched.rest_is_empty = true;
    TRY(tada_plane_copy_stream(plane, pool, 0, 1, threads_of(2), &error));
    watch(plane, TOTAL);
    TRY(tada_plane_read(plane, 0, TOTAL, o->rows[kind], threads_of(1), &error));
    tada_plane_stats stats;
    tada_plane_get_stats(plane, &stats);
    o->bytes[kind] = (size_t)stats.written;
}

static void use_planes(const char *text, outcome *o)
{
    tada_spec spec = spec_of(text);
    tada_pool *pool;
    tada_plane *planes[2];
    void *memory[2];
    memset(o, 0, sizeof *o);
    watch(NULL, 0);
    TRY_POINTER(pool, tada_pool_create());
    for (int kind = 0; kind < 2; kind++) {
        tada_shape shape = {(enum tada_kind)kind, WIDTH, CELLS, STREAMS, HEAD};
        size_t size = tada_plane_bytes(&spec, &shape);
        memory[kind] = aligned_alloc(64, (size + 63) / 64 * 64);
        watch(NULL, 0);
        TRY(tada_plane_create(&spec, &shape, memory[kind], size, &planes[kind], &error));
        use_plane(text, (enum tada_kind)kind, planes[kind], pool, o);
    }
    watch(planes[0], TOTAL);
    attend(planes[0], planes[1], pool, o->out);
    settle_both(planes, pool);
    watch(NULL, 0);
    attend(planes[0], planes[1], pool, o->out);
    for (int kind = 0; kind < 2; kind++) {
        tada_plane_free(planes[kind]);
        free(memory[kind]);
    }
    tada_pool_free(pool);
}

static void planes(void **state)
{
    (void)state;
    static const char *const specs[] = {"tada", "tada:4/3:window=0:centre=heads8", "tada:16",
                                        "kivi:2:window=64:sinks=2"};
    static outcome want, got;
    enum { N_SPECS = sizeof specs / sizeof *specs };
    for (int i = first_case(N_SPECS); i < N_SPECS; i += quick()) {
        long before = faults_live, n = 0;
        faults_start(-1);
        use_planes(specs[i], &want);
        do {
            faults_start(n = next_fault(n));
            use_planes(specs[i], &got);
            assert_memory_equal(&got, &want, sizeof got);
            assert_int_equal(faults_live, before);
        } while (faults_hit);
        print_message("%s: allocations 1 to %ld\n", specs[i], n - 1);
        assert_true(n > 10);
    }
}

static void plans(void **state)
{
    (void)state;
    long before = faults_live, n = 0;
    do {
        static const float weights[WIDTH / 8];
        const tada_plan_point point = {.cache = "tada"};
        tada_plan_plane plane = {.width = WIDTH, .recipe = spec_of("tada").k};
        tada_plan *plan, *copy, *back;
        void *saved;
        size_t size;
        plane.recipe.weights = weights;
        faults_start(n = next_fault(n));
        TRY_POINTER(plan, tada_plan_create(3));
        watch(NULL, 0);
        TRY(tada_plan_set_plane(plan, 1, TADA_K, &plane, &error));
        TRY(tada_plan_add_point(plan, &point, &error));
        TRY_POINTER(copy, tada_plan_copy(plan));
        TRY(tada_plan_save_memory(copy, &saved, &size, &error));
        TRY(tada_plan_load_memory(saved, size, &back, &error));
        tada_plan_free(plan);
        tada_plan_free(copy);
        tada_plan_free(back);
        free(saved);
        assert_int_equal(faults_live, before);
    } while (faults_hit);
    assert_true(n > 15);
}

static int n_files(void)
{
    char command[64];
    int n = -1;
    snprintf(command, sizeof command, "ls -A %s | wc -l", folder);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%d", &n), 1);
    pclose(pipe);
    return n;
}

static void sessions(void **state)
{
    (void)state;
    const session_shape shape = {"tada", WIDTH, HEAD, 2, 190, CELLS_ALL};
    assert_true(make_folder());
    const char *plain = path_of("plain"), *packed = path_of("packed"), *back = path_of("back");
    bytes file = sequence_file(&shape);
    write_file(plain, file.data, file.size);
    long before = faults_live, n = 0;
    watch(NULL, 0);
    do {
        faults_start(n = next_fault(n));
        faults_armed = true;
        tada_error why = {""};
        enum tada_status status = session_pack_file(plain, packed, false, NULL, NULL, &why);
        faults_armed = false;
        if (status != TADA_OK) {
            assert_int_equal(status, TADA_E_MEMORY);
            assert_true(strlen(why.text) > 10);
            /* Nothing of it is left. */
            assert_int_equal(n_files(), 1);
        }
        assert_int_equal(session_pack_file(plain, packed, true, NULL, NULL, NULL), TADA_OK);
        assert_true(session_is_packed(packed));
        TRY(session_unpack_file(packed, back, false, NULL, NULL, &error));
        bytes again = read_file(back);
        assert_int_equal(again.size, file.size);
        assert_memory_equal(again.data, file.data, file.size);
        free(again.data);
        unlink(packed);
        unlink(back);
        assert_int_equal(faults_live, before);
    } while (faults_hit);
    print_message("allocations 1 to %ld\n", n - 1);
    assert_true(n > 20);
    free(file.data);
    assert_true(remove_folder());
}

int main(void)
{
    random_init();
    threads_of(2); /* not while allocations fail */
    const struct CMUnitTest tests[] = {cmocka_unit_test(planes), cmocka_unit_test(plans),
                                       cmocka_unit_test(sessions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
