/* Attention on codes: integers all the way to the sum. Included by set.h. */

/*
 * A set has one of two ways to multiply codes. With a dot product of bytes (VNNI) a folded value is two
 * signed bytes, high and low, and their sums are kept apart until the end; without, codes become integers of
 * 16 bits, even and odd ones, and are multiplied by such. Either way four values take 8 bytes: the high bytes
 * and the low ones, or values 0 and 2, 1 and 3.
 */
#if defined(__AVX512F__)
typedef __m512i veci;
enum { CODES = 64 };
#define INT_LOAD(p) _mm512_loadu_si512(p)
#define INT_AND _mm512_and_si512
#define INT_OR _mm512_or_si512
#define INT_RIGHT(x, n) _mm512_srli_epi16(x, n)
#define INT_RIGHT_BY(x, n) _mm512_srl_epi16(x, n)
#define INT_LEFT(x, n) _mm512_sll_epi16(x, n)
#define INT_LEFT_IMM(x, n) _mm512_slli_epi16(x, n)
#define INT_MADD _mm512_madd_epi16
#define INT_ADD _mm512_add_epi32
#define INT_SET _mm512_set1_epi32
#define INT_BYTES _mm512_set1_epi8
#define INT_ZERO _mm512_setzero_si512
#define INT_FLOAT _mm512_cvtepi32_ps
#define INT_SHIFT8(x) _mm512_slli_epi32(x, 8)
#define INT_DOT _mm512_dpbusd_epi32
#elif defined(__AVX2__)
typedef __m256i veci;
enum { CODES = 32 };
#define INT_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define INT_AND _mm256_and_si256
#define INT_OR _mm256_or_si256
#define INT_RIGHT(x, n) _mm256_srli_epi16(x, n)
#define INT_RIGHT_BY(x, n) _mm256_srl_epi16(x, n)
#define INT_LEFT(x, n) _mm256_sll_epi16(x, n)
#define INT_LEFT_IMM(x, n) _mm256_slli_epi16(x, n)
#define INT_MADD _mm256_madd_epi16
#define INT_ADD _mm256_add_epi32
#define INT_SET _mm256_set1_epi32
#define INT_BYTES _mm256_set1_epi8
#define INT_ZERO _mm256_setzero_si256
#define INT_FLOAT _mm256_cvtepi32_ps
#define INT_SHIFT8(x) _mm256_slli_epi32(x, 8)
#define INT_DOT _mm256_dpbusd_avx_epi32
#endif

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define BYTE_DOT 1
#else
#define BYTE_DOT 0
#endif

#include "fold.h"

/* ---- sums ---- */

#if defined(__AVX2__)

/* 4 bytes in every lane, straight from memory: gcc would go through a general register. */
ALWAYS_INLINE veci spread(const void *four)
{
#if defined(TADA_EMULATED)
    int32_t same;
    memcpy(&same, four, sizeof same);
    return INT_SET(same);
#else
    veci x;
    __asm__("vpbroadcastd %1, %0" : "=v"(x) : "m"(*(const int32_t(*)[1])four));
    return x;
#endif
}

/* Codes of 16 columns take `PARTS` registers; a block takes all parts of its vectors, or the same one. */
enum { PARTS = 64 / CODES };

typedef struct part_range {
    int first, n;
} part_range;

#if BYTE_DOT
typedef struct sums {
    veci high, low;
} sums;
typedef struct codes {
    veci all;
} codes;

ALWAYS_INLINE codes split(veci bytes)
{
    return (codes){bytes};
}

ALWAYS_INLINE void accumulate(sums *sum, codes code, const veci x[2])
{
    sum->high = INT_DOT(sum->high, code.all, x[0]);
    sum->low = INT_DOT(sum->low, code.all, x[1]);
}

ALWAYS_INLINE veci total(const sums *sum)
{
    return INT_ADD(INT_SHIFT8(sum->high), sum->low);
}
#define SUMS_ZERO                                                                                            \
    {                                                                                                        \
        INT_ZERO(), INT_ZERO()                                                                               \
    }
#else
typedef struct sums {
    veci all;
} sums;
typedef struct codes {
    veci even, odd;
} codes;

ALWAYS_INLINE codes split(veci bytes)
{
    return (codes){INT_AND(bytes, INT_SET(0x00ff00ff)), INT_RIGHT(bytes, 8)};
}

ALWAYS_INLINE void accumulate(sums *sum, codes code, const veci x[2])
{
    sum->all = INT_ADD(sum->all, INT_ADD(INT_MADD(code.even, x[0]), INT_MADD(code.odd, x[1])));
}

