/* Cells that are saved and restored hold the same codes: here, elsewhere, and in another plane. */
#include "support.h"

enum { WIDTH = 128, HEAD = 64, CELLS = 640, STREAMS = 2, TOTAL = CELLS * STREAMS, TILE = 64 };

static const char *const specs[] = {"tada",
                                    "tada:compact:sinks=0",
                                    "tada:4/3:window=0:refine=off",
                                    "tada:4/4:window=128:window_bits=8",
                                    "tada:k.rotate=hadamard:window=0",
                                    "tada:paper",
                                    "tada:4/4:k.group=16:window=0",
                                    "tada:4/4:window=0:k.centre=tokens:v.centre=heads8",
                                    "f16"};
/* The first ones encode rows to what they were decoded from, wherever these lie. */
enum { N_SPECS = sizeof specs / sizeof *specs, EXACT = 5 };

typedef struct saved {
    void *bytes;
    size_t size;
} saved;

/* The same for all planes: a tile remembers shifts by one. */
static const tada_rope *rope_for(int head)
{
    static tada_rope rope;
    rope = (tada_rope){.n_dims = head,
                       .n_heads = 2,
                       .head_stride = head,
                       .pairs = TADA_ROPE_HALVES,
                       .n_ctx_orig = 2048,
                       .freq_base = 10000,
                       .freq_scale = 1,
                       .attn_factor = 1,
                       .beta_fast = 32,
                       .beta_slow = 1};
    return &rope;
}

static test_plane plane_with(int run, int64_t n_cells, int64_t n_streams)
{
    if (strcmp(specs[run / 2], "f16") == 0) {
        /* A plane that stays as it is. */
        return plane_of("tada:16", (enum tada_kind)(run % 2), WIDTH, n_cells, n_streams, HEAD);
    }
    return plane_of(specs[run / 2], (enum tada_kind)(run % 2), WIDTH, n_cells, n_streams, HEAD);
}

static test_plane plane_for(int run)
{
    return plane_with(run, CELLS, STREAMS);
}

/* One with room for refinements and layers of all that goes there. */
static test_plane roomy_plane_for(int run)
{
    return plane_with(run, 4 * CELLS, 1);
}

static void settle(const test_plane *p)
{
    assert_int_equal(tada_plane_settle(p->plane, threads_of(2), NULL), TADA_OK);
}

static void write_some(const test_plane *p, tada_pool *pool, int64_t first, int64_t n)
{
    static float x[CELLS * WIDTH];
    fill(x, n, WIDTH, random_below(5));
    for (int64_t i = 0; i < n * WIDTH && random_below(4) == 0; i++) {
        x[i] *= 8;
    }
    write_rows(p->plane, pool, x, TADA_F32, WIDTH, first, n, 1 + random_below(100));
}

static void shift_some(const test_plane *p, int64_t stream)
{
    static int32_t deltas[TOTAL];
    memset(deltas, 0, sizeof deltas);
    int64_t first = random_below(CELLS), delta = random_below(100) - 50;
    for (int64_t i = random_below(2) ? 0 : first; i < CELLS; i++) {
        deltas[stream * CELLS + i] = (int32_t)delta;
    }
    assert_int_equal(tada_plane_shift(p->plane, rope_for(HEAD), deltas, threads_of(2), NULL), TADA_OK);
}

/* A stream as an engine leaves it behind: batches, rewinds, sinks, shifts, rows of zeros. */
static void live(const test_plane *p, tada_pool *pool, int64_t stream, int steps)
{
    for (int i = 0; i < steps; i++) {
        int64_t first = random_below(CELLS), n = 1 + random_below(random_below(3) ? 40 : 300);
        n = n < CELLS - first ? n : CELLS - first;
        int64_t cell = stream * CELLS + first;
        int what = random_below(8);
        if (what == 0) {
            shift_some(p, stream);
        } else if (what == 1) {
            static const float zeros[WIDTH];
            write_rows(p->plane, pool, zeros, TADA_F32, WIDTH, cell, 1, 1);
        } else {
            write_some(p, pool, cell, n);
            tada_plane_mark_sinks(p->plane, &cell, random_below(2));
        }
    }
}

