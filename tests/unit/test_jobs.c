/* Attention that the caller schedules: bit for bit what tada_attention_run gives, whoever does the work. */
#include "attention_case.h"

enum { MOST_THREADS = 100 };

static const int thread_counts[] = {1, 2, 3, 7, MOST_THREADS};
enum { N_COUNTS = sizeof thread_counts / sizeof *thread_counts };

/* Memory that holds anything, aligned as it has to be. */
static uint8_t *garbage(size_t bytes)
{
    bytes = (bytes + 63) / 64 * 64 + 64;
    uint8_t *memory = aligned_alloc(64, bytes);
    assert_non_null(memory);
    memset(memory, 0xff, bytes);
    return memory;
}

static tada_attention_job *plan_of(const tada_attention *a)
{
    tada_attention_job *job = NULL;
    tada_error error = {""};
    if (tada_attention_plan(a, &job, &error) != TADA_OK) {
        fail_msg("%s", error.text);
    }
    return job;
}

/* Jobs that run at once, each with memory of its own. */
typedef struct crowd {
    tada_attention_job *jobs[3];
    uint8_t *shared[3], *scratch[3];
    int n_jobs;
    int idle; /* of each so many threads one has no scratch; 0: all have */
} crowd;

static crowd crowd_make(tada_attention_job *const *jobs, int n_jobs, int n_threads)
{
    crowd c = {.n_jobs = n_jobs};
    for (int i = 0; i < n_jobs; i++) {
        c.jobs[i] = jobs[i];
        c.shared[i] = garbage(tada_attention_job_shared(jobs[i]));
        c.scratch[i] = garbage(tada_attention_job_scratch(jobs[i]) * (size_t)n_threads);
    }
    return c;
}

static void crowd_done(crowd *c)
{
    for (int i = 0; i < c->n_jobs; i++) {
        free(c->shared[i]);
        free(c->scratch[i]);
    }
}

static void work_on_all(void *context, int thread, int n_threads)
{
    const crowd *c = context;
    for (int j = 0; j < c->n_jobs; j++) {
        size_t each = tada_attention_job_scratch(c->jobs[j]);
        bool idle = c->idle && thread % c->idle == 0 && thread + 1 < n_threads;
        tada_attention_work(c->jobs[j], thread, n_threads, c->shared[j],
                            idle ? NULL : c->scratch[j] + each * (size_t)thread);
    }
}

/* Runs jobs that have been looked at; one thread after the other, the last one first, or all at once. */
static void run_jobs(tada_attention_job *const *jobs, int n_jobs, int n_threads, bool at_once)
{
    crowd c = crowd_make(jobs, n_jobs, n_threads);
    c.idle = random_below(4);
    if (at_once && n_threads > 1) {
        const tada_threads *threads = threads_of(n_threads);
        threads->run(threads->pool, work_on_all, &c);
    } else {
        for (int t = n_threads - 1; t >= 0; t--) {
            work_on_all(&c, t, n_threads);
        }
    }
    for (int i = 0; i < n_jobs; i++) {
        assert_true(tada_attention_is_done(jobs[i]));
    }
    crowd_done(&c);
}

/* What tada_attention_run gives, in new memory. */
static float *wanted(const test_case *c, tada_attention a)
{
    float *want = malloc(c->out_size);
    memset(want, 0x77, c->out_size);
    a.out = want;
    assert_int_equal(tada_attention_run(&a, c->pool, NULL, NULL), TADA_OK);
    return want;
}

static void same_sinks(const tada_attention_job *job, const tada_attention *a, const char *text)
{
    enum { MOST = 256 };
    int64_t want[MOST], n = tada_attention_sinks(a, want, MOST);
    const int64_t *cells;
    if (tada_attention_job_sinks(job, &cells) != n || (n > 0 && memcmp(cells, want, (size_t)n * 8) != 0)) {
        fail_msg("%s: other sinks", text);
    }
}

static void choose_kernels(void)
{
    if (getenv("TADA_KERNELS") || tada_kernels_select(tiers[random_below(N_TIERS)]) != TADA_OK) {
        assert_int_equal(tada_kernels_select(getenv("TADA_KERNELS") ? getenv("TADA_KERNELS") : "scalar"),
                         TADA_OK);
    }
}

