/*
 * Attention that is cut into items and shared out among threads. The cut follows from shape and mask alone,
 * and the ranges of a block are joined in order, so that the result depends neither on the number of threads
 * nor on who does what.
 */
#include "item.h"
#include "problem.h"
#include "common/lent.h"
#include "common/sizes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CELLS = TADA_TILE_CELLS,
    SHARES = 64, /* stretches of items, at most */
    SINKS = 256  /* cells that a job tells of, at most */
};

/* How many items of a stretch have been taken, in a cache line of its own. */
typedef struct share {
    _Alignas(64) _Atomic int64_t taken;
} share;

/* What a job needs, by parts. */
typedef struct job_size {
    size_t n_shares, n_left, n_slopes, n_views; /* of its own */
    size_t partial, each;                       /* floats that all threads share, and of each of them */
} job_size;

struct tada_attention_job {
    tada_attention a;
    tada_cut cut;
    job_size size;
    int64_t items; /* 0 also when nothing is to be done */
    bool looked;
    share *shares;
    _Atomic int shares_used; /* those that are to be reset */
    _Atomic int64_t done;
    _Atomic int32_t *left;
    float *slope;
    _Atomic uint8_t *views; /* of its own, which the cut need not use */
    int64_t *own_sinks;     /* NULL: nobody will ask */
    const int64_t *sinks;
    int64_t n_sinks;
};

static float alibi_slope(const tada_attention *a, int head)
{
    if (a->max_bias <= 0) {
        return 1.0f;
    }
    /* As ggml: powers of two up to the largest power of two of heads, then those between. */
    int low = 1;
    while (low <= a->n_heads / 2) {
        low *= 2;
    }
    float m0 = powf(2.0f, -a->max_bias / (float)low), m1 = powf(2.0f, -a->max_bias / 2.0f / (float)low);
    return head < low ? powf(m0, (float)(head + 1)) : powf(m1, (float)(2 * (head - low) + 1));
}

static bool is_empty(const tada_attention *a)
{
    return a->n_queries == 0 || a->n_streams == 0;
}

static int group_of(const tada_attention *a)
{
    return a->n_heads / a->n_heads_kv;
}

static int64_t largest_block(const tada_attention *a)
{
    tada_side k = tada_side_make(a->k, TADA_K, a->k_column, a->k_dim, a->k_head_stride);
    tada_side v = tada_side_make(a->v, TADA_V, a->v_column, a->v_dim, a->v_head_stride);
    int rows = tada_side_rows(&k) < tada_side_rows(&v) ? tada_side_rows(&k) : tada_side_rows(&v);
    int64_t most = rows / group_of(a);
    most = most > 1 ? most : 1;
    return most < a->n_queries ? most : a->n_queries;
}

/* ---- sizes ---- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Rounded up to cache lines. */
static size_t aligned(size_t bytes)
{
    return tada_size_round(bytes, 64);
}

static job_size size_of_cut(const tada_cut *c, int n_shares)
{
    return (job_size){.n_shares = (size_t)n_shares,
                      .n_left = c->n_ranges > 1 ? (size_t)(tada_cut_items(c) / c->n_ranges) : 0,
                      .n_slopes = (size_t)c->a->n_heads,
                      .n_views = tada_cut_views(c),
                      .partial = tada_cut_partial(c),
                      .each = tada_item_floats(c)};
}

static job_size larger_size(job_size a, job_size b)
{
    return (job_size){.n_shares = larger(a.n_shares, b.n_shares),
                      .n_left = larger(a.n_left, b.n_left),
                      .n_slopes = larger(a.n_slopes, b.n_slopes),
                      .n_views = larger(a.n_views, b.n_views),
                      .partial = larger(a.partial, b.partial),
                      .each = larger(a.each, b.each)};
}

/* Whatever the mask will say about how many queries are attended to together: a job is kept while its mask
 * changes, a pool keeps the largest workspace anyway, and what it takes can be told before there is a mask.
 */
static job_size size_of(const tada_attention *a, int n_shares)
{
    int64_t block = largest_block(a);
    tada_cut largest = tada_cut_make(a, block);
    job_size size = size_of_cut(&largest, n_shares);
    while (tada_mask_may_split(a) && (block /= 2) > 0) {
        tada_cut cut = tada_cut_make(a, block);
        size = larger_size(size, size_of_cut(&cut, n_shares));
    }
    return size;
}

