/* Quantising and decoding: the same to the last bit on every set. */
#include "guard.h"
#include "numbers.h"
#include "sets.h"
#include "tests.h"
#include "codec/widths.h"

static const int widths[] = {2, 3, 4, 5, 6, 8};
enum { N_WIDTHS = sizeof widths / sizeof widths[0], CELLS = TADA_TILE_CELLS };

/* ---- transpose_floats ---- */

void test_transpose_floats(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (enum guard_side side = 0; side < GUARD_SIDES; side++) {
        for (int rows = 16; rows <= 128; rows += 16) {
            for (int columns = 16; columns <= 272; columns += 16) {
                guard_start(side);
                float *from = guard_take((size_t)(rows * columns), sizeof *from);
                float *to = guard_take((size_t)(rows * columns), sizeof *to);
                numbers_fill(from, 1, 0, rows * columns, random_below(NUMBERS_KINDS));
                case_is("transpose of %d rows of %d", rows, columns);
                k->transpose_floats(from, rows, columns, to);
                guard_check();
                for (int i = 0; i < rows * columns; i++) {
                    float got = to[i % columns * rows + i / columns];
                    if (memcmp(&got, &from[i], sizeof got) != 0) {
                        fail_case("row %d, column %d is %a instead of %a", i / columns, i % columns,
                                  (double)got, (double)from[i]);
                    }
                }
            }
        }
    }
}

/* ---- quantise ---- */

/* Values on the multiples of a scale, as those of a tile that was decoded before. */
static void fill_lattice(float *x, int n, size_t stride, int bits, int fine_bits)
{
    for (int l = 0; l < TADA_LANES; l++) {
        int index = 20 + random_below(60), zero = random_below(200) - 100;
        float scale = ldexpf((float)(4 + index % 4), index / 4 - 18);
        int used = random_below(2) ? fine_bits : 0;
        for (int i = 0; i < n; i++) {
            double fine = ldexp(random_below(1 << used), -used) - (used ? 0.5 : 0);
            double value = (double)scale * (zero + random_below(1 << bits) + fine);
            x[(size_t)i * stride + (size_t)l] = (float)half_value(half_round(fmax(fmin(value, 6e4), -6e4)));
        }
    }
}

static void check_quantise(const tada_kernels *k, enum guard_side side, int kind, int n, int bits,
                           int fine_bits, int search, size_t stride, bool noisy, bool narrow)
{
    guard_start(side);
    float *x = guard_take(rows_size(n, stride, TADA_LANES), sizeof *x);
    uint8_t *codes = guard_take((size_t)n * TADA_LANES, 1), *want = guard_take((size_t)n * TADA_LANES, 1);
    size_t fine_bytes = fine_bits ? (size_t)n * TADA_LANES : 0;
    uint8_t *fine = guard_take(fine_bytes, 1), *want_fine = guard_take(fine_bytes, 1);
    if (kind == NUMBERS_KINDS) {
        fill_lattice(x, n, stride, bits, fine_bits);
    } else {
        numbers_fill(x, n, stride, TADA_LANES, kind);
    }
    tada_block block = {
        .x = x, .stride = stride, .n = n, .bits = bits, .search = (enum tada_search)search, .codes = codes};
    block.fine_bits = fine_bits;
    block.fine = fine_bits ? fine : NULL;
    block.narrow = narrow;
    block.grid_only = !narrow && random_below(4) == 0;
    block.floor = narrow && random_below(2) ? random_below(100) : 0;
    for (int l = 0; l < TADA_LANES; l++) {
        block.noise[l] = noisy && random_below(4) ? 0.001f * fabsf(number(NUMBERS_NORMAL, 0)) : 0;
    }
    memset(block.meta, 0xff, sizeof block.meta);
    tada_block plain = block;
    plain.codes = want;
    plain.fine = fine_bits ? want_fine : NULL;
    case_is("quantise of %d at stride %zu, %d + %d bits, search %d, noise %d, input %d, narrow %d", n, stride,
            bits, fine_bits, search, noisy, kind, narrow);
    k->quantise(&block);
    tada_kernels_scalar.quantise(&plain);
    guard_check();
    if (block.on_grid != plain.on_grid) {
        fail_case("on_grid is %d", block.on_grid);
    }
    for (int l = 0; l < TADA_LANES; l++) {
        if (block.meta[l] != plain.meta[l]) {
            fail_case("word %d is %#x instead of %#x", l, (unsigned)block.meta[l], (unsigned)plain.meta[l]);
        }
    }
    for (int i = 0; i < n * TADA_LANES && !block.grid_only; i++) {
        if (codes[i] != want[i] || codes[i] >> bits) {
            fail_case("code %d of lane %d is %d instead of %d", i / TADA_LANES, i % TADA_LANES, codes[i],
                      want[i]);
        }
        if (fine_bits && (fine[i] != want_fine[i] || fine[i] >> fine_bits)) {
            fail_case("refinement %d of lane %d is %d instead of %d", i / TADA_LANES, i % TADA_LANES, fine[i],
                      want_fine[i]);
        }
    }
}

