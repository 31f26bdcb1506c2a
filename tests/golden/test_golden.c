/*
 * Golden tiles: what the format makes of known rows, byte for byte, with every kernel set that this CPU
 * has.   test_golden DIR, of the files; `test_golden --write DIR` makes them anew; README.md says when that
 * is right.
 */
#include "golden.h"
#include "rows.h"

#include <stdio.h>

enum { FORMAT_VERSION = 5 };

static const char *folder; /* with the files */

typedef struct golden_case {
    const char *name;
    enum tada_kind kind;
    int n_heads, head_dim;
    uint64_t mask;
    const char *recipe;
} golden_case;

#define ALL UINT64_MAX
/* Of the groups of 16 cells, one is whole, one has 4 cells, one has none. */
#define SOME 0x5f3a00000c21ffffu
#define ONE ((uint64_t)1 << 37)

static const golden_case cases[] = {
    {"k4-channel64", TADA_K, 2, 16, ALL, "tada:4:axis=channel:rotate=none:group=64"},
    {"k2-channel64", TADA_K, 2, 16, ALL, "tada:2:axis=channel:rotate=none:group=64"},
    {"k3-channel16-minmax-some", TADA_K, 2, 16, SOME,
     "tada:3:axis=channel:rotate=none:group=16:search=minmax"},
    {"k5-channel64-rotated", TADA_K, 2, 16, ALL, "tada:5:axis=channel:rotate=hadamard:group=64"},
    {"k6-channel32-minmax", TADA_K, 1, 16, ALL, "tada:6:axis=channel:rotate=none:group=32:search=minmax"},
    {"k8-channel16", TADA_K, 1, 16, ALL, "tada:8:axis=channel:rotate=none:group=16"},
    {"k4-channel64-one", TADA_K, 1, 16, ONE, "tada:4:axis=channel:rotate=hadamard:group=64"},
    {"k4-token16-rotated", TADA_K, 2, 32, ALL, "tada:4:axis=token:rotate=hadamard:group=16"},
    {"k3-token32-two-heads", TADA_K, 4, 16, ALL, "tada:3:axis=token:rotate=none:group=32"},
    {"v4-token32-rotated", TADA_V, 1, 32, ALL, "tada:4:axis=token:rotate=hadamard:group=32"},
    {"v2-token16-some", TADA_V, 2, 16, SOME, "tada:2:axis=token:rotate=none:group=16"},
    {"v3-token16-rotated-minmax", TADA_V, 2, 16, ALL,
     "tada:3:axis=token:rotate=hadamard:search=minmax:group=16"},
    {"v5-token48-three-heads", TADA_V, 3, 16, ALL, "tada:5:axis=token:rotate=hadamard:group=48"},
    /* 48 is not a power of two, and three groups of 32 would straddle the heads. */
    {"v6-token32-heads8-dim48", TADA_V, 2, 48, ALL,
     "tada:6:axis=token:rotate=hadamard:centre=heads8:group=32"},
    {"v8-token16-minmax", TADA_V, 2, 16, ALL, "tada:8:axis=token:rotate=none:search=minmax:group=16"},
    {"v4-channel32-rotated", TADA_V, 2, 16, ALL, "tada:4:axis=channel:rotate=hadamard:group=32"},
    {"k4-channel64-tokens-some", TADA_K, 2, 16, SOME,
     "tada:4:axis=channel:rotate=none:centre=tokens:group=64"},
    {"v4-token16-tokens", TADA_V, 2, 16, ALL, "tada:4:axis=token:rotate=none:centre=tokens:group=16"},
    {"k4-channel64-heads16", TADA_K, 2, 16, SOME, "tada:4:axis=channel:rotate=none:centre=heads16:group=64"},
    {"v3-token16-heads8", TADA_V, 2, 16, ALL, "tada:3:axis=token:rotate=hadamard:centre=heads8:group=16"},
    {"v4-token16-heads8-one-head", TADA_V, 1, 32, ALL,
     "tada:4:axis=token:rotate=none:centre=heads8:group=16"},
    {"k4-paper", TADA_K, 3, 16, ALL, "tada:paper"},
    {"v5-channel64-scale32", TADA_V, 2, 16, SOME, "tada:5:axis=channel:rotate=none:scale=32:group=64"},
    {"k2-channel32-tokens-scale32", TADA_K, 2, 16, ALL,
     "tada:2:axis=channel:rotate=none:centre=tokens:scale=32:group=32"},
    {"v8-token16-tokens-scale32", TADA_V, 1, 16, SOME,
     "tada:8:axis=token:rotate=hadamard:centre=tokens:scale=32:search=minmax:group=16"},
    {"k4-adaptive64", TADA_K, 1, 64, ALL, "tada:4/3:k.widths=adaptive"},
    {"k3.5-adaptive64-two-heads", TADA_K, 2, 64, ALL, "tada:3.5/3:k.widths=adaptive"},
    {"k2.25-adaptive64-some", TADA_K, 1, 64, SOME, "tada:2.25/3:k.widths=adaptive"},
    {"k5.5-adaptive64-rotated", TADA_K, 1, 64, ALL, "tada:5.5/3:k.widths=adaptive:k.rotate=hadamard"},
    /* Six spans: 28 bits, not 28.5, and widths that an odd number of spans have. */
    {"k4.75-adaptive48-some", TADA_K, 2, 48, SOME, "tada:4.75/3:k.widths=adaptive"},
    {"k3.75-adaptive48-rotated", TADA_K, 1, 48, ALL, "tada:3.75/3:k.widths=adaptive:k.rotate=hadamard"},
    {"k3-adaptive64-minmax", TADA_K, 1, 64, ALL, "tada:3/3:k.widths=adaptive:search=minmax"},
    {"k3.25-adaptive80-tokens-some", TADA_K, 1, 80, SOME, "tada:3.25/3:k.widths=adaptive:k.centre=tokens"},
    {"k4.5-adaptive32-heads8", TADA_K, 3, 32, ALL, "tada:4.5/3:k.widths=adaptive:k.centre=heads8"},
    /* Nothing varies: the first spans get all bits that there are. */
    {"k2.75-adaptive48-one", TADA_K, 1, 48, ONE, "tada:2.75/3:k.widths=adaptive"},
    {"v3-narrow64-rotated", TADA_V, 1, 64, ALL, "tada:3:axis=token:rotate=hadamard:scale=8:group=64"},
    {"v2-narrow16-some", TADA_V, 2, 16, SOME, "tada:2:axis=token:rotate=none:scale=8:group=16"},
    {"v4-narrow32-minmax", TADA_V, 2, 32, ALL,
     "tada:4:axis=token:rotate=hadamard:scale=8:search=minmax:group=32"},
    {"v5-narrow48-three-heads", TADA_V, 3, 16, ALL, "tada:5:axis=token:rotate=none:scale=8:group=48"},
    {"v6-narrow16-tokens", TADA_V, 2, 16, ALL,
     "tada:6:axis=token:rotate=none:scale=8:centre=tokens:group=16"},
    {"k8-narrow16-one", TADA_K, 1, 16, ONE, "tada:8:axis=token:rotate=none:scale=8:group=16"},
    {"k3-narrow32-heads8", TADA_K, 2, 32, ALL,
     "tada:3:axis=token:rotate=hadamard:scale=8:centre=heads8:group=32"},
    {"k4-adaptive32-nonfinite", TADA_K, 2, 32, SOME, "tada:4/3:k.widths=adaptive"},
    {"v3-token32-rotated-nonfinite", TADA_V, 1, 32, ALL, "tada:3:axis=token:rotate=hadamard:group=32"},
    {"k3-channel32-heads16-scale32-nonfinite", TADA_K, 2, 16, ALL,
     "tada:3:axis=channel:rotate=none:centre=heads16:scale=32:group=32"},
};