static saved save(const test_plane *p, const int64_t *cells, int64_t n)
{
    saved s = {.size = tada_plane_state_bytes(p->plane, cells, n)};
    assert_true(s.size > 0);
    s.bytes = malloc(s.size);
    assert_int_equal(tada_plane_export(p->plane, cells, n, s.bytes, s.size, NULL), TADA_OK);
    return s;
}

static void restore(const test_plane *p, tada_pool *pool, const int64_t *cells, int64_t n, const saved *s)
{
    tada_error error = {""};
    if (tada_plane_import(p->plane, pool, cells, n, s->bytes, s->size, &error) != TADA_OK) {
        fail_msg("%s", error.text);
    }
}

static void read_cells(const test_plane *p, const int64_t *cells, int64_t n, uint16_t *rows)
{
    static uint16_t all[TOTAL * WIDTH];
    assert_int_equal(tada_plane_read(p->plane, 0, TOTAL, all, threads_of(2), NULL), TADA_OK);
    for (int64_t i = 0; i < n; i++) {
        memcpy(rows + i * WIDTH, all + cells[i] * WIDTH, WIDTH * 2);
    }
}

static void same_rows(int run, const char *where, const test_plane *p, const int64_t *cells, int64_t n,
                      const uint16_t *want)
{
    static uint16_t got[TOTAL * WIDTH];
    read_cells(p, cells, n, got);
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(got + i * WIDTH, want + i * WIDTH, WIDTH * 2) != 0) {
            fail_msg("%s, kind %d: restored %s, cell %lld is not what was saved", specs[run / 2], run % 2,
                     where, (long long)cells[i]);
        }
    }
}

static int64_t make_range(int64_t *cells, int64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        cells[i] = first + i;
    }
    return n;
}

/* A whole stream, where it was, in the other stream, and in another plane: the same bytes come out again. */
static void whole_streams(void **state)
{
    (void)state;
    static int64_t here[CELLS], there[CELLS];
    static uint16_t want[CELLS * WIDTH];
    for (int run = 0; run < 2 * N_SPECS * (in_haste() ? 1 : 6); run++) {
        int of = run % (2 * N_SPECS);
        test_plane p = plane_for(of), other = plane_for(of);
        tada_pool *pool = tada_pool_create();
        live(&p, pool, 0, 1 + random_below(30));
        int64_t n = make_range(here, 0, CELLS);
        make_range(there, CELLS, CELLS);
        read_cells(&p, here, n, want);
        saved s = save(&p, here, n);
        /* Not those of tile 0 that are sinks by their place, which are codes nowhere else. */
        restore(&p, pool, there, n, &s);
        saved again = save(&p, there, n);
        assert_int_equal(s.size, again.size);
        assert_memory_equal(s.bytes, again.bytes, s.size);
        same_rows(of, "in another stream", &p, there, n, want);
        same_rows(of, "nowhere", &p, here, n, want);
        int64_t compressions = stats_of(p.plane).compressions;
        settle(&p);
        assert_int_equal(stats_of(p.plane).compressions, compressions);
        same_rows(of, "in another stream and settled", &p, there, n, want);
        live(&other, pool, 0, 10);
        restore(&other, pool, here, n, &s);
        settle(&other);
        same_rows(of, "in another plane", &other, here, n, want);
        free(again.bytes);
        again = save(&other, here, n);
        assert_int_equal(s.size, again.size);
        assert_memory_equal(s.bytes, again.bytes, s.size);
        free(again.bytes);
        free(s.bytes);
        plane_done(&p);
        plane_done(&other);
        tada_pool_free(pool);
    }
}