/* Any number of threads, and a job that is run again and again, with other masks. */
static void as_run(void **state)
{
    (void)state;
    int n_cases = 300 / quick();
    for (int n = 0; n < n_cases; n++) {
        test_case c;
        choose_kernels();
        if (!make_case(n % 2, &c)) {
            case_done(&c);
            continue;
        }
        c.a.out = c.out = malloc(c.out_size);
        tada_attention_job *job = plan_of(&c.a);
        assert_false(tada_attention_is_done(job));
        for (int turn = 0; turn < 4; turn++) {
            if (turn > 0 && c.a.mask) {
                write_masks(&c, 1 + random_below(5));
            }
            float *want = wanted(&c, c.a);
            int count = thread_counts[(n + turn) % (n % 8 == 0 ? N_COUNTS : N_COUNTS - 1)];
            for (int at_once = 0; at_once < 2; at_once++) {
                memset(c.out, 0x77, c.out_size);
                tada_attention_look(job, NULL);
                run_jobs(&job, 1, count, at_once);
                if (memcmp(c.out, want, c.out_size) != 0) {
                    fail_msg("case %d, turn %d, %d threads%s, %s, %s", n, turn, count,
                             at_once ? " at once" : "", tada_kernels_name(), c.text);
                }
            }
            same_sinks(job, &c.a, c.text);
            free(want);
        }
        tada_attention_job_free(job);
        case_done(&c);
    }
}

/* An attention of two KV heads over four streams in turn, of which queries see any part. */
enum { DIM = 32, HEADS = 6, HEADS_KV = 2, MOST_CELLS = 1000, MOST_QUERIES = 70 };

static void small_case(test_case *c, const char *spec, int64_t n_queries, int64_t n_cells)
{
    static float x[MOST_CELLS * HEADS_KV * DIM];
    memset(c, 0, sizeof *c);
    c->pool = tada_pool_create();
    c->k = plane_of(spec, TADA_K, HEADS_KV * DIM, MOST_CELLS, 1, DIM);
    c->v = plane_of(spec, TADA_V, HEADS_KV * DIM, MOST_CELLS, 1, DIM);
    for (int i = 0; i < 2; i++) {
        fill(x, MOST_CELLS, HEADS_KV * DIM, 0);
        write_rows(i ? c->v.plane : c->k.plane, c->pool, x, TADA_F32, HEADS_KV * DIM, 0, MOST_CELLS, 100);
    }
    c->q_size = (size_t)n_queries * HEADS * DIM * sizeof(float);
    c->out_size = c->q_size;
    c->q = malloc(c->q_size);
    c->out = malloc(c->out_size);
    c->mask = malloc((size_t)(n_queries * n_cells) * 2);
    for (int64_t i = 0; i < n_queries * HEADS * DIM; i++) {
        c->q[i] = random_normal();
    }
    c->a = attention_of(c->k.plane, c->v.plane, DIM, HEADS, HEADS_KV, n_cells, n_queries, c->q, c->out);
    add_mask(&c->a, c->mask);
    c->a.scale = 0.2f;
}

/* How many queries are attended to together changes with the mask; the job and its memory stay. */
static void kept(void **state)
{
    (void)state;
    static const char *const specs[] = {"tada", "tada:4/3:window=0:sinks=0", "tada:16"};
    for (int64_t n_queries = 1; n_queries <= MOST_QUERIES; n_queries += quick() > 1 ? 7 : 1) {
        test_case c;
        choose_kernels();
        small_case(&c, specs[n_queries % 3], n_queries, 200 + random_below(MOST_CELLS - 199));
        tada_attention_job *job = plan_of(&c.a);
        for (int turn = 0; turn < 5; turn++) {
            /* In turns those that split and those that do not. */
            write_masks(&c, turn % 2 ? 1 : 5);
            float *want = wanted(&c, c.a);
            memset(c.out, 0x77, c.out_size);
            tada_attention_look(job, NULL);
            run_jobs(&job, 1, thread_counts[random_below(N_COUNTS - 1)], turn % 2);
            if (memcmp(c.out, want, c.out_size) != 0) {
                fail_msg("%lld queries, turn %d, %s", (long long)n_queries, turn, tada_kernels_name());
            }
            same_sinks(job, &c.a, "kept");
            free(want);
        }
        tada_attention_job_free(job);
        case_done(&c);
    }
}