void test_quantise(void **state)
{
    static const int sizes[] = {0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 128, 256, TADA_GROUP_MAX};
    const tada_kernels *k = TEST_BEGIN(state);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (int kind = 0; kind <= NUMBERS_KINDS; kind++) {
            for (int b = 0; b < N_WIDTHS; b++) {
                for (int search = TADA_SEARCH_MINMAX; search <= TADA_SEARCH_ERROR; search++) {
                    size_t stride = random_below(2) ? TADA_LANES : random_below(2) ? 64 : 19;
                    int fine_bits = random_below(2) ? random_below(9 - widths[b]) : 0;
                    check_quantise(k, (enum guard_side)random_below(GUARD_SIDES), kind, sizes[s], widths[b],
                                   fine_bits < 4 ? fine_bits : 4, search, stride, random_below(2),
                                   random_below(3) == 0);
                }
            }
        }
    }
}

/* Whether values that a word, codes and a refinement stand for, rounded to f16, give just these again. */
static void check_again(const tada_kernels *k, const tada_block *was, bool refined)
{
    enum { MOST = 256 * TADA_LANES };
    static float x[MOST];
    static uint8_t codes[MOST], fine[MOST];
    tada_block block = *was;
    int middle = 1 << (was->fine_bits - 1);
    for (int i = 0; i < was->n * TADA_LANES; i++) {
        int word = was->meta[i % TADA_LANES], index = word >> 9, zero = ((word & 511) ^ 256) - 256;
        double rest = refined ? was->fine[i] - middle : 0;
        double value =
            ldexp(4 + index % 4, index / 4 - 18) * (zero + was->codes[i] + ldexp(rest, -was->fine_bits));
        x[i] = (float)half_value(half_round(value));
    }
    block.x = x;
    block.stride = TADA_LANES;
    block.codes = codes;
    block.fine = fine;
    k->quantise(&block);
    for (int l = 0; l < TADA_LANES; l++) {
        if (block.meta[l] != was->meta[l]) {
            fail_case("word %d is %#x instead of %#x, refined %d", l, (unsigned)block.meta[l],
                      (unsigned)was->meta[l], refined);
        }
    }
    for (int i = 0; i < was->n * TADA_LANES; i++) {
        int want = refined ? was->fine[i] : middle;
        if (codes[i] != was->codes[i] || fine[i] != want) {
            fail_case("code %d is %d instead of %d, its refinement %d instead of %d", i, codes[i],
                      was->codes[i], fine[i], want);
        }
    }
}

/* What was decoded comes back as it was, with the refinement and without it, where f16 can tell the steps of
 * the refinement: values of up to 400 of them. */