enum { N_CASES = sizeof cases / sizeof cases[0] };

/* ---- files ---- */

static tada_codec codec_of(const golden_case *g)
{
    tada_spec spec;
    tada_error error = {""};
    if (tada_spec_parse(g->recipe, &spec, &error) != TADA_OK) {
        fail_msg("%s: %s", g->name, error.text);
    }
    tada_codec c = {.kind = g->kind, .recipe = g->kind == TADA_K ? spec.k : spec.v};
    if (!strstr(g->recipe, "widths=adaptive")) {
        c.recipe.quarters = 0; /* but the default of K */
    }
    if (!strstr(g->recipe, "scale=") && c.recipe.scale == TADA_SCALE_8) {
        c.recipe.scale = TADA_SCALE_16; /* but the default of V */
    }
    c.layout = tada_layout_make(&c.recipe, g->n_heads * g->head_dim, g->head_dim);
    return c;
}

static golden_header header_of(const golden_case *g, const tada_codec *c)
{
    const tada_recipe *r = &c->recipe;
    golden_header header = {
        .version = FORMAT_VERSION,
        .kind = g->kind == TADA_V,
        .bits = (uint32_t)(r->quarters ? 256 + r->quarters : r->bits),
        .group = (uint32_t)r->group,
        .centring = r->centring == TADA_CENTRE_TOKENS    ? 1
                    : r->centring == TADA_CENTRE_HEADS16 ? 2
                    : r->centring == TADA_CENTRE_HEADS8  ? 3
                                                         : 0,
        .rotation = r->rotation == TADA_ROTATE_HADAMARD,
        .axis = r->axis == TADA_AXIS_TOKEN,
        .scale = r->scale == TADA_SCALE_8    ? 8
                 : r->scale == TADA_SCALE_16 ? 16
                                             : 32,
        .search = r->search == TADA_SEARCH_ERROR,
        .width = (uint32_t)c->layout.width,
        .head_dim = (uint32_t)c->layout.head_dim,
        .tile_bytes = (uint32_t)tada_cold_bytes(r, c->layout.width, 0),
        .fine_bits = (uint32_t)c->layout.fine_bits,
        .fine_bytes = (uint32_t)((size_t)c->layout.n_units * c->layout.fine_bytes),
        .mask = g->mask,
    };
    memcpy(header.magic, "TADAGOLD", sizeof header.magic);
    return header;
}

