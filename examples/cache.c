/*
 * A compressed cache of one layer: rows of K and V come token by token, are compressed, and attention reads
 * them. What it gives is compared with attention over the same rows in f16.
 *
 *     cc cache.c $(pkg-config --cflags --libs tada) -lm && ./a.out [SPEC]
 *
 * SPEC is a cache spec, "tada" if it is not given. The rows are invented: channels of different sizes that
 * drift slowly, as those of real models do.
 */
#include <tada.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CELLS = 2048, HEADS = 8, HEADS_KV = 2, HEAD_DIM = 64, WIDTH = HEADS_KV * HEAD_DIM, BATCH = 32 };

/* K and V of one layer, and what they share. */
typedef struct cache {
    tada_plane *planes[2];
    void *memory[2]; /* in which the planes lie: ours, and freed after them */
    tada_pool *pool; /* scratch, which grows when it is first needed */
    size_t bytes;
} cache;

static void check(enum tada_status status, const tada_error *error)
{
    if (status != TADA_OK) {
        fprintf(stderr, "%s: %s\n", tada_status_name(status), error->text);
        exit(1);
    }
}

static void *get_memory(void *memory)
{
    if (!memory) {
        fprintf(stderr, "Memory is short.\n");
        exit(1);
    }
    return memory;
}

/* 1. A plane for K and one for V, of the same spec. The caller brings the memory. */
static cache cache_open(const char *text)
{
    cache c = {.pool = get_memory(tada_pool_create())};
    tada_spec spec;
    tada_error error;
    check(tada_spec_parse(text, &spec, &error), &error);
    for (int i = 0; i < 2; i++) {
        tada_shape shape;
        tada_shape_init(&shape, i == 0 ? TADA_K : TADA_V, WIDTH, CELLS);
        shape.head_dim = HEAD_DIM;
        size_t bytes = tada_plane_bytes(&spec, &shape);
        c.memory[i] = get_memory(aligned_alloc(64, (bytes + 63) / 64 * 64));
        check(tada_plane_create(&spec, &shape, c.memory[i], bytes, &c.planes[i], &error), &error);
        c.bytes += bytes;
    }
    return c;
}

static void cache_close(cache *c)
{
    for (int i = 0; i < 2; i++) {
        tada_plane_free(c->planes[i]);
        free(c->memory[i]);
    }
    tada_pool_free(c->pool);
}

/* 2. Rows go to cells. They are exact until the planes settle: attention of this batch sees them so. */
static void cache_write(cache *c, const float *k, const float *v, int first, int n)
{
    int64_t cells[BATCH];
    tada_error error;
    for (int i = 0; i < n; i++) {
        cells[i] = first + i;
    }
    const float *rows[2] = {k, v};
    for (int i = 0; i < 2; i++) {
        check(tada_plane_write(c->planes[i], c->pool, rows[i], TADA_F32, WIDTH * sizeof(float), cells, n,
                               &error),
              &error);
    }
}

/* 3. Then they are compressed, but for the most recent ones. NULL: by this thread alone. */
static void cache_settle(cache *c)
{
    tada_error error;
    for (int i = 0; i < 2; i++) {
        check(tada_plane_settle(c->planes[i], NULL, &error), &error);
    }
}

/* 4. Attention of one query, of all heads, over the cells before `n`. */
static void cache_attend(cache *c, const float *q, int n, float *out)
{
    tada_error error;
    tada_attention attention;
    tada_attention_init(&attention, c->planes[0], c->planes[1], HEADS, HEADS_KV, 1);
    attention.n_cells = n;
    attention.q = q;
    attention.out = out;
    check(tada_attention_run(&attention, c->pool, NULL, &error), &error);
}

/* ---- rows, and what is printed ---- */

/* Uniform from -1 to 1, the same on every machine. */
static float noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1;
}

static void make_row(uint32_t *state, int token, float *row)
{
    for (int d = 0; d < WIDTH; d++) {
        float size = d % 16 == 3 ? 4 : 1;
        row[d] = size * (noise(state) + sinf((float)token * 0.002f * (float)(1 + d % 8)));
    }
}

int main(int argc, char **argv)
{
    static float q[HEADS * HEAD_DIM], exact[HEADS * HEAD_DIM], out[HEADS * HEAD_DIM];
    static float k[BATCH * WIDTH], v[BATCH * WIDTH];
    uint32_t state = 1;
    cache compressed = cache_open(argc > 1 ? argv[1] : "tada"), f16 = cache_open("tada:16");
    cache *const both[] = {&compressed, &f16};
    for (int first = 0; first < CELLS; first += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            make_row(&state, first + i, k + i * WIDTH);
            make_row(&state, first + i, v + i * WIDTH);
        }
        for (int i = 0; i < 2; i++) {
            cache_write(both[i], k, v, first, BATCH);
            cache_settle(both[i]);
        }
    }
    for (int i = 0; i < HEADS * HEAD_DIM; i++) {
        q[i] = noise(&state);
    }
    cache_attend(&compressed, q, CELLS, out);
    cache_attend(&f16, q, CELLS, exact);
    double error = 0, size = 0;
    for (int i = 0; i < HEADS * HEAD_DIM; i++) {
        error += ((double)out[i] - exact[i]) * ((double)out[i] - exact[i]);
        size += (double)exact[i] * exact[i];
    }
    tada_plane_stats stats;
    tada_plane_get_stats(compressed.planes[0], &stats);
    printf("cells       %d, of which K has %d in compressed tiles\n", CELLS, 64 * (int)stats.cold);
    printf("memory      %zu KiB instead of %zu KiB: %.1f %%\n", compressed.bytes / 1024, f16.bytes / 1024,
           100.0 * (double)compressed.bytes / (double)f16.bytes);
    printf("attention   relative error %.1f %%\n", 100 * sqrt(error / size));
    cache_close(&compressed);
    cache_close(&f16);
    return 0;
}