ALWAYS_INLINE veci total(const sums *sum)
{
    return sum->all;
}
#define SUMS_ZERO                                                                                            \
    {                                                                                                        \
        INT_ZERO()                                                                                           \
    }
#endif

/* Bits [shift, shift + width) of the bytes of vector v of a plane. */
ALWAYS_INLINE veci plane_bytes(const uint8_t *plane, unsigned v, unsigned width, int part)
{
    unsigned bit = v * width;
    veci line = INT_LOAD(plane + (size_t)(bit / 8) * 64 + (size_t)part * CODES);
    return INT_AND(INT_RIGHT_BY(line, _mm_cvtsi32_si128((int)(bit % 8))),
                   INT_BYTES((char)((1u << width) - 1)));
}

/*
 * The same of `vectors` vectors, 1, 2 or 4, from v on, which is a multiple of their number: lines are read
 * and moved once for all that they hold. They come moved up by `place` bits. All but plane, v and part are
 * constants at every call.
 */
ALWAYS_INLINE void plane_vectors(const uint8_t *plane, unsigned v, unsigned width, unsigned place,
                                 int vectors, int part, veci *bytes)
{
    unsigned in_line = 8 / width;
    veci mask = INT_BYTES((char)(((1u << width) - 1) << place)), line = INT_ZERO();
    UNROLL
    for (unsigned j = 0; j < (unsigned)vectors; j++) {
        unsigned bit = j % in_line * width;
        if (bit == 0) {
            unsigned at = (v + j) * width;
            line = INT_LOAD(plane + (size_t)(at / 8) * 64 + (size_t)part * CODES);
            if (in_line > (unsigned)vectors) {
                line = INT_RIGHT_BY(line, _mm_cvtsi32_si128((int)(at % 8)));
            }
        }
        veci moved = bit > place   ? INT_RIGHT(line, bit - place)
                     : bit < place ? INT_LEFT_IMM(line, place - bit)
                                   : line;
        bytes[j] = INT_AND(moved, mask);
    }
}

/* The codes [vectors][parts.n] of vectors from v on; line: of the first, unless packed in planes. All but
 * these, a and the widths are constants at every call. */
ALWAYS_INLINE void load_codes(const tada_dot *a, const uint8_t *line, unsigned v, unsigned low_bits,
                              int vectors, part_range parts, enum packing packing, codes *code)
{
    if (packing == NIBBLES) {
        UNROLL
        for (int j = 0; j < vectors; j += 2) {
            UNROLL
            for (int p = 0; p < parts.n; p++) {
                veci both = INT_LOAD(line + j * 32 + (parts.first + p) * CODES);
                code[j * parts.n + p] = split(INT_AND(both, INT_BYTES(15)));
                code[(j + 1) * parts.n + p] = split(INT_AND(INT_RIGHT(both, 4), INT_BYTES(15)));
            }
        }
        return;
    }
    if (packing >= STEADY_2) {
        unsigned first_bits = packing <= STEADY_3 ? 2 : 4;
        unsigned more_bits = packing == STEADY_6 ? 2 : packing == STEADY_2 ? 0 : 1;
        UNROLL
        for (int p = 0; p < parts.n; p++) {
            veci bytes[4], over[4];
            plane_vectors(a->low, v, first_bits, 0, vectors, parts.first + p, bytes);
            if (more_bits) {
                plane_vectors(a->high, v, more_bits, first_bits, vectors, parts.first + p, over);
            }
            UNROLL
            for (int j = 0; j < vectors; j++) {
                code[j * parts.n + p] = split(more_bits ? INT_OR(bytes[j], over[j]) : bytes[j]);
            }
        }
        return;
    }
    UNROLL
    for (int j = 0; j < vectors; j++) {
        UNROLL
        for (int p = 0; p < parts.n; p++) {
            int part = parts.first + p;
            veci bytes;
            if (packing == BYTES) {
                bytes = INT_LOAD(line + j * 64 + part * CODES);
            } else {
                bytes = plane_bytes(a->low, v + (unsigned)j, low_bits, part);
            }
            if (packing == TWO_PLANES) {
                veci over = plane_bytes(a->high, v + (unsigned)j, (unsigned)a->bits - low_bits, part);
                bytes = INT_OR(bytes, INT_LEFT(over, _mm_cvtsi32_si128((int)low_bits)));
            }
            code[j * parts.n + p] = split(bytes);
        }
    }
}