static bool fits(const job_size *size, const job_size *in)
{
    return size->n_left <= in->n_left && size->n_views <= in->n_views && size->partial <= in->partial &&
           size->each <= in->each;
}

/* Of the job's own parts. */
static size_t own_bytes(const job_size *s)
{
    size_t counts =
        tada_size_add(s->n_shares * sizeof(share), aligned(tada_size_multiply(s->n_left, sizeof(int32_t))));
    return tada_size_add(counts, tada_size_add(aligned(s->n_slopes * sizeof(float)), aligned(s->n_views)));
}

static size_t shared_bytes(const job_size *s)
{
    return aligned(tada_size_multiply(s->partial, sizeof(float)));
}

static size_t scratch_bytes(const job_size *s)
{
    return aligned(tada_size_multiply(s->each, sizeof(float)));
}

static size_t workspace_bytes(const job_size *s, int n_threads)
{
    return tada_size_add(tada_size_add(own_bytes(s), shared_bytes(s)),
                         tada_size_multiply(scratch_bytes(s), (size_t)n_threads));
}

static int shares_for(int n_threads)
{
    return n_threads < SHARES ? n_threads : SHARES;
}

/* Over any number of cells up to a.n_cells. Few queries are cut into ranges, whose number rises with that of
 * the tiles only once they are as long as they may be. */
static size_t largest_workspace(tada_attention a, int n_threads)
{
    int64_t uneven = TADA_MANY_ITEMS * TADA_RANGE_TILES / (a.n_heads_kv * a.n_streams) + TADA_BATCH;
    int64_t tiles = tada_parts(a.n_cells, CELLS);
    size_t most = 0;
    do {
        a.n_cells = tiles * CELLS;
        job_size size = size_of(&a, shares_for(n_threads));
        most = larger(most, workspace_bytes(&size, n_threads));
        tiles = tiles > uneven ? uneven : tiles - 1;
    } while (tiles > 0 && a.n_queries <= TADA_FEW_QUERIES);
    return most;
}

size_t tada_attention_bytes(const tada_attention *attention, const tada_spec *k_spec,
                            const tada_shape *k_shape, const tada_spec *v_spec, const tada_shape *v_shape,
                            int n_threads)
{
    tada_attention a = *attention;
    tada_plane k, v;
    size_t most = 0;
    if (n_threads < 1 || !tada_plane_describe(k_spec, k_shape, &k) ||
        (v_shape && !tada_plane_describe(v_spec, v_shape, &v))) {
        return 0;
    }
    a.k = &k;
    a.v = v_shape ? &v : &k;
    if (tada_attention_sizes_problem(&a) || is_empty(&a)) {
        return 0;
    }
    for (int64_t n = attention->n_queries; n > 0; n = n > TADA_FEW_QUERIES ? TADA_FEW_QUERIES : n - 1) {
        a.n_queries = n;
        a.n_streams = attention->n_streams;
        most = larger(most, largest_workspace(a, n_threads));
        a.n_streams = 1;
        most = larger(most, largest_workspace(a, n_threads));
    }
    return tada_size_possible(most) ? tada_pool_rounded(most) : 0;
}

/* ---- jobs ---- */

/* Makes a job whose own parts lie in memory. */
static void job_make(tada_attention_job *job, const tada_attention *a, const job_size *size, uint8_t *memory)
{
    *job = (tada_attention_job){.a = *a, .size = *size};
    job->shares = (share *)(void *)memory;
    memory += size->n_shares * sizeof(share);
    job->left = (_Atomic int32_t *)(void *)memory;
    memory += aligned(size->n_left * sizeof(int32_t));
    job->slope = (float *)(void *)memory;
    memory += aligned(size->n_slopes * sizeof(float));
    job->views = (_Atomic uint8_t *)memory;
    for (size_t i = 0; i < size->n_shares; i++) {
        atomic_init(&job->shares[i].taken, 0);
    }
    for (int h = 0; h < (int)size->n_slopes; h++) {
        job->slope[h] = alibi_slope(a, h);
    }
}

