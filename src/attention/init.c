/* The usual attention. */
#include "plane/plane.h"

#include <math.h>

/* Values of a head; 0, which no attention accepts: the row cannot be cut so. */
static int head_dim_of(const tada_plane *plane, int n_heads_kv)
{
    int width = plane->shape.width;
    return n_heads_kv > 0 && width % n_heads_kv == 0 ? width / n_heads_kv : 0;
}

void tada_attention_init(tada_attention *a, const tada_plane *k, const tada_plane *v, int n_heads,
                         int n_heads_kv, int64_t n_queries)
{
    int k_dim = head_dim_of(k, n_heads_kv), v_dim = head_dim_of(v, n_heads_kv);
    *a = (tada_attention){.k = k,
                          .v = v,
                          .k_dim = k_dim,
                          .v_dim = v_dim,
                          .k_head_stride = k_dim,
                          .v_head_stride = v_dim,
                          .n_heads = n_heads,
                          .n_heads_kv = n_heads_kv,
                          .n_streams = k->shape.n_streams,
                          .n_cells = k->shape.n_cells,
                          .n_queries = n_queries,
                          .mask_heads = 1,
                          .mask_streams = 1,
                          .scale = k_dim ? 1 / sqrtf((float)k_dim) : 0};
    /* Of sizes that no attention accepts the strides do not matter. */
    a->q_head = (size_t)k_dim * sizeof(float);
    a->q_query = (size_t)n_heads * a->q_head;
    a->q_stream = (size_t)n_queries * a->q_query;
    a->out_head = (size_t)v_dim * sizeof(float);
    a->out_query = (size_t)n_heads * a->out_head;
    a->out_stream = (size_t)n_queries * a->out_query;
}