/* Parts of a stream at places that keep the cut in tiles: what is beside them stays. */
static void parts(void **state)
{
    (void)state;
    static int64_t from[CELLS], to[CELLS], all[TOTAL];
    static uint16_t want[CELLS * WIDTH], before[TOTAL * WIDTH], after[TOTAL * WIDTH];
    make_range(all, 0, TOTAL);
    for (int run = 0; run < 2 * N_SPECS * (in_haste() ? 1 : 6); run++) {
        int of = run % (2 * N_SPECS);
        test_plane p = plane_for(of), other = roomy_plane_for(of);
        tada_pool *pool = tada_pool_create();
        live(&p, pool, 0, 1 + random_below(12));
        live(&other, pool, 0, random_below(6));
        int64_t n = 1 + random_below(4 * TILE), at = TILE * (1 + random_below(4)) + random_below(TILE);
        int64_t place = TILE * (1 + random_below(14)) + at % TILE;
        make_range(from, at, n);
        make_range(to, place, n);
        read_cells(&p, from, n, want);
        saved s = save(&p, from, n);
        settle(&other);
        read_cells(&other, all, TOTAL, before);
        restore(&other, pool, to, n, &s);
        same_rows(of, "beside others", &other, to, n, want);
        read_cells(&other, all, TOTAL, after);
        for (int64_t i = 0; i < TOTAL; i++) {
            /* Tiles that are opened may give up their refinement. */
            if ((i < place || i >= place + n) && strstr(specs[of / 2], "refine=off") &&
                memcmp(before + i * WIDTH, after + i * WIDTH, WIDTH * 2) != 0) {
                fail_msg("%s: cell %lld changes when others are restored", specs[of / 2], (long long)i);
            }
        }
        free(s.bytes);
        plane_done(&p);
        plane_done(&other);
        tada_pool_free(pool);
    }
}

/* Where cells do not keep the cut in tiles, rows of these recipes still come back as they were. */
static void elsewhere(void **state)
{
    (void)state;
    static int64_t from[CELLS], to[CELLS];
    static uint16_t want[CELLS * WIDTH];
    for (int run = 0; run < 2 * EXACT * (in_haste() ? 1 : 4); run++) {
        int of = run % (2 * EXACT);
        test_plane p = plane_for(of), other = roomy_plane_for(of);
        tada_pool *pool = tada_pool_create();
        write_some(&p, pool, 0, CELLS);
        int64_t n = 1 + random_below(4 * TILE), at = random_below(4 * TILE);
        int64_t place = CELLS + TILE + random_below(4 * TILE);
        make_range(from, at, n);
        make_range(to, place, n);
        read_cells(&p, from, n, want);
        saved s = save(&p, from, n);
        restore(&other, pool, to, n, &s);
        same_rows(of, "elsewhere", &other, to, n, want);
        /* Rows that were exact, such as sinks, are rounded when their tile is left. */
        uint16_t *left = malloc(sizeof want);
        settle(&other);
        read_cells(&other, to, n, left);
        int64_t lost = 0;
        for (int64_t i = 0; i < n; i++) {
            bool exact = from[i] < 4 || from[i] >= CELLS - 3 * TILE;
            lost += !exact && memcmp(left + i * WIDTH, want + i * WIDTH, WIDTH * 2) != 0;
        }
        if (lost > 0) {
            fail_msg("%s, kind %d: %lld rows at %lld were at %lld and are not the same", specs[of / 2],
                     of % 2, (long long)lost, (long long)place, (long long)at);
        }
        free(left);
        free(s.bytes);
        plane_done(&p);
        plane_done(&other);
        tada_pool_free(pool);
    }
}

/* Cells that are saved and restored elsewhere again and again are what they were after the first time: where
 * a tile was cut, its parts come together again. */
