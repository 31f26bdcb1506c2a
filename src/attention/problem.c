#include "problem.h"

#include "plane/plane.h"
#include "common/sizes.h"

enum { MOST_HEADS = 1 << 16 };
/* Of outputs. No memory has so many, and no count of what is done for them overflows. */
#define MOST_ROWS ((size_t)1 << 48)

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Whether heads of a row, which begin so many values apart, lie within its width. */
static bool is_within(int column, int stride, int dim, int n_heads, int width)
{
    return column >= 0 && stride >= 0 && column + (int64_t)(n_heads - 1) * stride + dim <= width;
}

/* Whether there are n from `first` on of those that a plane has. */
static bool are_there(int64_t first, int64_t n, int64_t of_k, int64_t of_v)
{
    int64_t most = smaller(of_k, of_v);
    return first >= 0 && n >= 0 && n <= most && first <= most - n;
}

const char *tada_attention_sizes_problem(const tada_attention *a)
{
    const tada_shape *k = &a->k->shape, *v = &a->v->shape;
    if (a->n_heads < 1 || a->n_heads > MOST_HEADS || a->n_heads_kv < 1 || a->n_heads % a->n_heads_kv != 0 ||
        a->k_dim < 1 || a->v_dim < 1) {
        return "The query heads must be a multiple of the KV heads and at most 65536, and heads must have "
               "values.";
    }
    if (!is_within(a->k_column, a->k_head_stride, a->k_dim, a->n_heads_kv, k->width) ||
        !is_within(a->v_column, a->v_head_stride, a->v_dim, a->n_heads_kv, v->width)) {
        return "The heads must lie within the rows of the planes.";
    }
    if (!are_there(a->first_stream, a->n_streams, k->n_streams, v->n_streams) ||
        !are_there(a->first_cell, a->n_cells, k->n_cells, v->n_cells)) {
        return "The cells and streams must exist in both planes.";
    }
    size_t rows = tada_size_multiply((size_t)a->n_streams, (size_t)a->n_heads);
    if (a->n_queries < 0 || tada_size_multiply(rows, (size_t)a->n_queries) > MOST_ROWS) {
        return "There must be 0 or more queries, and at most 2^48 rows of all queries, heads and streams.";
    }
    if (a->mask && (a->mask_heads < 1 || a->mask_streams < 1)) {
        return "A mask must have at least one head and one stream.";
    }
    return NULL;
}

/* A dimension of an operand: its size, and bytes from one to the next. */
typedef struct dimension {
    int64_t n;
    size_t stride;
} dimension;

/* Whether an operand of so many values, and of three further dimensions, lies in memory, at whole values. */
static bool is_in_memory(int64_t n_values, size_t value, const dimension *dimensions)
{
    size_t end = tada_size_multiply((size_t)n_values, value);
    for (int i = 0; i < 3; i++) {
        const dimension *d = &dimensions[i];
        if (d->n > 1) {
            end = d->stride % value == 0 ? tada_size_add(end, tada_size_multiply((size_t)d->n - 1, d->stride))
                                         : SIZE_MAX;
        }
    }
    return tada_size_possible(end);
}

const char *tada_attention_problem(const tada_attention *a)
{
    const char *wrong = tada_attention_sizes_problem(a);
    if (wrong || a->n_queries == 0 || a->n_streams == 0) {
        return wrong;
    }
    const dimension q[] = {{a->n_queries, a->q_query}, {a->n_heads, a->q_head}, {a->n_streams, a->q_stream}};
    const dimension out[] = {
        {a->n_queries, a->out_query}, {a->n_heads, a->out_head}, {a->n_streams, a->out_stream}};
    const dimension mask[] = {{a->n_queries, a->mask_query},
                              {smaller(a->n_heads, a->mask_heads), a->mask_head},
                              {smaller(a->n_streams, a->mask_streams), a->mask_stream}};
    if (!is_in_memory(a->k_dim, sizeof(float), q) || !is_in_memory(a->v_dim, sizeof(float), out) ||
        (a->mask && !is_in_memory(a->n_cells, sizeof(uint16_t), mask))) {
        return "The strides of q, out and mask must be bytes of whole values, and all values within memory.";
    }
    return NULL;
}