void test_quantise_again(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    static float x[256 * TADA_LANES];
    static uint8_t codes[256 * TADA_LANES], fine[256 * TADA_LANES];
    for (int i = 0; i < 60; i++) {
        int bits = widths[i % 5], fine_bits = 8 - bits < 4 ? 8 - bits : 4, n = 32 + random_below(225);
        double size = ldexp(1, random_below(14) - 8), most = (400 >> fine_bits) - (1 << bits);
        for (int l = 0; l < TADA_LANES; l++) {
            double mean = most > 0 ? most * 0.1 * size * number(NUMBERS_NORMAL, 0) / (1 << bits) : 0;
            mean = fmax(-most * size / (1 << bits), fmin(mean, most * size / (1 << bits)));
            for (int j = l; j < n * TADA_LANES; j += TADA_LANES) {
                x[j] = (float)(mean + size * number(NUMBERS_NORMAL, 0));
            }
        }
        tada_block block = {.x = x,
                            .stride = TADA_LANES,
                            .n = n,
                            .bits = bits,
                            .fine_bits = fine_bits,
                            .search = (enum tada_search)(i / 5 % 2),
                            .codes = codes,
                            .fine = fine};
        case_is("quantise of %d, %d + %d bits, size %g", n, bits, fine_bits, size);
        k->quantise(&block);
        check_again(k, &block, true);
        check_again(k, &block, false);
    }
}

/* ---- codes ---- */

/* As doc/reference/format.md has it: place `place` of vector `v`. */
static int code_at(const uint8_t *packed, int bits, int dim, int v, int place)
{
    int low = bits == 8 ? 8 : bits >= 4 ? 4 : 2, high = bits - low;
    int code = packed[v * low / 8 * 64 + place] >> v * low % 8 & ((1 << low) - 1);
    if (high) {
        const uint8_t *plane = packed + dim * low * 8;
        code |= (plane[v * high / 8 * 64 + place] >> v * high % 8 & ((1 << high) - 1)) << low;
    }
    return code;
}

/* Codes of one section or of several, in their order, and maybe their refinement. */
static void check_unpack(const tada_kernels *k, int spans, int most_widths, int fine_bits)
{
    uint8_t *own = guard_take((size_t)(spans + 1) / 2, 1);
    memset(own, 0, (size_t)(spans + 1) / 2);
    int bits = 0, first = random_below(N_WIDTHS);
    for (int i = 0; i < spans; i++) {
        int width = widths[(first + random_below(most_widths)) % N_WIDTHS];
        own[i / 2] = (uint8_t)(own[i / 2] | width << i % 2 * 4);
        bits += width;
    }
    uint8_t *packed = guard_take((size_t)bits * 64, 1), *codes = guard_take((size_t)spans * 8 * CELLS, 1);
    uint8_t *more = guard_take((size_t)(spans * fine_bits * 64), 1);
    for (int i = 0; i < bits * 64; i++) {
        packed[i] = (uint8_t)random_bits();
    }
    /* All of its bits are in use where codes leave them room, none beyond. */
    memset(more, 0, (size_t)(spans * fine_bits * 64));
    int fine_low = fine_bits < 4 ? 2 : 4, fine_high = fine_bits - fine_low;
    for (int i = 0; i < spans * 8 * CELLS; i++) {
        int span = i / (8 * CELLS), v = i / 64, width = tada_width(own, span);
        int used = fine_bits < 8 - width ? fine_bits : 8 - width, fine = random_below(1 << used);
        if (used > 0) {
            uint8_t *low = &more[v * fine_low / 8 * 64 + i % 64];
            *low = (uint8_t)(*low | (fine & ((1 << fine_low) - 1)) << v * fine_low % 8);
        }
        if (used > 2 && fine_high > 0) {
            uint8_t *high = &more[spans * fine_low * 64 + v / 8 * 64 + i % 64];
            *high = (uint8_t)(*high | fine >> 2 << v % 8);
        }
    }
    tada_sections s;
    tada_sections_make(own, spans * 8, packed, &s);
    tada_fine fine = {fine_bits, more, fine_high > 0 ? more + spans * fine_low * 64 : NULL};
    case_is("unpack of %d spans in %d sections, refinement of %d bits", spans, s.n, fine_bits);
    k->unpack(&s, &fine, codes);
    guard_check();
    const uint8_t *section = packed;
    for (int w = N_WIDTHS - 1; w >= 0; w--) {
        int n = 0, at = 0, width = widths[w], used = fine_bits < 8 - width ? fine_bits : 8 - width;
        for (int span = 0; span < spans; span++) {
            n += tada_width(own, span) == width;
        }
        for (int span = 0; span < spans; span++) {
            for (int i = 0; i < 8 * CELLS && tada_width(own, span) == width; i++) {
                int v = span * 8 + i / 64, want = code_at(section, width, n * 8, at * 8 + i / 64, i % 64);
                want = want << used | (fine_bits ? code_at(more, fine_bits, spans * 8, v, i % 64) : 0);
                if (codes[span * 8 * CELLS + i] != want) {
                    fail_case("span %d, code %d is %d instead of %d", span, i, codes[span * 8 * CELLS + i],
                              want);
                }
            }
            at += tada_width(own, span) == width;
        }
        section += n * width * 64;
    }
}