static void again_and_again(void **state)
{
    (void)state;
    enum { TURNS = 20, LATER = 3 * CELLS };
    static int32_t deltas[4 * CELLS];
    static int64_t from[CELLS], to[CELLS];
    static float x[CELLS * WIDTH];
    static uint16_t want[CELLS * WIDTH];
    for (int run = 0; run < 2 * EXACT * (in_haste() ? 1 : 4); run++) {
        int of = run % (2 * EXACT);
        test_plane p = roomy_plane_for(of);
        tada_pool *pool = tada_pool_create();
        int64_t n = 3 * TILE + random_below(4 * TILE), at = TILE + random_below(TILE);
        fill(x, CELLS, WIDTH, random_below(2));
        write_rows(p.plane, pool, x, TADA_F32, WIDTH, at, n, n);
        for (int64_t i = 0; i < 4 * CELLS; i++) {
            deltas[i] = -70;
        }
        assert_int_equal(tada_plane_shift(p.plane, rope_for(HEAD), deltas, threads_of(2), NULL), TADA_OK);
        for (int turn = 0; turn <= TURNS; turn++) {
            make_range(from, at, n);
            saved s = save(&p, from, n);
            tada_plane_clear(p.plane);
            at = TILE + random_below(TOTAL - CELLS - TILE);
            make_range(to, at, n);
            restore(&p, pool, to, n, &s);
            /* What was exact until now is rounded when these are written. */
            write_rows(p.plane, pool, x, TADA_F32, WIDTH, LATER, 4 * TILE, TILE);
            settle(&p);
            if (turn == 0) {
                read_cells(&p, to, n, want);
            }
            same_rows(of, "elsewhere again", &p, to, n, want);
            free(s.bytes);
        }
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* Any list of cells. */
static void any_order(void **state)
{
    (void)state;
    static int64_t from[CELLS], to[CELLS];
    static uint16_t want[CELLS * WIDTH];
    for (int run = 0; run < 2 * N_SPECS; run++) {
        test_plane p = plane_for(run), other = roomy_plane_for(run);
        tada_pool *pool = tada_pool_create();
        live(&p, pool, 0, 8);
        int64_t n = 1 + random_below(CELLS), step = 1 + 2 * random_below(20);
        for (int64_t i = 0; i < n; i++) {
            from[i] = (i * step * 7 + 3) % CELLS;
            to[i] = (i * step * 3 + 5) % CELLS;
        }
        /* Steps may come round to a cell again, whose last row stays. */
        int64_t distinct = 0;
        static uint8_t seen[CELLS];
        memset(seen, 0, sizeof seen);
        for (; distinct < n && !seen[to[distinct]]; distinct++) {
            seen[to[distinct]] = 1;
        }
        read_cells(&p, from, distinct, want);
        saved s = save(&p, from, distinct);
        restore(&other, pool, to, distinct, &s);
        same_rows(run, "in any order", &other, to, distinct, want);
        settle(&other);
        saved again = save(&other, to, distinct);
        restore(&p, pool, from, distinct, &again);
        free(again.bytes);
        free(s.bytes);
        plane_done(&p);
        plane_done(&other);
        tada_pool_free(pool);
    }
}

/* No room for everything: the rows are there, and the plane goes on. */
static void full_planes(void **state)
{
    (void)state;
    static int64_t cells[CELLS];
    for (int run = 0; run < 2 * N_SPECS; run++) {
        test_plane p = plane_for(run), other = plane_for(run);
        tada_pool *pool = tada_pool_create();
        make_range(cells, 0, CELLS);
        for (int turn = 0; turn < 4; turn++) {
            live(&p, pool, 0, 20);
            write_some(&other, pool, 0, CELLS);
            live(&other, pool, 0, 20);
            int64_t first = random_below(CELLS / 2), n = 1 + random_below(CELLS / 2);
            int64_t place = random_below(CELLS - (int)n);
            saved s = save(&p, cells + first, n);
            restore(&other, pool, cells + place, n, &s);
            settle(&other);
            live(&other, pool, 0, 10);
            free(s.bytes);
        }
        plane_done(&p);
        plane_done(&other);
        tada_pool_free(pool);
    }
}

static void refused(void **state)
{
    (void)state;
    int64_t cells[100];
    tada_error error = {""};
    test_plane p = plane_of("tada", TADA_K, WIDTH, CELLS, STREAMS, HEAD);
    test_plane v = plane_of("tada", TADA_V, WIDTH, CELLS, STREAMS, HEAD);
    test_plane compact = plane_of("tada:compact", TADA_K, WIDTH, CELLS, STREAMS, HEAD);
    test_plane heads = plane_of("tada", TADA_K, WIDTH, CELLS, STREAMS, HEAD / 2);
    tada_pool *pool = tada_pool_create();
    write_some(&p, pool, 0, CELLS);
    make_range(cells, 10, 100);
    saved s = save(&p, cells, 100);
    const test_plane *others[] = {&v, &compact, &heads};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tada_plane_import(others[i]->plane, pool, cells, 100, s.bytes, s.size, &error),
                         TADA_E_UNSUPPORTED);
    }
    assert_int_equal(tada_plane_import(p.plane, pool, cells, 99, s.bytes, s.size, &error), TADA_E_ARGUMENT);
    assert_int_equal(tada_plane_export(p.plane, cells, 100, s.bytes, s.size - 1, &error), TADA_E_ARGUMENT);
    cells[7] = TOTAL;
    assert_int_equal(tada_plane_state_bytes(p.plane, cells, 100), 0);
    assert_int_equal(tada_plane_export(p.plane, cells, 100, s.bytes, s.size, &error), TADA_E_ARGUMENT);
    assert_int_equal(tada_plane_import(p.plane, pool, cells, 100, s.bytes, s.size, &error), TADA_E_ARGUMENT);
    assert_int_equal(tada_plane_state_bytes(p.plane, cells, -1), 0);
    /* None is a state, too. */
    saved none = save(&p, cells, 0);
    restore(&p, pool, cells, 0, &none);
    free(none.bytes);
    free(s.bytes);
    plane_done(&p);
    plane_done(&v);
    plane_done(&compact);
    plane_done(&heads);
    tada_pool_free(pool);
}