/* The sums of a part of a vector of columns are complete. */
ALWAYS_INLINE void add_sums(const tada_dot *a, int row, int vector, int part, const sums *sum)
{
    int at = vector * 16 + part * WIDTH;
    float *out = a->out + (size_t)row * a->ldo + at;
    vec inverse = VEC_SET(a->inverse[row]), bias = VEC_SET(a->bias[row]);
    vec y = VEC_LOAD(out);
    y = a->offset ? VEC_FMA(bias, VEC_LOAD(a->offset + at), y) : VEC_ADD(bias, y);
    vec unit = a->scale ? VEC_MUL(inverse, VEC_LOAD(a->scale + at)) : inverse;
    VEC_STORE(out, VEC_FMA(unit, INT_FLOAT(total(sum)), y));
}

/* `rows`, `vectors`, `parts` and `packing` are constants at every call. */
ALWAYS_INLINE void codes_block(const tada_dot *a, int row, int vector, int rows, int vectors,
                               part_range parts, enum packing packing)
{
    sums sum[4][4 * PARTS];
    unsigned low_bits = a->bits == 8 ? 8 : a->bits >= 4 ? 4 : 2;
    unsigned v = (unsigned)(a->first + vector), step = (unsigned)a->step;
    const char *x = (const char *)(a->x + (size_t)row * a->ldx);
    size_t ldx = a->ldx * sizeof *a->x;
    size_t line_step = packing == NIBBLES ? (size_t)a->step * 32 : (size_t)a->step * 64;
    const uint8_t *line = a->low + (packing == NIBBLES ? (size_t)v * 32 : (size_t)v * 64);
    /* The first block fetches what comes next while the multipliers are busy. */
    const uint8_t *next = row + vector + parts.first == 0 ? a->next : a->next_end;
    size_t ahead = fetch_bytes(a->next, a->next_end, (size_t)a->n_fours);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < vectors * parts.n; j++) {
            sum[r][j] = (sums)SUMS_ZERO;
        }
    }
    for (int i = 0; i < a->n_fours; i++) {
        codes code[4 * PARTS];
        load_codes(a, line, v, low_bits, vectors, parts, packing, code);
        UNROLL
        for (int r = 0; r < rows; r++) {
            veci both[2] = {spread(x + (size_t)r * ldx), spread(x + (size_t)r * ldx + 4)};
            UNROLL
            for (int j = 0; j < vectors * parts.n; j++) {
                accumulate(&sum[r][j], code[j], both);
            }
        }
        if (next < a->next_end) {
            next = fetch(next, ahead);
        }
        v += step;
        line += line_step;
        x += 8;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < vectors * parts.n; j++) {
            add_sums(a, row + r, vector + j / parts.n, parts.first + j % parts.n, &sum[r][j]);
        }
    }
}

ALWAYS_INLINE void codes_vectors(const tada_dot *a, int row, int vector, int rows, int vectors,
                                 enum packing packing)
{
    /* With 16 registers, sums and codes fit for one part only. Bytes are quick to read again. */
    if (PARTS == 2 && packing != BYTES && (packing == NIBBLES || rows > 1)) {
        codes_block(a, row, vector, rows, vectors, (part_range){0, 1}, packing);
        codes_block(a, row, vector, rows, vectors, (part_range){PARTS - 1, 1}, packing);
    } else {
        codes_block(a, row, vector, rows, vectors, (part_range){0, PARTS}, packing);
    }
}

ALWAYS_INLINE void codes_rows(const tada_dot *a, int row, int rows, enum packing packing)
{
    /* Half of the registers for sums: gcc needs the others. */
    enum { REGISTERS = CODES == 64 ? 16 : 8, TERMS = sizeof(sums) / sizeof(veci) };
    int fit = REGISTERS / (rows * TERMS * PARTS);
    bool pairs = packing == NIBBLES || packing >= STEADY_2;
    int j = 0;
    for (; fit >= 4 && j + 4 <= a->n_vectors; j += 4) {
        codes_vectors(a, row, j, rows, 4, packing);
    }
    for (; (fit >= 2 || pairs) && j + 2 <= a->n_vectors; j += 2) {
        codes_vectors(a, row, j, rows, 2, packing);
    }
    for (; !pairs && j < a->n_vectors; j++) {
        codes_vectors(a, row, j, rows, 1, packing);
    }
}

/* Rows of the next block when so many are left: five are better cut 3 + 2 than 4 + 1. */
static int block_rows(int left)
{
    return left > 5 || left == 4 ? 4 : left > 3 ? 3 : left;
}

