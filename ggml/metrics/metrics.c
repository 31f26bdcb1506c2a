/* Counters, and the planes whose own counters are added up when somebody asks. */
#include "metrics.h"

#include "base/pages.h"
#include "base/scratch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One cache of a context, as metrics number them. It gets the lowest number that is free, so that contexts
 * that come and go need few numbers. */
typedef struct counted_cache {
    const tada_pool *pool; /* which all its planes have; NULL: not in use */
    counted_plane *planes;
    const counted_plane *first; /* each token is written to all planes, and counts in this one */
    bool seen;
    atomic_uint_fast64_t tokens;
} counted_cache;

static const metrics_reader *reader; /* NULL: nobody reads them */
/* Held while planes come and go, and the thread with them; the thread itself takes the other one only. */
static pthread_mutex_t life_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t planes_lock = PTHREAD_MUTEX_INITIALIZER;
static counted_cache caches[METRICS_CACHES];
static int64_t n_planes;
/* Of planes that are no more. */
static int64_t gone_compressions[2], gone_reopens[2], gone_merges[2], gone_nonfinite[2];

static atomic_uint_fast64_t generic[GGML_OP_COUNT];
static atomic_uint_fast64_t rows_read[2], rows_written[2];
static atomic_uint_fast64_t attention_calls, attention_ns, encoding_ns;
static atomic_uint_fast64_t prompts, prompt_tokens, prompt_bytes;