/* CRC-32 as in doc/reference/session.md, bit by bit. */
static uint32_t sum_of(const uint8_t *bytes, size_t n)
{
    uint32_t sum = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        sum ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
        }
    }
    return ~sum;
}

/* Of the header, as doc/reference/session.md has it: its end, and what a plane that is not compressed has
 * not. */
static bool must_be_zero(const char *spec, size_t at)
{
    enum { GROUP = 48, KIND = 50, END_OF_RECIPE = 57, END = 64 };
    bool of_recipe = at >= GROUP && at < END_OF_RECIPE && at != KIND;
    return (at >= END_OF_RECIPE && at < END) || (of_recipe && strcmp(spec, "tada:16") == 0);
}

/* Each byte flipped, each length: refused. With a checksum that is right: refused, or restored without harm.
 */
static void hostile(void **state)
{
    (void)state;
    enum { NARROW = 32, N = 70 };
    int64_t cells[N];
    static float x[N * NARROW];
    static uint16_t rows[128 * NARROW];
    static const char *const hostile_specs[] = {"tada:window=0", "tada:paper:window=0", "tada:16",
                                                "tada:4/4:window=0:k.centre=tokens:sinks=0"};
    for (int run = 0; run < 8; run++) {
        const char *spec = hostile_specs[run / 2];
        test_plane p = plane_of(spec, (enum tada_kind)(run % 2), NARROW, 256, 1, 16);
        tada_pool *pool = tada_pool_create();
        int32_t deltas[256];
        fill(x, N, NARROW, 0);
        write_rows(p.plane, pool, x, TADA_F32, NARROW, 0, N, N);
        for (int i = 0; i < 256; i++) {
            deltas[i] = 5;
        }
        assert_int_equal(tada_plane_shift(p.plane, rope_for(16), deltas, NULL, NULL), TADA_OK);
        make_range(cells, 0, N);
        saved s = save(&p, cells, N);
        uint8_t *bytes = malloc(s.size);
        for (size_t cut = 0; cut < s.size; cut++) {
            memcpy(bytes, s.bytes, cut);
            assert_int_equal(tada_plane_import(p.plane, pool, cells, N, bytes, cut, NULL), TADA_E_FILE);
        }
        for (size_t at = 0; at < s.size; at++) {
            memcpy(bytes, s.bytes, s.size);
            bytes[at] ^= (uint8_t)(1 + random_below(255));
            assert_int_equal(tada_plane_import(p.plane, pool, cells, N, bytes, s.size, NULL), TADA_E_FILE);
            uint32_t sum = sum_of(bytes, s.size - 4);
            memcpy(bytes + s.size - 4, &sum, sizeof sum);
            test_plane other = plane_of(spec, (enum tada_kind)(run % 2), NARROW, 256, 1, 16);
            int64_t place = random_below(2) * random_below(128);
            make_range(cells, place, N);
            tada_error error = {""};
            enum tada_status status = tada_plane_import(other.plane, pool, cells, N, bytes, s.size, &error);
            if (must_be_zero(spec, at)) {
                assert_int_equal(status, TADA_E_FILE);
            }
            if (status == TADA_OK) {
                settle(&other);
                assert_int_equal(tada_plane_read(other.plane, 0, 128, rows, NULL, NULL), TADA_OK);
            } else if (strlen(error.text) < 10) {
                fail_msg("byte %zu: refused without a reason", at);
            }
            make_range(cells, 0, N);
            plane_done(&other);
        }
        free(bytes);
        free(s.bytes);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* States of version 1, whose tiles have two layers at most, are read as those of today are. */
static void versions(void **state)
{
    (void)state;
    enum { VERSION = 8, N = 150 };
    int64_t cells[N];
    static uint16_t want[N * WIDTH];
    make_range(cells, 0, N);
    for (int run = 0; run < 2 * N_SPECS; run++) {
        test_plane p = plane_for(run);
        tada_pool *pool = tada_pool_create();
        write_some(&p, pool, 0, N);
        read_cells(&p, cells, N, want);
        saved s = save(&p, cells, N);
        for (uint32_t version = 0; version < 5; version++) {
            test_plane other = plane_for(run);
            memcpy((uint8_t *)s.bytes + VERSION, &version, sizeof version);
            uint32_t sum = sum_of(s.bytes, s.size - 4);
            memcpy((uint8_t *)s.bytes + s.size - 4, &sum, sizeof sum);
            bool known = version == 1 || version == 2;
            assert_int_equal(tada_plane_import(other.plane, pool, cells, N, s.bytes, s.size, NULL),
                             known ? TADA_OK : TADA_E_UNSUPPORTED);
            if (known) {
                same_rows(run, "from another version", &other, cells, N, want);
            }
            plane_done(&other);
        }
        free(s.bytes);
        plane_done(&p);
        tada_pool_free(pool);
    }
}

/* Unwritten cells of one tile come to lie beside the cells of another one, whose tile they open. */
static void beside_unwritten(void **state)
{
    (void)state;
    enum { FIRST = 10, OTHER = 148, N = 32, MORE = 44 };
    for (int run = 0; run < 2 * N_SPECS; run++) {
        test_plane p = plane_for(run), other = plane_for(run);
        tada_pool *pool = tada_pool_create();
        int64_t from[N + MORE], to[N + MORE];
        uint16_t want[(N + MORE) * WIDTH];
        /* The half of what is saved of a tile that is left later. */
        write_some(&p, pool, OTHER, MORE);
        write_some(&p, pool, FIRST, N / 2);
        make_range(from, FIRST, N);
        make_range(from + N, OTHER, MORE);
        make_range(to, OTHER - N - 4, N);
        make_range(to + N, OTHER, MORE);
        read_cells(&p, from, N + MORE, want);
        saved s = save(&p, from, N + MORE);
        restore(&other, pool, to, N + MORE, &s);
        same_rows(run, "beside unwritten cells", &other, to, N + MORE, want);
        settle(&other);
        assert_false(tada_plane_unsettled(other.plane));
        assert_int_equal(stats_of(other.plane).written, stats_of(p.plane).written);
        free(s.bytes);
        plane_done(&p);
        plane_done(&other);
        tada_pool_free(pool);
    }
}

/* Rows that are there already are restored over themselves: no cell may be in two layers of its tile, as
 * attention would see it twice. */
static void over_themselves(void **state)
{
    (void)state;
    enum { N = 150, PLACE = 70 };
    random_init();
    for (int run = 0; run < 2 * N_SPECS; run++) {
        for (int settles = 0; settles < 2; settles++) {
            tada_pool *pool = tada_pool_create();
            test_plane from = plane_for(run), to = roomy_plane_for(run), again = roomy_plane_for(run);
            int64_t cells[N];
            make_range(cells, 0, N);
            write_some(&from, pool, 0, N);
            settle(&from);
            saved s = save(&from, cells, N);
            make_range(cells, PLACE, N);
            restore(&to, pool, cells, N, &s);
            if (settles) {
                settle(&to);
            }
            restore(&to, pool, cells, N, &s);
            saved t = save(&to, cells, N);
            restore(&again, pool, cells, N, &t);
            settle(&to);
            saved u = save(&to, cells, N);
            restore(&again, pool, cells, N, &u);
            free(s.bytes);
            free(t.bytes);
            free(u.bytes);
            plane_done(&from);
            plane_done(&to);
            plane_done(&again);
            tada_pool_free(pool);
        }
    }
}

TEST_MAIN(cmocka_unit_test(whole_streams), cmocka_unit_test(parts), cmocka_unit_test(elsewhere),
          cmocka_unit_test(again_and_again), cmocka_unit_test(over_themselves), cmocka_unit_test(any_order),
          cmocka_unit_test(full_planes), cmocka_unit_test(refused), cmocka_unit_test(hostile),
          cmocka_unit_test(versions), cmocka_unit_test(beside_unwritten))