/* All that follows from the rows; returns the mask of the tile. */
static uint64_t golden_fill(golden *f, uint64_t mask)
{
    mask = encode(f, f->rows, mask, f->tile, f->fine_bytes ? f->fine : NULL);
    if (f->fine_bytes) {
        decode(f, f->tile, f->fine, mask, f->refined);
    }
    decode(f, f->tile, NULL, mask, f->decoded);
    return mask;
}

/* The file that a case gives with the selected kernel set. */
static golden golden_make(const golden_case *g)
{
    tada_codec c = codec_of(g);
    golden f = golden_alloc(&c);
    golden_header header = header_of(g, &c);
    /* The first numbers, of a few, with which the tiles depend on the search's finest scale and its limits.
     */
    make_rows(&c, 5001 + (uint64_t)(g - cases), f.rows);
    if (strstr(g->name, "nonfinite")) {
        spoil_rows(&c, f.rows);
    }
    header.tile_mask = golden_fill(&f, g->mask);
    memcpy(f.memory, &header, sizeof header);
    return f;
}

static FILE *open_file(const char *dir, const char *name, const char *mode)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, mode);
    if (!file) {
        perror(path);
    }
    return file;
}

static FILE *open_golden(const char *dir, const golden_case *g, const char *mode)
{
    char name[128];
    snprintf(name, sizeof name, "%s.tile", g->name);
    return open_file(dir, name, mode);
}

/* ---- every recipe ---- */

static uint32_t crc32(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *bytes = data;
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    return ~crc;
}

/* What a case adds to a checksum: its tile and refinement, and the rows decoded with it and without. */
static uint32_t add_case(uint32_t crc, const golden_case *g, uint64_t seed)
{
    tada_codec c = codec_of(g);
    golden f = golden_alloc(&c);
    make_rows(&c, seed, f.rows);
    golden_fill(&f, g->mask);
    crc = crc32(crc, f.tile, f.bytes - (size_t)(f.tile - f.memory));
    free(f.memory);
    return crc;
}

static const char *const centrings[] = {"none", "tokens", "heads16", "heads8"};

