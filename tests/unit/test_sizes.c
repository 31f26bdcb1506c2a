/* Sizes that are told in advance against what is then taken. */
#include "support.h"

static const char *const specs[] = {"tada",
                                    "tada:high",
                                    "tada:compact",
                                    "tada:4/3:window=256:sinks=64",
                                    "tada:2:window=0:sinks=0",
                                    "tada:16",
                                    "tada:paper",
                                    "kivi:2",
                                    "tada:4:axis=token:rotate=none",
                                    "tada:window=64:window_bits=8:refine=off",
                                    "tada:4:window=64:window_bits=8:centre=tokens",
                                    "tada:4/3:window=192:window_bits=8:v.axis=channel"};
enum { N_SPECS = sizeof specs / sizeof *specs };

static void parts_add_up(void **state)
{
    (void)state;
    for (int turn = 0; turn < 2000; turn++) {
        tada_spec spec = spec_of(specs[random_below(N_SPECS)]);
        int dim = 16 * (1 + random_below(8)), heads = 1 + random_below(8);
        tada_shape shape = {.kind = random_below(2) ? TADA_V : TADA_K,
                            .width = dim * heads,
                            .n_cells = 1 + random_below(random_below(2) ? 200 : 131072),
                            .n_streams = 1 + random_below(4),
                            .head_dim = random_below(2) ? dim : 0};
        tada_plane_parts parts;
        size_t bytes = tada_plane_bytes(&spec, &shape);
        assert_true(tada_plane_measure(&spec, &shape, &parts));
        assert_int_equal(parts.codes + parts.window + parts.sinks + parts.table, bytes);
        int64_t tiles = (shape.n_cells + 63) / 64 * shape.n_streams;
        size_t tile_bytes = (size_t)shape.width * 128;
        size_t slots =
            parts.compressed ? (size_t)shape.n_streams * (size_t)(spec.window / 64 + 1) : (size_t)tiles;
        size_t own = parts.window / tile_bytes, window = slots - (size_t)shape.n_streams;
        assert_int_equal(parts.window, own * tile_bytes);
        /* The window is in f16, or in codes; these have a slot for each tile, and one more to refine it. */
        if (own != slots) {
            assert_true(spec.window_bits == 8 && parts.compressed);
            assert_int_equal(own, shape.n_streams);
        }
        size_t codes = parts.compressed ? (size_t)tiles - own + (own != slots ? window : 0) : 0;
        assert_int_equal(parts.compressed, parts.codes > 0);
        size_t sinks = (size_t)(spec.sinks * shape.width) * 2 * (size_t)shape.n_streams;
        assert_true(!parts.compressed || (parts.sinks >= sinks && parts.sinks < sinks + 64));
        assert_true(parts.compressed || parts.sinks == 0);
        /* Codes for the other tiles only. */
        tada_shape larger = shape;
        tada_plane_parts more;
        larger.n_cells += 64;
        assert_true(tada_plane_measure(&spec, &larger, &more));
        if (parts.compressed && more.compressed) {
            size_t a_tile = (more.codes - parts.codes) / (size_t)shape.n_streams;
            assert_int_equal(parts.codes, codes * a_tile);
        }
    }
}

/* Layers are numbered in 32 bits, even where few tiles are in codes. */
static void too_many_layers(void **state)
{
    (void)state;
    enum { TILES = 1 << 20 };
    tada_spec spec = spec_of("tada:4:window=0");
    tada_shape shape = {
        .kind = TADA_K, .width = 16, .n_cells = (int64_t)TILES * 64, .n_streams = 1 << 11, .head_dim = 16};
    spec.window = (TILES - 2) * 64;
    spec.window_bits = 16;
    assert_true(tada_plane_bytes(&spec, &shape) > 0);
    shape.n_streams *= 4;
    assert_int_equal(tada_plane_bytes(&spec, &shape), 0);
}