static void count_up(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t count_of(atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- life ---- */

/* A child of the host starts with no lock held. */
static void before_fork(void)
{
    pthread_mutex_lock(&life_lock);
    pthread_mutex_lock(&planes_lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&planes_lock);
    pthread_mutex_unlock(&life_lock);
}

static void after_fork_in_child(void)
{
    reader->forget();
    after_fork();
}

/* The process ends, or the plug-in is unloaded. A signal handler that calls exit may hold the lock: then the
 * thread ends with the process. */
__attribute__((destructor)) static void leave(void)
{
    if (reader && pthread_mutex_trylock(&life_lock) == 0) {
        reader->stop();
        pthread_mutex_unlock(&life_lock);
    }
}

void metrics_init(const metrics_reader *r)
{
    reader = pthread_atfork(before_fork, after_fork, after_fork_in_child) == 0 ? r : NULL;
}

/* ---- planes ---- */

/* The cache of that pool, or the lowest free one; more of them than there are numbers share the last. */
static counted_cache *cache_of(const tada_pool *pool)
{
    counted_cache *free_one = NULL;
    for (int i = 0; i < METRICS_CACHES; i++) {
        if (caches[i].pool == pool) {
            return &caches[i];
        }
        free_one = free_one || caches[i].pool ? free_one : &caches[i];
    }
    return free_one ? free_one : &caches[METRICS_CACHES - 1];
}

void metrics_add(counted_plane *c, const tada_pool *pool)
{
    if (!reader) {
        return;
    }
    pthread_mutex_lock(&life_lock);
    pthread_mutex_lock(&planes_lock);
    counted_cache *cache = cache_of(pool);
    c->in = cache;
    c->next = cache->planes;
    if (!cache->planes) {
        cache->pool = pool;
        cache->first = c;
        cache->seen = true;
    }
    cache->planes = c;
    bool first = n_planes++ == 0;
    pthread_mutex_unlock(&planes_lock);
    if (first) {
        reader->start();
    }
    pthread_mutex_unlock(&life_lock);
}

void metrics_remove(counted_plane *c)
{
    counted_cache *cache = c->in;
    if (!cache) {
        return;
    }
    tada_plane_stats stats;
    tada_plane_get_stats(c->plane, &stats);
    pthread_mutex_lock(&life_lock);
    pthread_mutex_lock(&planes_lock);
    for (counted_plane **at = &cache->planes; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    if (cache->first == c) {
        cache->first = cache->planes;
    }
    if (!cache->planes) {
        cache->pool = NULL;
    }
    c->in = NULL;
    gone_compressions[c->kind] += stats.compressions;
    gone_reopens[c->kind] += stats.reopens;
    gone_merges[c->kind] += stats.merges;
    gone_nonfinite[c->kind] += stats.nonfinite;
    bool last = --n_planes == 0;
    pthread_mutex_unlock(&planes_lock);
    if (last) {
        reader->stop();
    }
    pthread_mutex_unlock(&life_lock);
}

/* ---- counters ---- */

bool metrics_generic(enum ggml_op op)
{
    return atomic_fetch_add_explicit(&generic[op], 1, memory_order_relaxed) == 0;
}

void metrics_tokens(const counted_plane *c, int64_t rows)
{
    if (c->in && c->in->first == c) {
        count_up(&c->in->tokens, (uint64_t)rows);
    }
}

void metrics_read(enum tada_kind kind, int64_t rows)
{
    count_up(&rows_read[kind], (uint64_t)rows);
}

void metrics_written(enum tada_kind kind, int64_t rows)
{
    count_up(&rows_written[kind], (uint64_t)rows);
}

void metrics_prompt(uint64_t tokens, uint64_t bytes)
{
    count_up(&prompts, 1);
    count_up(&prompt_tokens, tokens);
    count_up(&prompt_bytes, bytes);
}

uint64_t metrics_clock(void)
{
    struct timespec now;
    if (!reader || clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return 0;
    }
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void metrics_attention(uint64_t since)
{
    if (since) {
        count_up(&attention_calls, 1);
        count_up(&attention_ns, metrics_clock() - since);
    }
}

void metrics_encoding(uint64_t since)
{
    if (since) {
        count_up(&encoding_ns, metrics_clock() - since);
    }
}

/* ---- sums ---- */

static void collect_plane(metrics_kind *kind, metrics_cache *cache, const tada_plane_stats *s)
{
    tada_plane_stats *sum = &kind->stats;
    kind->planes++;
    sum->tiles += s->tiles;
    sum->hot += s->hot;
    sum->cold += s->cold;
    sum->refined += s->refined;
    sum->layered += s->layered;
    sum->compressions += s->compressions;
    sum->reopens += s->reopens;
    sum->merges += s->merges;
    sum->nonfinite += s->nonfinite;
    sum->bytes_f16 += s->bytes_f16;
    sum->bytes_cold += s->bytes_cold;
    sum->bytes_hot += s->bytes_hot;
    sum->bytes_sinks += s->bytes_sinks;
    sum->bytes_table += s->bytes_table;
    /* A row of zeros does not count as written, so the plane with the most rows tells how many cells are
     * used. */
    cache->cells = s->cells > cache->cells ? s->cells : cache->cells;
    cache->used = s->written > cache->used ? s->written : cache->used;
}

void metrics_collect(metrics_counts *counts)
{
    memset(counts, 0, sizeof *counts);
    pthread_mutex_lock(&planes_lock);
    for (int i = 0; i < METRICS_CACHES; i++) {
        metrics_cache *cache = &counts->caches[i];
        cache->seen = caches[i].seen;
        cache->there = caches[i].planes != NULL;
        cache->tokens = count_of(&caches[i].tokens);
        counts->scratch += caches[i].pool ? tada_pool_bytes(caches[i].pool) : 0;
        for (const counted_plane *c = caches[i].planes; c; c = c->next) {
            tada_plane_stats stats;
            tada_plane_get_stats(c->plane, &stats);
            collect_plane(&counts->kinds[c->kind], cache, &stats);
            counts->kinds[c->kind].resident += pages_resident(c->memory, c->bytes);
        }
    }
    for (int kind = 0; kind < 2; kind++) {
        counts->kinds[kind].stats.compressions += gone_compressions[kind];
        counts->kinds[kind].stats.reopens += gone_reopens[kind];
        counts->kinds[kind].stats.merges += gone_merges[kind];
        counts->kinds[kind].stats.nonfinite += gone_nonfinite[kind];
        counts->kinds[kind].rows_read = count_of(&rows_read[kind]);
        counts->kinds[kind].rows_written = count_of(&rows_written[kind]);
    }
    counts->scratch += scratch_total();
    pthread_mutex_unlock(&planes_lock);
    for (int op = 0; op < GGML_OP_COUNT; op++) {
        counts->generic[op] = count_of(&generic[op]);
    }
    counts->attention_calls = count_of(&attention_calls);
    counts->attention_ns = count_of(&attention_ns);
    counts->encoding_ns = count_of(&encoding_ns);
    counts->prompts = count_of(&prompts);
    counts->prompt_tokens = count_of(&prompt_tokens);
    counts->prompt_bytes = count_of(&prompt_bytes);
}
