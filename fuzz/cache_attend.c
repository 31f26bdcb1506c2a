#include "cache_attend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_HEADS = 24, MINUS_INFINITY = 0xfc00 };

typedef struct attend_case {
    tada_attention a;
    const cache_model *k, *v;
    float *q, *out;
    uint16_t *mask;
    float sinks[MOST_HEADS];
} attend_case;

static void make(fuzz_input *in, attend_case *c, int head_dim)
{
    tada_attention *a = &c->a;
    fuzz_random random = fuzz_seed((uint32_t)fuzz_below(in, 65536));
    const tada_shape *shape = &c->k->shape;
    int kv = shape->width / head_dim, most = MOST_HEADS / kv < 4 ? MOST_HEADS / kv : 4;
    *a = (tada_attention){.k = c->k->plane,
                          .v = c->v->plane,
                          .k_dim = head_dim,
                          .v_dim = head_dim,
                          .k_head_stride = head_dim,
                          .v_head_stride = head_dim,
                          .n_heads_kv = kv,
                          .mask_heads = 1,
                          .mask_streams = 1,
                          .scale = 1 / sqrtf((float)head_dim)};
    a->n_heads = kv * (1 + fuzz_below(in, most));
    a->first_stream = fuzz_below(in, (int)shape->n_streams);
    a->n_streams = 1 + fuzz_below(in, (int)(shape->n_streams - a->first_stream));
    a->first_cell = fuzz_below(in, 2) ? fuzz_below(in, (int)shape->n_cells) : 0;
    a->n_cells = 1 + fuzz_below(in, (int)(shape->n_cells - a->first_cell));
    a->n_queries = 1 + fuzz_below(in, fuzz_below(in, 4) ? 3 : 20);
    a->softcap = fuzz_below(in, 6) ? 0 : 20;
    a->max_bias = fuzz_below(in, 6) ? 0 : 8;
    a->q_head = a->out_head = (size_t)head_dim * 4;
    a->q_query = a->out_query = a->q_head * (size_t)a->n_heads;
    a->q_stream = a->out_stream = a->q_query * (size_t)a->n_queries;
    size_t n = a->q_stream / 4 * (size_t)a->n_streams;
    c->q = fuzz_memory(n * sizeof *c->q);
    c->out = fuzz_memory(n * sizeof *c->out);
    for (size_t i = 0; i < n; i++) {
        c->q[i] = fuzz_normal(&random);
    }
    a->q = c->q;
    a->out = c->out;
    int masks = fuzz_below(in, 4);
    if (masks) {
        a->mask_streams = (int)a->n_streams;
        a->mask_query = (size_t)a->n_cells * 2;
        a->mask_head = a->mask_query * (size_t)a->n_queries;
        a->mask_stream = a->mask_head;
        c->mask = fuzz_memory(a->mask_stream * (size_t)a->n_streams);
        for (size_t i = 0; i < a->mask_stream / 2 * (size_t)a->n_streams; i++) {
            /* Single cells, long stretches, or none; now and then a bias. */
            uint64_t bits = fuzz_bits(&random);
            bool hidden = masks == 1 ? bits & 1 : masks == 2 ? (i / 70 * 0x9e3779b97f4a7c15u) >> 63 : false;
            c->mask[i] = hidden ? MINUS_INFINITY : bits >> 8 & 15 ? 0 : 0xbe00;
        }
        a->mask = c->mask;
    }
    if (fuzz_below(in, 4) == 0) {
        for (int h = 0; h < a->n_heads; h++) {
            c->sinks[h] = fuzz_normal(&random);
        }
        a->sink_logits = c->sinks;
    }
}

/* Of ALiBi; 1 without. */
static double slope_of(const tada_attention *a, int head)
{
    if (a->max_bias <= 0) {
        return 1;
    }
    int low = 1 << (int)floor(log2(a->n_heads));
    return head < low ? pow(2, -(double)a->max_bias / low * (head + 1))
                      : pow(2, -(double)a->max_bias / 2 / low * (2 * (head - low) + 1));
}

typedef struct expected {
    double *value;   /* [v_dim] */
    double most;     /* by which the output may differ */
    bool sees_a_row; /* else: zeros */
} expected;

/*
 * One query of one head. Rows as they are read have been rounded to f16, which those in the planes need not
 * have been: relative to the largest score 2^-11, and as much by the rounding of q to 16 bits. Weights are
 * rounded to 16 bits as well, relative to the largest.
 */