ALWAYS_INLINE void codes_packed(const tada_dot *a, enum packing packing)
{
    for (int r = 0; r < a->m;) {
        switch (block_rows(a->m - r)) {
        case 4:
            codes_rows(a, r, 4, packing);
            r += 4;
            break;
        case 3:
            codes_rows(a, r, 3, packing);
            r += 3;
            break;
        case 2:
            codes_rows(a, r, 2, packing);
            r += 2;
            break;
        default:
            codes_rows(a, r, 1, packing);
            r += 1;
        }
    }
}

#if defined(__AVX512F__)

static void codes_steady(const tada_dot *a)
{
    if (sections_one(a)) {
        return;
    }
    switch (a->bits) {
    case 2:
        codes_packed(a, STEADY_2);
        break;
    case 3:
        codes_packed(a, STEADY_3);
        break;
    case 5:
        codes_packed(a, STEADY_5);
        break;
    default:
        codes_packed(a, STEADY_6);
    }
}

#else

/* Codes in planes to a byte each, four vectors at once. */
ALWAYS_INLINE void copy_codes(const tada_dot *a, unsigned low_bits, unsigned high_bits, uint8_t *to)
{
    for (int i = 0; i < a->n_fours; i++) {
        for (int j = 0; j < a->n_vectors; j += 4, to += 4 * 64) {
            unsigned v = (unsigned)(a->first + j + i * a->step);
            UNROLL
            for (int p = 0; p < PARTS; p++) {
                veci bytes[4], over[4];
                plane_vectors(a->low, v, low_bits, 0, 4, p, bytes);
                if (high_bits) {
                    plane_vectors(a->high, v, high_bits, low_bits, 4, p, over);
                }
                UNROLL
                for (int k = 0; k < 4; k++) {
                    veci *at = (veci *)(void *)(to + k * 64 + p * CODES);
                    _mm256_storeu_si256(at, high_bits ? INT_OR(bytes[k], over[k]) : bytes[k]);
                }
            }
        }
    }
}

/* With 16 registers, a block has too few vectors to read planes well: a copy of the codes in bytes is made
 * once, even for one row. */
static void codes_steady(const tada_dot *a)
{
    uint8_t bytes[TADA_TILE_CELLS * TADA_CODES_DIM];
    switch (a->bits) {
    case 2:
        copy_codes(a, 2, 0, bytes);
        break;
    case 3:
        copy_codes(a, 2, 1, bytes);
        break;
    case 5:
        copy_codes(a, 4, 1, bytes);
        break;
    default:
        copy_codes(a, 4, 2, bytes);
    }
    tada_dot copied = *a;
    copied.bits = 8;
    copied.low = bytes;
    copied.first = 0;
    copied.step = a->n_vectors;
    codes_packed(&copied, BYTES);
}

#endif

#else

/* Of the codes of so many bits in two planes, the one at a place of a vector. */
static unsigned packed_code(const uint8_t *low, const uint8_t *high, int bits, size_t vector, size_t place)
{
    size_t low_bits = bits == 8 ? 8 : bits >= 4 ? 4 : 2, high_bits = (size_t)bits - low_bits;
    unsigned code = low[vector * low_bits / 8 * 64 + place] >> vector * low_bits % 8 & ((1u << low_bits) - 1);
    if (high_bits) {
        unsigned more = high[vector * high_bits / 8 * 64 + place] >> vector * high_bits % 8;
        code |= (more & ((1u << high_bits) - 1)) << low_bits;
    }
    return code;
}

static void codes_dot(const tada_dot *a)
{
    static const int place[4] = {0, 2, 1, 3};
    for (int j = 0; j < 16 * a->n_vectors; j++) {
        size_t v = (size_t)(a->first + j / 16), column = (size_t)(j % 16 * 4);
        int32_t sum[TADA_ROWS] = {0};
        for (int i = 0; i < 4 * a->n_fours; i++) {
            int32_t code = (int32_t)packed_code(a->low, a->high, a->bits, v + (size_t)(i / 4 * a->step),
                                                column + (size_t)(i % 4));
            for (int r = 0; r < a->m; r++) {
                sum[r] += a->x[(size_t)r * a->ldx + (size_t)(i / 4 * 4 + place[i % 4])] * code;
            }
        }
        for (int r = 0; r < a->m; r++) {
            float scale = a->scale ? a->scale[j] : 1.0f, offset = a->offset ? a->offset[j] : 1.0f;
            a->out[(size_t)r * a->ldo + (size_t)j] +=
                a->inverse[r] * scale * (float)sum[r] + a->bias[r] * offset;
        }
    }
}

#endif