/* A line that begins with `line`: a checksum for each rotation, of the case with either search. */
static bool rotation_line(bool (*visit)(const char *line, void *context), void *context, char *line,
                          golden_case g, int seed)
{
    const char *recipe = g.recipe;
    uint32_t crc = 0;
    for (int j = 0; j < 4; j++) {
        char text[160];
        snprintf(text, sizeof text, "%s:rotate=%s:search=%s", recipe, j & 2 ? "hadamard" : "none",
                 j & 1 ? "error" : "minmax");
        g.name = g.recipe = text;
        crc = add_case(j & 1 ? crc : 0, &g, (uint64_t)(seed + j));
        if (j & 1) {
            sprintf(line + strlen(line), " %08x", crc);
        }
    }
    return visit(line, context);
}

/* Lines for adaptive widths: all average widths and centrings, with heads of several sizes. */
static bool each_adaptive_line(bool (*visit)(const char *line, void *context), void *context)
{
    static const int dims[] = {64, 48, 128, 16, 80, 32};
    for (int i = 0; i < 24 * 4; i++) {
        int quarters = 8 + i / 4;
        char line[256], recipe[120];
        snprintf(line, sizeof line, "K %d.%02d adaptive %-7s", quarters / 4, quarters % 4 * 25,
                 centrings[i % 4]);
        snprintf(recipe, sizeof recipe, "tada:%d.%02d/3:k.widths=adaptive:centre=%s", quarters / 4,
                 quarters % 4 * 25, centrings[i % 4]);
        golden_case g = {recipe, TADA_K, 2, dims[(i + i / 4) % 6], i % 5 == 4 ? SOME : ALL, recipe};
        if (!rotation_line(visit, context, line, g, 4000 + i * 4)) {
            return false;
        }
    }
    return true;
}

/* Lines for words of 8 bits. */
static bool each_narrow_line(bool (*visit)(const char *line, void *context), void *context)
{
    static const int widths[] = {2, 3, 4, 5, 6, 8};
    for (int i = 0; i < 2 * 6 * 3 * 4; i++) {
        int group = 16 << i / 4 % 3, bits = widths[i / 12 % 6];
        char line[256], recipe[120];
        snprintf(line, sizeof line, "%s %d narrow  %2d %-7s", i < 72 ? "K" : "V", bits, group,
                 centrings[i % 4]);
        snprintf(recipe, sizeof recipe, "tada:%d:axis=token:group=%d:centre=%s:scale=8", bits, group,
                 centrings[i % 4]);
        golden_case g = {recipe, i < 72 ? TADA_K : TADA_V, 4, 16, i % 5 == 4 ? SOME : ALL, recipe};
        if (!rotation_line(visit, context, line, g, 7000 + i * 4)) {
            return false;
        }
    }
    return true;
}

/*
 * All recipes with groups of up to 64, too many for a file each: a line of recipes.txt for each kind, width
 * of the codes, axis, group and centring; in it a checksum for each rotation and kind of scale, over tile,
 * refinement and decoded rows with either search. Then adaptive widths, and words of 8 bits. `visit` gets one
 * line at a time.
 */
static bool each_line(bool (*visit)(const char *line, void *context), void *context)
{
    static const int widths[] = {2, 3, 4, 5, 6, 8};
    for (int i = 0; i < 2 * 6 * 2 * 3 * 4; i++) {
        int centring = i % 4, group = 16 << i / 4 % 3, token = i / 12 % 2, bits = widths[i / 24 % 6];
        bool k = i < 2 * 6 * 2 * 3 * 4 / 2;
        char line[256];
        int n = snprintf(line, sizeof line, "%s %d %s %2d %-7s", k ? "K" : "V", bits,
                         token ? "token  " : "channel", group, centrings[centring]);
        uint32_t crc = 0;
        for (int j = 0; j < 8; j++) {
            char recipe[160];
            snprintf(recipe, sizeof recipe, "tada:%d:axis=%s:group=%d:centre=%s:rotate=%s:scale=%d:search=%s",
                     bits, token ? "token" : "channel", group, centrings[centring],
                     j & 4 ? "hadamard" : "none", j & 2 ? 32 : 16, j & 1 ? "error" : "minmax");
            golden_case g = {recipe, k ? TADA_K : TADA_V, 4, 16, i % 5 == 4 ? SOME : ALL, recipe};
            crc = add_case(j & 1 ? crc : 0, &g, (uint64_t)(1000 + i * 8 + j));
            if (j & 1) {
                n += snprintf(line + n, sizeof line - (size_t)n, " %08x", crc);
            }
        }
        if (!visit(line, context)) {
            return false;
        }
    }
    return each_adaptive_line(visit, context) && each_narrow_line(visit, context);
}