enum tada_status tada_attention_plan(const tada_attention *a, tada_attention_job **job, tada_error *error)
{
    const char *wrong = tada_attention_problem(a);
    if (wrong) {
        return tada_fail(error, TADA_E_ARGUMENT, "%s", wrong);
    }
    job_size size = is_empty(a) ? (job_size){0} : size_of(a, SHARES);
    size_t at = aligned(sizeof(tada_attention_job)), sinks_at = tada_size_add(at, own_bytes(&size));
    size_t bytes = tada_size_add(sinks_at, aligned(SINKS * sizeof(int64_t)));
    bool possible = tada_size_possible(tada_size_add(bytes, workspace_bytes(&size, 1)));
    uint8_t *memory = possible ? aligned_alloc(64, bytes) : NULL;
    if (!memory) {
        return tada_fail(error, TADA_E_MEMORY, "Out of memory to plan attention: use a smaller ubatch.");
    }
    *job = (tada_attention_job *)(void *)memory;
    job_make(*job, a, &size, memory + at);
    (*job)->own_sinks = (int64_t *)(void *)(memory + sinks_at);
    return TADA_OK;
}

void tada_attention_job_free(tada_attention_job *job)
{
    free(job);
}

size_t tada_attention_job_shared(const tada_attention_job *job)
{
    return shared_bytes(&job->size);
}

size_t tada_attention_job_scratch(const tada_attention_job *job)
{
    return scratch_bytes(&job->size);
}

/* Whether both see the same of the same mask, in blocks of the same size. */
static bool sees_as(const tada_attention_job *job, const tada_attention_job *like)
{
    const tada_attention *a = &job->a, *b = &like->a;
    return like->looked && like->items > 0 && a->mask == b->mask && a->mask_query == b->mask_query &&
           a->mask_head == b->mask_head && a->mask_stream == b->mask_stream &&
           a->mask_heads == b->mask_heads && a->mask_streams == b->mask_streams &&
           a->n_streams == b->n_streams && a->n_queries == b->n_queries && a->first_cell == b->first_cell &&
           a->n_cells == b->n_cells && group_of(a) == group_of(b) && largest_block(a) == largest_block(b);
}

static int most_sinks(const tada_attention *a)
{
    return a->k->n_sinks > a->v->n_sinks ? a->k->n_sinks : a->v->n_sinks;
}

static bool has_sinks_of(const tada_attention *a, const tada_attention *b)
{
    return a->first_stream == b->first_stream && a->k->shape.n_cells == b->k->shape.n_cells &&
           most_sinks(a) == most_sinks(b);
}

static void look_for_sinks(tada_attention_job *job, const tada_attention_job *like)
{
    if (like && like->own_sinks && has_sinks_of(&job->a, &like->a)) {
        job->sinks = like->sinks;
        job->n_sinks = like->n_sinks;
    } else if (job->own_sinks) {
        job->sinks = job->own_sinks;
        job->n_sinks = tada_attention_sinks(&job->a, job->own_sinks, SINKS);
    }
}

static void reset(tada_attention_job *job)
{
    int used = atomic_load_explicit(&job->shares_used, memory_order_relaxed);
    for (int i = 0; i < used; i++) {
        atomic_store_explicit(&job->shares[i].taken, 0, memory_order_relaxed);
    }
    int64_t n = job->cut.n_ranges > 1 ? job->items / job->cut.n_ranges : 0;
    for (int64_t i = 0; i < n; i++) {
        atomic_store_explicit(&job->left[i], (int32_t)job->cut.n_ranges, memory_order_relaxed);
    }
    atomic_store_explicit(&job->shares_used, 0, memory_order_relaxed);
    atomic_store_explicit(&job->done, 0, memory_order_relaxed);
}

void tada_attention_look(tada_attention_job *job, const tada_attention_job *like)
{
    const tada_attention *a = &job->a;
    job->looked = true;
    if (is_empty(a)) {
        return;
    }
    like = like && sees_as(job, like) ? like : NULL;
    job->cut =
        tada_cut_make(a, like ? like->cut.block_queries : tada_mask_block(a, largest_block(a), group_of(a)));
    job->cut.slope = job->slope;
    job->cut.left = job->left;
    job->cut.views = like ? like->cut.views : job->views;
    /* Planes may have got other heads, or the library other kernels, since the job was planned. */
    job_size size = size_of_cut(&job->cut, SHARES);
    job->looked = fits(&size, &job->size);
    job->items = job->looked ? tada_cut_items(&job->cut) : 0;
    if (!like && job->looked) {
        memset((void *)job->views, TADA_VIEW_UNKNOWN, size.n_views);
    }
    look_for_sinks(job, like);
    reset(job);
}