void test_unpack(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (enum guard_side side = 0; side < GUARD_SIDES; side++) {
        for (int spans = 2; spans <= 32; spans += 2) {
            for (int fine_bits = 0; fine_bits <= 4; fine_bits += 1 + (fine_bits == 0)) {
                for (int most_widths = 1; most_widths <= N_WIDTHS; most_widths++) {
                    guard_start(side);
                    /* With several sections, larger heads have no order. */
                    check_unpack(k, most_widths > 1 ? spans : 3 * spans, most_widths, fine_bits);
                }
            }
        }
    }
}

/* Every word, in runs of many lengths; a word needs not lie at an even address. */
void test_factors(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (enum guard_side side = 0; side < GUARD_SIDES; side++) {
        int n = 0;
        for (int start = 0; start < 65536; start += n ? n : 1, n = (n + 1) % 71) {
            guard_start(side);
            uint8_t *meta = guard_take(2 * (size_t)n, 1);
            float *scale = guard_take((size_t)n, sizeof *scale),
                  *offset = guard_take((size_t)n, sizeof *offset);
            for (int i = 0; i < n; i++) {
                uint16_t word = (uint16_t)(start + i);
                memcpy(meta + 2 * i, &word, sizeof word);
            }
            case_is("factors of %d words from %#x on", n, (unsigned)start);
            k->factors(meta, n, scale, offset);
            guard_check();
            for (int i = 0; i < n; i++) {
                int index = ((start + i) & 0xffff) >> 9, zero = (start + i) & 511;
                double size = ldexp(4 + index % 4, index / 4 - 18);
                if ((double)scale[i] != size ||
                    (double)offset[i] != size * (zero > 255 ? zero - 512 : zero)) {
                    fail_case("word %d: scale %g, offset %g", i, (double)scale[i], (double)offset[i]);
                }
            }
        }
    }
}

/* Every word of 8 bits with many bases. */
void test_factors_narrow(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int base = 0; base < 128; base++) {
        int bits = widths[base % N_WIDTHS], n = 256 - random_below(40);
        guard_start((enum guard_side)(base % GUARD_SIDES));
        uint8_t *words = guard_take((size_t)n, 1);
        float *scale = guard_take((size_t)n, sizeof *scale), *offset = guard_take((size_t)n, sizeof *offset);
        for (int i = 0; i < n; i++) {
            words[i] = (uint8_t)(255 - i);
        }
        case_is("factors of %d words of 8 bits, base %d, %d bits", n, base, bits);
        k->factors_narrow(words, base, bits, n, scale, offset);
        guard_check();
        for (int i = 0; i < n; i++) {
            int index = base > words[i] >> 3 ? base - (words[i] >> 3) : 0;
            double size = ldexp(4 + index % 4, index / 4 - 18);
            double step = bits <= 4 ? 0.5 : ldexp(1, bits - 5);
            double zero = step * ((words[i] & 7) - 3) - ldexp(1, bits - 1);
            if ((double)scale[i] != size || (double)offset[i] != size * zero) {
                fail_case("word %d: scale %g, offset %g", words[i], (double)scale[i], (double)offset[i]);
            }
        }
    }
}