/* ---- writing ---- */

static bool write_line(const char *line, void *context)
{
    return fprintf(context, "%s\n", line) > 0;
}

static int write_all(const char *dir)
{
    size_t total = 0;
    for (int i = 0; i < N_CASES; i++) {
        golden f = golden_make(&cases[i]);
        FILE *file = open_golden(dir, &cases[i], "wb");
        if (!file) {
            return 1;
        }
        bool done = fwrite(f.memory, 1, f.bytes, file) == f.bytes;
        if (fclose(file) != 0 || !done) {
            fprintf(stderr, "%s: not written whole\n", cases[i].name);
            return 1;
        }
        total += f.bytes;
        free(f.memory);
    }
    FILE *file = open_file(dir, "recipes.txt", "w");
    if (!file) {
        return 1;
    }
    bool done = each_line(write_line, file);
    if (fclose(file) != 0 || !done) {
        fprintf(stderr, "recipes.txt: not written whole\n");
        return 1;
    }
    printf("%d golden tiles, %zu bytes, and recipes.txt\n", N_CASES, total);
    return 0;
}

/* ---- checking ---- */

static const char *const sets[] = {
#define KERNELS(name, symbol, check) #name,
#include "kernels/kernels.def"
#undef KERNELS
};

enum { N_SETS = sizeof sets / sizeof sets[0] };

/* Selects a set; false, with a line that says so, when this CPU lacks it. */
static bool select_set(const char *name)
{
    enum tada_status status = tada_kernels_select(name);
    if (status == TADA_E_UNSUPPORTED) {
        printf("%s: left out, this CPU lacks it\n", name);
        return false;
    }
    assert_int_equal(status, TADA_OK);
    return true;
}

static void same(const char *set, const char *name, const char *what, const void *got,
                 const void *golden_bytes, size_t n)
{
    const uint8_t *a = got, *b = golden_bytes;
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i]) {
            fail_msg("%s, %s: byte %zu of the %s is %02x, not %02x as in the golden file", set, name, i, what,
                     a[i], b[i]);
        }
    }
}

static golden golden_read(const golden_case *g)
{
    tada_codec c = codec_of(g);
    golden f = golden_alloc(&c);
    FILE *file = open_golden(folder, g, "rb");
    assert_non_null(file);
    size_t n = fread(f.memory, 1, f.bytes, file);
    bool at_end = fgetc(file) == EOF;
    fclose(file);
    if (n != f.bytes || !at_end) {
        fail_msg("%s: not of the %zu bytes that it should have", g->name, f.bytes);
    }
    return f;
}

