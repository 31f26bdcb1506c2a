/* What calibration learns from the engine's own graphs: the shape of each layer's cache, and how much its
 * queries ask of each channel of K. */
#include "plugin.h"

#include <stdlib.h>
#include <string.h>

static tada_layer_statistics *layers[TADA_PLAN_LAYERS];
static bool watching;

void tada_statistics_watch(bool on)
{
    for (int i = 0; i < TADA_PLAN_LAYERS; i++) {
        if (layers[i]) {
            free(layers[i]->q_squares);
            free(layers[i]);
            layers[i] = NULL;
        }
    }
    watching = on;
}

bool tada_statistics_get(int layer, tada_layer_statistics *statistics)
{
    if (layer < 0 || layer >= TADA_PLAN_LAYERS || !layers[layer]) {
        return false;
    }
    *statistics = *layers[layer];
    return true;
}

static tada_layer_statistics *layer_of(int layer, const tada_attention *a, int k_width, int v_width)
{
    tada_layer_statistics *s = layers[layer];
    if (!s) {
        s = calloc(1, sizeof *s);
        double *squares = s ? calloc((size_t)k_width, sizeof *squares) : NULL;
        if (!squares) {
            free(s);
            return NULL;
        }
        *s = (tada_layer_statistics){k_width, v_width, a->k_dim, squares};
        layers[layer] = s;
    }
    return s->k_width == k_width ? s : NULL;
}

void tada_statistics_add(int layer, const tada_attention *a, int k_width, int v_width)
{
    if (!watching || layer < 0 || layer >= TADA_PLAN_LAYERS) {
        return;
    }
    tada_layer_statistics *s = layer_of(layer, a, k_width, v_width);
    int group = a->n_heads / a->n_heads_kv;
    for (int64_t stream = 0; s && stream < a->n_streams; stream++) {
        for (int64_t i = 0; i < a->n_queries; i++) {
            for (int h = 0; h < a->n_heads; h++) {
                const char *at = (const char *)a->q + (size_t)i * a->q_query + (size_t)h * a->q_head +
                                 (size_t)stream * a->q_stream;
                const float *q = (const float *)(const void *)at;
                double *to = s->q_squares + a->k_column + (ptrdiff_t)(h / group) * a->k_head_stride;
                for (int d = 0; d < a->k_dim; d++) {
                    to[d] += (double)q[d] * q[d];
                }
            }
        }
    }
}