/* Layers of one graph have the same mask; what one of them has seen of it serves the others. */
static void alike(void **state)
{
    (void)state;
    for (int n = 0; n < 40 / quick() + 1; n++) {
        int64_t n_queries = 1 + random_below(MOST_QUERIES), n_cells = 65 + random_below(MOST_CELLS - 64);
        test_case one, other;
        choose_kernels();
        small_case(&one, "tada:4:window=64:sinks=4", n_queries, n_cells);
        small_case(&other, random_below(2) ? "tada:8/3:window=0:sinks=2" : "tada:4:window=64:sinks=4",
                   n_queries, n_cells);
        tada_attention third = one.a;
        float *out = third.out = malloc(one.out_size);
        third.q = other.q;
        other.a.mask = one.mask;
        if (random_below(3) == 0) {
            /* Not the same after all. */
            third.n_cells -= 64;
        }
        tada_attention_job *jobs[3] = {plan_of(&one.a), plan_of(&other.a), plan_of(&third)};
        for (int turn = 0; turn < 3; turn++) {
            write_masks(&one, 1 + random_below(5));
            float *want[3] = {wanted(&one, one.a), wanted(&other, other.a), wanted(&one, third)};
            memset(one.out, 0x77, one.out_size);
            memset(other.out, 0x77, one.out_size);
            memset(out, 0x77, one.out_size);
            tada_attention_look(jobs[0], NULL);
            tada_attention_look(jobs[1], jobs[0]);
            tada_attention_look(jobs[2], jobs[random_below(2)]);
            run_jobs(jobs, 3, thread_counts[random_below(N_COUNTS - 1)], turn > 0);
            assert_memory_equal(one.out, want[0], one.out_size);
            assert_memory_equal(other.out, want[1], one.out_size);
            assert_memory_equal(out, want[2], one.out_size);
            same_sinks(jobs[0], &one.a, "first");
            same_sinks(jobs[1], &other.a, "second");
            same_sinks(jobs[2], &third, "third");
            for (int i = 0; i < 3; i++) {
                free(want[i]);
            }
        }
        for (int i = 0; i < 3; i++) {
            tada_attention_job_free(jobs[i]);
        }
        free(out);
        case_done(&one);
        case_done(&other);
    }
}

/* No thread had scratch, so nothing is done, until one comes that has. */
static void nobody(void **state)
{
    (void)state;
    test_case c;
    small_case(&c, "tada", 3, 500);
    write_masks(&c, 1);
    tada_attention_job *job = plan_of(&c.a);
    float *want = wanted(&c, c.a);
    memset(c.out, 0x77, c.out_size);
    uint8_t *shared = garbage(tada_attention_job_shared(job)),
            *scratch = garbage(tada_attention_job_scratch(job));
    /* Not looked at yet. */
    tada_attention_work(job, 0, 1, shared, scratch);
    assert_false(tada_attention_is_done(job));
    tada_attention_look(job, NULL);
    for (int t = 0; t < 4; t++) {
        tada_attention_work(job, t, 4, shared, NULL);
        assert_false(tada_attention_is_done(job));
    }
    tada_attention_work(job, 0, 1, shared, scratch);
    assert_true(tada_attention_is_done(job));
    assert_memory_equal(c.out, want, c.out_size);
    tada_attention_job_free(job);
    tada_attention_job_free(NULL);

    /* Nothing to do is done at once. */
    for (int i = 0; i < 2; i++) {
        tada_attention none = c.a;
        *(i ? &none.n_streams : &none.n_queries) = 0;
        job = plan_of(&none);
        tada_attention_look(job, NULL);
        tada_attention_work(job, 0, 1, NULL, scratch);
        assert_true(tada_attention_is_done(job));
        tada_attention_job_free(job);
    }
    free(want);
    free(shared);
    free(scratch);
    case_done(&c);
}

/* What cannot be attended to cannot be planned. */
static void refuses(void **state)
{
    (void)state;
    test_case c;
    small_case(&c, "tada", 3, 500);
    for (int i = 0; i < 4; i++) {
        tada_attention bad = c.a;
        tada_attention_job *job = NULL;
        tada_error error = {""};
        *(i == 0   ? &bad.n_cells
          : i == 1 ? &bad.n_streams
          : i == 2 ? &bad.first_cell
                   : &bad.n_queries) = i == 3 ? -1 : MOST_CELLS + 1;
        assert_int_equal(tada_attention_plan(&bad, &job, &error), TADA_E_ARGUMENT);
        assert_true(strlen(error.text) > 10);
        assert_null(job);
    }
    case_done(&c);
}

TEST_MAIN(cmocka_unit_test(as_run), cmocka_unit_test(kept), cmocka_unit_test(alike), cmocka_unit_test(nobody),
          cmocka_unit_test(refuses))