/* Says to look() that so many shares are no longer as it left them. */
static void use_shares(tada_attention_job *job, int n)
{
    int used = atomic_load_explicit(&job->shares_used, memory_order_relaxed);
    while (used < n && !atomic_compare_exchange_weak_explicit(&job->shares_used, &used, n,
                                                              memory_order_relaxed, memory_order_relaxed)) {
    }
}

/*
 * Items that follow each other read memory that does, so each thread has a stretch of them, and helps the
 * others when it is done with its own.
 */
void tada_attention_work(tada_attention_job *job, int thread, int n_threads, void *shared, void *scratch)
{
    if (!scratch || job->items == 0 || thread < 0 || thread >= n_threads) {
        return;
    }
    int n = n_threads < (int)job->size.n_shares ? n_threads : (int)job->size.n_shares;
    tada_item_work work = tada_item_work_make(&job->cut, scratch, shared);
    int64_t done = 0;
    use_shares(job, n);
    for (int t = 0; t < n; t++) {
        int64_t of = ((int64_t)thread + t) % n, first = job->items * of / n, end = job->items * (of + 1) / n;
        _Atomic int64_t *taken = &job->shares[of].taken;
        for (int64_t i; (i = first + atomic_fetch_add_explicit(taken, 1, memory_order_relaxed)) < end;
             done++) {
            tada_item_do(&job->cut, i, &work);
        }
    }
    atomic_fetch_add_explicit(&job->done, done, memory_order_release);
}

bool tada_attention_is_done(const tada_attention_job *job)
{
    return job->looked && atomic_load_explicit(&job->done, memory_order_acquire) >= job->items;
}

void tada_attention_tell(const tada_attention_job *job, tada_plane *p)
{
    const tada_cut *cut = &job->cut;
    for (int64_t s = 0; tada_attention_is_done(job) && job->items > 0 && s < job->a.n_streams; s++) {
        int64_t first = (job->a.first_stream + s) * p->tiles_per_stream;
        for (int64_t tile = 0; tile < p->tiles_per_stream; tile++) {
            bool within = tile >= cut->first_tile && tile < cut->first_tile + cut->n_tiles;
            tada_tile_see(p, first + tile, within && tada_cut_sees(cut, s, tile));
        }
    }
}

int64_t tada_attention_job_sinks(const tada_attention_job *job, const int64_t **cells)
{
    *cells = job->sinks;
    return job->n_sinks;
}

/* ---- all at once ---- */

/* A job that runs on the memory of a pool. */
typedef struct pool_run {
    tada_attention_job job;
    uint8_t *shared, *scratch;
} pool_run;

static void run_part(void *context, int thread, int n_threads)
{
    pool_run *r = context;
    tada_attention_work(&r->job, thread, n_threads, r->shared,
                        r->scratch + scratch_bytes(&r->job.size) * (size_t)thread);
}

enum tada_status tada_attention_run(const tada_attention *a, tada_pool *pool, const tada_threads *threads,
                                    tada_error *error)
{
    const char *wrong = tada_attention_problem(a);
    enum tada_status status = tada_lent_check(threads, error);
    if (wrong) {
        return tada_fail(error, TADA_E_ARGUMENT, "%s", wrong);
    }
    if (status != TADA_OK || is_empty(a)) {
        return status;
    }
    int n_threads = tada_lent_count(threads);
    job_size size = size_of(a, shares_for(n_threads));
    size_t bytes = workspace_bytes(&size, n_threads);
    uint8_t *memory = tada_size_possible(bytes) ? tada_pool_workspace(pool, bytes) : NULL;
    if (!memory) {
        return tada_fail(error, TADA_E_MEMORY,
                         "Out of memory for attention: use a smaller ubatch or fewer threads.");
    }
    pool_run r = {.shared = memory + own_bytes(&size)};
    r.scratch = r.shared + shared_bytes(&size);
    job_make(&r.job, a, &size, memory);
    tada_attention_look(&r.job, NULL);
    tada_lent_run(r.job.items > 1 ? threads : NULL, run_part, &r);
    tada_pool_workspace_done(pool);
    return TADA_OK;
}