static void bad_shapes(void **state)
{
    (void)state;
    tada_spec spec = spec_of("tada"), stock = spec_of("f16");
    tada_shape good = {.kind = TADA_K, .width = 128, .n_cells = 4096, .n_streams = 1, .head_dim = 64},
               bad = good;
    tada_attention a = attention_of(NULL, NULL, 64, 4, 2, 4096, 8, NULL, NULL);
    tada_plane_parts parts = {.codes = 1};
    bad.width = 0;
    assert_false(tada_plane_measure(&spec, &bad, &parts));
    assert_int_equal(parts.codes + parts.window + parts.sinks + parts.table, 0);
    assert_false(tada_plane_measure(&stock, &good, &parts));
    assert_int_equal(tada_plane_batch_bytes(&spec, &bad, 64), 0);
    assert_int_equal(tada_plane_batch_bytes(&spec, &good, 0), 0);
    tada_shape v = good;
    v.kind = TADA_V;
    assert_true(tada_attention_bytes(&a, &spec, &good, &spec, &v, 2) > 0);
    assert_int_equal(tada_attention_bytes(&a, &spec, &bad, &spec, &v, 2), 0);
    /* Nothing to do, and nobody to do it. */
    for (int threads = -1; threads <= 0; threads++) {
        assert_int_equal(tada_attention_bytes(&a, &spec, &good, &spec, &v, threads), 0);
    }
    for (int i = 0; i < 2; i++) {
        tada_attention none = a;
        *(i ? &none.n_streams : &none.n_queries) = 0;
        assert_int_equal(tada_attention_bytes(&none, &spec, &good, &spec, &v, 2), 0);
    }
    /* Without cells the output still becomes zeros. */
    a.n_cells = 0;
    assert_true(tada_attention_bytes(&a, &spec, &good, &spec, &v, 2) > 0);
    a.n_cells = 5000;
    assert_int_equal(tada_attention_bytes(&a, &spec, &good, &spec, &v, 2), 0);
}

/* Rows written in batches to the end of a long plane: what is borrowed is what was said. */
static void batches(void **state)
{
    (void)state;
    enum { CELLS = 4096, WIDTH = 32 };
    static float rows[CELLS * WIDTH];
    fill(rows, CELLS, WIDTH, 0);
    for (int i = 0; i < N_SPECS; i++) {
        for (int n = 64; n <= 1024; n *= 4) {
            tada_spec spec = spec_of(specs[i]);
            tada_shape shape = {TADA_K, WIDTH, CELLS, 1, WIDTH};
            tada_pool *pool = tada_pool_create();
            test_plane p = plane_of(specs[i], TADA_K, WIDTH, CELLS, 1, WIDTH);
            write_rows(p.plane, pool, rows, TADA_F32, WIDTH, 0, CELLS, n);
            if (tada_pool_bytes(pool) != tada_plane_batch_bytes(&spec, &shape, n)) {
                fail_msg("%s, batches of %d: %zu bytes, not %zu", specs[i], n, tada_pool_bytes(pool),
                         tada_plane_batch_bytes(&spec, &shape, n));
            }
            plane_done(&p);
            tada_pool_free(pool);
        }
    }
}

/* The most that any number of queries and cells takes is what was said, to the byte. */
static void attention(void **state)
{
    (void)state;
    enum { CELLS = 1536, DIM = 32, MOST = 40, HEADS = 4 };
    static float q[MOST * HEADS * DIM * 2], out[MOST * HEADS * DIM * 2];
    static uint16_t mask[MOST * CELLS * 2];
    for (int turn = 0; turn < 24 / quick(); turn++) {
        int heads_kv = 1 << random_below(3), streams = 1 + random_below(2), threads = 1 + random_below(2);
        int most = random_below(2) ? MOST : 1 + random_below(16);
        const char *text = specs[random_below(N_SPECS)];
        tada_spec spec = spec_of(text);
        tada_shape shape = {.width = heads_kv * DIM, .n_cells = CELLS, .n_streams = streams, .head_dim = DIM};
        tada_shape v_shape = shape;
        shape.kind = TADA_K;
        v_shape.kind = TADA_V;
        test_plane k = plane_of(text, TADA_K, shape.width, CELLS, streams, DIM);
        test_plane v = plane_of(text, TADA_V, shape.width, CELLS, streams, DIM);
        tada_pool *pool = tada_pool_create();
        tada_attention a = attention_of(k.plane, v.plane, DIM, HEADS, heads_kv, CELLS, MOST, q, out);
        a.n_streams = streams;
        add_mask(&a, mask);
        a.mask = random_below(2) ? mask : NULL;
        a.n_queries = most;
        size_t said = tada_attention_bytes(&a, &spec, &shape, &spec, &v_shape, threads);
        for (int n = most; n > 0; n = n > 16 ? 16 : n - 1) {
            for (int64_t cells = CELLS; cells > 0; cells -= 64) {
                for (a.n_streams = 1; a.n_streams <= streams; a.n_streams++) {
                    a.n_queries = n;
                    a.n_cells = cells;
                    assert_int_equal(tada_attention_run(&a, pool, threads_of(threads), NULL), TADA_OK);
                }
            }
        }
        if (tada_pool_bytes(pool) != said) {
            fail_msg("%d KV heads, %d streams, %d threads, %d queries: %zu bytes, not %zu", heads_kv, streams,
                     threads, most, tada_pool_bytes(pool), said);
        }
        plane_done(&k);
        plane_done(&v);
        tada_pool_free(pool);
    }
}

TEST_MAIN(cmocka_unit_test(parts_add_up), cmocka_unit_test(bad_shapes), cmocka_unit_test(too_many_layers),
          cmocka_unit_test(batches), cmocka_unit_test(attention))