static expected expect(const attend_case *c, int64_t stream, int64_t query, int head, double *weights)
{
    const tada_attention *a = &c->a;
    int kv = head / (a->n_heads / a->n_heads_kv), dim = a->k_dim;
    const float *q =
        c->q + ((size_t)stream * a->q_stream + (size_t)query * a->q_query + (size_t)head * a->q_head) / 4;
    int64_t first = (a->first_stream + stream) * c->k->shape.n_cells + a->first_cell;
    double q_norm = 0, largest = 0, value = 0,
           max = a->sink_logits ? (double)a->sink_logits[head] : -INFINITY, sum;
    expected e = {calloc((size_t)dim, sizeof *e.value), 0, false};
    for (int d = 0; d < dim; d++) {
        q_norm += (double)q[d] * (double)q[d];
    }
    for (int64_t t = 0; t < a->n_cells; t++) {
        const uint16_t *k = cache_model_row(c->k, first + t) + kv * dim,
                       *v = cache_model_row(c->v, first + t) + kv * dim;
        uint16_t mask =
            a->mask
                ? c->mask[((size_t)stream * a->mask_stream + (size_t)query * a->mask_query) / 2 + (size_t)t]
                : 0;
        double dot = 0, k_norm = 0, v_norm = 0;
        weights[t] = -INFINITY;
        if (mask == MINUS_INFINITY) {
            continue;
        }
        for (int d = 0; d < dim; d++) {
            double x = fuzz_half(k[d]), y = fuzz_half(v[d]);
            dot += (double)q[d] * x;
            k_norm += x * x;
            v_norm += y * y;
        }
        dot *= (double)a->scale;
        dot = a->softcap > 0 ? (double)a->softcap * tanh(dot / (double)a->softcap) : dot;
        weights[t] = dot + slope_of(a, head) * fuzz_half(mask);
        max = fmax(max, weights[t]);
        largest = fmax(largest, sqrt(q_norm * k_norm) * (double)a->scale);
        value = fmax(value, sqrt(v_norm));
        e.sees_a_row = true;
    }
    sum = a->sink_logits ? exp((double)a->sink_logits[head] - max) : 0;
    for (int64_t t = 0; t < a->n_cells && e.sees_a_row; t++) {
        weights[t] = exp(weights[t] - max);
        sum += weights[t];
        for (int d = 0; d < dim && weights[t] > 0; d++) {
            e.value[d] += weights[t] * fuzz_half(cache_model_row(c->v, first + t)[kv * dim + d]);
        }
    }
    for (int d = 0; d < dim && e.sees_a_row; d++) {
        e.value[d] /= sum;
    }
    e.most = (2e-3 + 0x1p-10 * largest) * value + 1e-6;
    return e;
}

static void compare(const attend_case *c)
{
    const tada_attention *a = &c->a;
    double *weights = fuzz_memory((size_t)a->n_cells * sizeof *weights);
    const float *out = c->out;
    for (int64_t s = 0; s < a->n_streams; s++) {
        for (int64_t i = 0; i < a->n_queries; i++) {
            for (int h = 0; h < a->n_heads; h++, out += a->v_dim) {
                expected e = expect(c, s, i, h, weights);
                for (int d = 0; d < a->v_dim; d++) {
                    double error = fabs((double)out[d] - e.value[d]);
                    if (!(error <= e.most) || (!e.sees_a_row && out[d] != 0)) {
                        fuzz_fail("%s, %s, head size %d, stream %lld, query %lld, head %d, value %d: %g "
                                  "instead of %g "
                                  "(%g more than allowed)",
                                  c->k->text, tada_kernels_name(), a->k_dim, (long long)s, (long long)i, h, d,
                                  (double)out[d], e.value[d], error - e.most);
                    }
                }
                free(e.value);
            }
        }
    }
    free(weights);
}

/* Memory for so many bytes at least, aligned as jobs want it. */
static void *cache_lines(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes / 64 + 1) * 64);
    if (!memory) {
        fuzz_fail("no memory for %zu bytes", bytes);
    }
    return memory;
}

/* The same by a job, which tells the planes what it saw. */
static void attend_job(const attend_case *c, const float *first, size_t bytes)
{
    tada_attention_job *job = NULL;
    tada_error error = {""};
    if (tada_attention_plan(&c->a, &job, &error) != TADA_OK) {
        fuzz_fail("%s: attention cannot be planned: %s", c->k->text, error.text);
    }
    void *shared = cache_lines(tada_attention_job_shared(job));
    void *scratch = cache_lines(tada_attention_job_scratch(job));
    tada_attention_look(job, NULL);
    tada_attention_work(job, 0, 1, shared, scratch);
    if (!tada_attention_is_done(job) || memcmp(first, c->out, bytes) != 0) {
        fuzz_fail("%s: a job has another result", c->k->text);
    }
    tada_attention_tell(job, c->k->plane);
    tada_attention_tell(job, c->v->plane);
    tada_attention_job_free(job);
    free(shared);
    free(scratch);
}

void cache_attend(fuzz_input *in, const cache_model *k, const cache_model *v, int head_dim)
{
    attend_case c = {.k = k, .v = v};
    tada_error error = {""};
    int64_t cells[256];
    make(in, &c, head_dim);
    size_t bytes = c.a.out_stream * (size_t)c.a.n_streams;
    size_t most = tada_attention_bytes(&c.a, &k->spec, &k->shape, &v->spec, &v->shape, 3);
    float *first = fuzz_memory(bytes);
    for (int threads = 1; threads <= 3; threads += 2) {
        memset(c.out, 0x77, bytes);
        if (most == 0 || tada_attention_run(&c.a, k->pool, fuzz_threads(threads), &error) != TADA_OK) {
            fuzz_fail("%s: attention fails: %s", k->text, error.text);
        }
        if (threads == 1) {
            memcpy(first, c.out, bytes);
        }
    }
    if (memcmp(first, c.out, bytes) != 0) {
        fuzz_fail("%s: the result depends on the number of threads", k->text);
    }
    compare(&c);
    memset(c.out, 0x77, bytes);
    attend_job(&c, first, bytes);
    int64_t n = tada_attention_sinks(&c.a, cells, 256);
    for (int64_t i = 0; i < n; i++) {
        if (n > 256 || cells[i] < 0 || cells[i] >= k->total) {
            fuzz_fail("%s: a sink that is no cell", k->text);
        }
    }
    free(first);
    free(c.q);
    free(c.out);
    free(c.mask);
}