static void golden_tiles(void **unused)
{
    (void)unused;
    for (int s = 0; s < N_SETS; s++) {
        if (!select_set(sets[s])) {
            continue;
        }
        for (int i = 0; i < N_CASES; i++) {
            const golden_case *g = &cases[i];
            golden want = golden_read(g), got = golden_make(g);
            const tada_recipe *r = &want.codec.recipe;
            uint64_t mask = ((const golden_header *)(const void *)want.memory)->tile_mask;
            bool settles = r->scale != TADA_SCALE_32 && r->centring == TADA_CENTRE_NONE;
            uint8_t *fine = want.fine_bytes ? got.fine : NULL;
            same(sets[s], g->name, "header", got.memory, want.memory, sizeof(golden_header));
            same(sets[s], g->name, "rows", got.rows, want.rows, want.row_bytes);
            same(sets[s], g->name, "tile", got.tile, want.tile, want.tile_bytes);
            same(sets[s], g->name, "refinement", got.fine, want.fine, want.fine_bytes);
            /* From the golden tile, so that decoding is judged apart from encoding. */
            decode(&want, want.tile, NULL, mask, got.decoded);
            same(sets[s], g->name, "decoded rows", got.decoded, want.decoded, want.row_bytes);
            if (settles) {
                encode(&want, want.decoded, mask, got.tile, NULL);
                same(sets[s], g->name, "tile encoded again", got.tile, want.tile, want.tile_bytes);
            }
            if (fine) {
                decode(&want, want.tile, want.fine, mask, got.refined);
                same(sets[s], g->name, "refined rows", got.refined, want.refined, want.refined_bytes);
                encode(&want, want.refined, mask, got.tile, fine);
                same(sets[s], g->name, "tile encoded from refined rows", got.tile, want.tile,
                     want.tile_bytes);
                same(sets[s], g->name, "refinement encoded again", got.fine, want.fine, want.fine_bytes);
                encode(&want, want.rows, g->mask, got.tile, NULL);
                same(sets[s], g->name, "tile without refinement", got.tile, want.tile, want.tile_bytes);
            }
            free(want.memory);
            free(got.memory);
        }
    }
}

typedef struct line_check {
    FILE *file;
    const char *set;
} line_check;

static bool check_line(const char *line, void *context)
{
    line_check *check = context;
    char want[256];
    if (!fgets(want, sizeof want, check->file)) {
        fail_msg("recipes.txt ends early");
    }
    want[strcspn(want, "\n")] = '\0';
    if (strcmp(line, want) != 0) {
        fail_msg("%s: recipes.txt has\n%s\nbut got\n%s", check->set, want, line);
    }
    return true;
}

static void every_recipe(void **unused)
{
    (void)unused;
    for (int s = 0; s < N_SETS; s++) {
        if (select_set(sets[s])) {
            line_check check = {open_file(folder, "recipes.txt", "r"), sets[s]};
            assert_non_null(check.file);
            each_line(check_line, &check);
            assert_int_equal(fgetc(check.file), EOF);
            fclose(check.file);
        }
    }
}

/* The records must have room, also where memory is asked for before the head size is known. */
static void check_fits(const tada_recipe *r)
{
    for (int width = 16; width <= 1024 && !tada_recipe_problem(r); width += 16) {
        for (int dim = 16; dim <= width; dim += 16) {
            if (width % dim == 0) {
                tada_layout l = tada_layout_make(r, width, dim);
                size_t bytes = (size_t)l.n_units * l.record_bytes + l.head_means_bytes;
                assert_in_range(bytes, 1, tada_cold_bytes(r, width, 0));
                assert_in_range(bytes, 1, tada_cold_bytes(r, width, dim));
                assert_in_range(l.fine_bytes, 0, l.record_bytes);
            }
        }
    }
}

static void records_fit(void **unused)
{
    static const int bits[] = {2, 3, 4, 5, 6, 8}, groups[] = {16, 32, 48, 64, 128, 256};
    (void)unused;
    for (int i = 0; i < 6 * 6 * 2 * 4 * 3; i++) {
        tada_recipe r = {.bits = bits[i % 6],
                         .group = groups[i / 6 % 6],
                         .axis = (enum tada_axis)(i / 36 % 2),
                         .centring = (enum tada_centring)(i / 72 % 4),
                         .scale = (enum tada_scale)(i / 288)};
        check_fits(&r);
    }
    for (int i = 0; i < 24 * 4; i++) {
        tada_recipe r = {.bits = 2 + i / 16,
                         .group = CELLS,
                         .centring = (enum tada_centring)(i % 4),
                         .quarters = 8 + i / 4};
        assert_null(tada_recipe_problem(&r));
        check_fits(&r);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        return write_all(argv[2]);
    }
    if (argc != 2) {
        fprintf(stderr, "usage: %s [--write] DIR\n", argv[0]);
        return 2;
    }
    folder = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden_tiles), cmocka_unit_test(every_recipe),
                                       cmocka_unit_test(records_fit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