/* As doc/reference/format.md has it, whose sums and products are all exact here. */
void test_join_factors(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int again = 0; again < 400; again++) {
        int n = 16 * (1 + random_below(20)), fine_bits = 2 + random_below(3), bits = widths[random_below(6)];
        bool adaptive = random_below(2);
        guard_start((enum guard_side)random_below(GUARD_SIDES));
        uint8_t *own = guard_take((size_t)n / 16, 1);
        float *scale = guard_take((size_t)n, sizeof *scale), *offset = guard_take((size_t)n, sizeof *offset);
        float before[2 * 16 * 20];
        for (int i = 0; i < n / 16; i++) {
            own[i] = (uint8_t)(widths[random_below(6)] | widths[random_below(6)] << 4);
        }
        for (int i = 0; i < n; i++) {
            before[2 * i] = scale[i] = ldexpf((float)(4 + random_below(4)), random_below(32) - 18);
            before[2 * i + 1] = offset[i] = scale[i] * (float)(random_below(512) - 256);
        }
        case_is("join_factors of %d values, refinement of %d bits, adaptive %d", n, fine_bits, adaptive);
        k->join_factors(fine_bits, adaptive ? own : NULL, bits, n, scale, offset);
        guard_check();
        for (int i = 0; i < n; i++) {
            int width = adaptive ? tada_width(own, i / 8) : bits,
                used = fine_bits < 8 - width ? fine_bits : 8 - width;
            float half = used > 0 ? before[2 * i] / 2 : 0;
            if (scale[i] != ldexpf(before[2 * i], -used) || offset[i] != before[2 * i + 1] - half) {
                fail_case("value %d: scale %g, offset %g", i, (double)scale[i], (double)offset[i]);
            }
        }
    }
}

/* ---- values ---- */

static void check_decode(const tada_kernels *k, enum guard_side side, enum tada_kind kind, int dim,
                         enum tada_axis axis, int group, int input)
{
    size_t n = axis == TADA_AXIS_CHANNEL ? (size_t)(CELLS / group * dim) : (size_t)(dim / group * CELLS);
    guard_start(side);
    uint8_t *codes = guard_take((size_t)dim * CELLS, 1);
    float *scale = guard_take(n, sizeof *scale), *offset = guard_take(n, sizeof *offset);
    float *out = guard_take((size_t)dim * CELLS, sizeof *out);
    for (int i = 0; i < dim * CELLS; i++) {
        codes[i] = (uint8_t)random_bits();
    }
    numbers_fill(scale, 1, 0, (int)n, input);
    numbers_fill(offset, 1, 0, (int)n, input);
    tada_factors f = {scale, offset, axis, group};
    case_is("decode_%c of head size %d, axis %d, group %d, input %d", kind == TADA_K ? 'k' : 'v', dim, axis,
            group, input);
    (kind == TADA_K ? k->decode_k : k->decode_v)(codes, dim, &f, out);
    guard_check();
    for (int t = 0; t < CELLS; t++) {
        for (int d = 0; d < dim; d++) {
            int at = kind == TADA_K ? (d / 4 * 4 + t / 16) * 64 + t % 16 * 4 + d % 4
                                    : (t / 4 * (dim / 16) + d / 16) * 64 + d % 16 * 4 + t % 4;
            int of = axis == TADA_AXIS_CHANNEL ? t / group * dim + d : d / group * CELLS + t;
            /* Rounded twice. */
            volatile float product = scale[of] * (float)codes[at];
            float want = product + offset[of], got = kind == TADA_K ? out[d * CELLS + t] : out[t * dim + d];
            if (!same_float(got, want)) {
                fail_case("cell %d, channel %d is %a instead of %a", t, d, (double)got, (double)want);
            }
        }
    }
}

void test_decode(void **state)
{
    const tada_kernels *k = TEST_BEGIN(state);
    for (int kind = TADA_K; kind <= TADA_V; kind++) {
        for (int dim = 16; dim <= TADA_CODES_DIM; dim = next_dim(dim)) {
            for (int group = 16; group <= dim || group <= CELLS; group += 16) {
                int input = random_below(NUMBERS_KINDS);
                for (enum guard_side side = 0; side < GUARD_SIDES; side++) {
                    if (CELLS % group == 0) {
                        check_decode(k, side, (enum tada_kind)kind, dim, TADA_AXIS_CHANNEL, group, input);
                    }
                    if (dim % group == 0) {
                        check_decode(k, side, (enum tada_kind)kind, dim, TADA_AXIS_TOKEN, group, input);
                    }
                    input = (input + 1) % NUMBERS_KINDS;
                }
            }
        }
    }
}
