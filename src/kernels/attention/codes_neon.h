/*
 * Attention on codes for NEON: what codes.h does for the other sets. Included by set.h.
 *
 * A block is 64 codes of one four: 16 columns, or, where two vectors share their bytes, 8 columns of each.
 * Two fours are taken at a time, and the eight values that a row has for these take a register of 16 bytes.
 * What is in it depends on the set. Without a dot product, 8 integers of 16 bits: codes become such as well,
 * number i of each column in a register of its own, and a word of the row is multiplied with all columns.
 * With one of signed bytes (dotprod), 8 high bytes and 8 low ones, whose sums are kept apart until the end;
 * codes of 8 bits become signed, and the sum of the row makes up for it. With products of matrices (i8mm),
 * the same 16 bytes are a matrix of two rows, and two columns make another one, with both fours of each side
 * by side.
 */

#if defined(__ARM_FEATURE_MATMUL_INT8)
#define SUMS_MATRIX 1
#define SUMS_BYTES 1
#elif defined(__ARM_FEATURE_DOTPROD)
#define SUMS_MATRIX 0
#define SUMS_BYTES 1
#else
#define SUMS_MATRIX 0
#define SUMS_BYTES 0
#endif

/* ---- folding ---- */

/* 8 values as integers into 16 bytes; what is not a number becomes 0. */
ALWAYS_INLINE void fold8(vec a, vec b, vec inverse, int16_t *to)
{
    int32x4_t low = vcvtnq_s32_f32(vmulq_f32(a, inverse)), high = vcvtnq_s32_f32(vmulq_f32(b, inverse));
    int16x8_t integers = vcombine_s16(vqmovn_s32(low), vqmovn_s32(high));
#if SUMS_BYTES
    /* The low byte is signed, so the high one is that of the nearest multiple of 256. */
    vst1q_s8((int8_t *)to, vcombine_s8(vrshrn_n_s16(integers, 8), vmovn_s16(integers)));
#else
    vst1q_s16(to, integers);
#endif
}

/* `scaled` is a constant at every call. */
ALWAYS_INLINE void fold_row(const tada_fold *f, int row, bool scaled)
{
    int tile = row / f->m;
    const float *x = f->x + (size_t)tile * f->x_tile + (size_t)(row % f->m) * f->ldx;
    const float *scale = scaled ? f->scale + (size_t)tile * f->factors_tile : NULL;
    const float *offset = scaled ? f->offset + (size_t)tile * f->factors_tile : NULL;
    vec most[4], sum[4];
    UNROLL
    for (int j = 0; j < 4; j++) {
        most[j] = sum[j] = VEC_SET(0.0f);
    }
    for (int i = 0; i < f->n; i += 16) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            vec y = VEC_LOAD(x + i + 4 * j);
            most[j] = VEC_MAX(VEC_ABS(scaled ? VEC_MUL(y, VEC_LOAD(scale + i + 4 * j)) : y), most[j]);
            sum[j] = scaled ? VEC_FMA(y, VEC_LOAD(offset + i + 4 * j), sum[j]) : VEC_ADD(y, sum[j]);
        }
    }
    float top = VEC_TOP(VEC_MAX(VEC_MAX(most[0], most[1]), VEC_MAX(most[2], most[3])));
    float unit = fold_unit(top, f->n);
    vec inverse = VEC_SET(fold_inverse(unit));
    f->inverse[row] = unit;
    /* Not finite when some x is not. */
    f->bias[row] = VEC_SUM(VEC_ADD(VEC_ADD(sum[0], sum[1]), VEC_ADD(sum[2], sum[3])));
    int16_t *to = f->folded + (size_t)row * f->ldf;
    for (int i = 0; i < f->n; i += 8) {
        vec a = VEC_LOAD(x + i), b = VEC_LOAD(x + i + 4);
        fold8(scaled ? VEC_MUL(a, VEC_LOAD(scale + i)) : a, scaled ? VEC_MUL(b, VEC_LOAD(scale + i + 4)) : b,
              inverse, to + i);
    }
}

static void fold(const tada_fold *f)
{
    for (int r = 0; r < f->n_tiles * f->m; r++) {
        if (f->scale) {
            fold_row(f, r, true);
        } else {
            fold_row(f, r, false);
        }
    }
}

/* ---- sums ---- */

/* The bits of one plane that belong to a vector: its line, and how far they move to get to their place. */
typedef struct bits {
    const uint8_t *line;
    int8x16_t move;
    uint8x16_t mask;
} bits;

ALWAYS_INLINE bits plane_bits(const uint8_t *plane, size_t v, unsigned width, unsigned place)
{
    size_t bit = v * width;
    return (bits){plane + bit / 8 * 64, vdupq_n_s8((int8_t)((int)place - (int)(bit % 8))),
                  vdupq_n_u8((uint8_t)(((1u << width) - 1) << place))};
}

ALWAYS_INLINE uint8x16_t cut(uint8x16_t bytes, const bits *b)
{
    return vandq_u8(vshlq_u8(bytes, b->move), b->mask);
}

/* The planes of one vector. `packing` is a constant at every call. */
typedef struct planes {
    bits low, high;
} planes;

ALWAYS_INLINE planes find_planes(const tada_dot *a, size_t v, enum packing packing)
{
    planes p = {{a->low + v * 64, vdupq_n_s8(0), vdupq_n_u8(255)}, {NULL, vdupq_n_s8(0), vdupq_n_u8(0)}};
    unsigned low_bits = a->bits >= 4 ? 4 : 2;
    if (packing == ONE_PLANE || packing == TWO_PLANES) {
        p.low = plane_bits(a->low, v, low_bits, 0);
    }
    if (packing == TWO_PLANES) {
        p.high = plane_bits(a->high, v, (unsigned)a->bits - low_bits, low_bits);
    }
    return p;
}

#if SUMS_BYTES

/* Of four columns. Of bytes: the sums of high and those of low bytes. Of matrices: both of columns 0 and 1,
 * and both of columns 2 and 3. */
typedef struct sums {
    int32x4_t of[2];
} sums;
enum { MOST_ROWS = 3 };

ALWAYS_INLINE int32x4_t total(const sums *sum)
{
#if SUMS_MATRIX
    int32x4_t high = vuzp1q_s32(sum->of[0], sum->of[1]), low = vuzp2q_s32(sum->of[0], sum->of[1]);
#else
    int32x4_t high = sum->of[0], low = sum->of[1];
#endif
    return vaddq_s32(vshlq_n_s32(high, 8), low);
}

/* Two fours of four columns each. */
typedef struct codes {
    uint8x16_t of[2];
} codes;

ALWAYS_INLINE codes side_by_side(uint8x16_t first, uint8x16_t second)
{
#if SUMS_MATRIX
    uint32x4_t a = vreinterpretq_u32_u8(first), b = vreinterpretq_u32_u8(second);
    return (codes){{vreinterpretq_u8_u32(vzip1q_u32(a, b)), vreinterpretq_u8_u32(vzip2q_u32(a, b))}};
#else
    return (codes){{first, second}};
#endif
}

ALWAYS_INLINE void accumulate(sums *sum, codes c, int8x16_t x)
{
#if SUMS_MATRIX
    sum->of[0] = vusmmlaq_s32(sum->of[0], c.of[0], x);
    sum->of[1] = vusmmlaq_s32(sum->of[1], c.of[1], x);
#else
    int8x16_t first = vreinterpretq_s8_u8(c.of[0]), second = vreinterpretq_s8_u8(c.of[1]);
    sum->of[0] = vdotq_laneq_s32(sum->of[0], first, x, 0);
    sum->of[1] = vdotq_laneq_s32(sum->of[1], first, x, 2);
    sum->of[0] = vdotq_laneq_s32(sum->of[0], second, x, 1);
    sum->of[1] = vdotq_laneq_s32(sum->of[1], second, x, 3);
#endif
}

/* Four columns of a vector, number `part` of these. `packing` is a constant at every call. */
ALWAYS_INLINE uint8x16_t load_part(const planes *p, int part, enum packing packing)
{
    uint8x16_t bytes = vld1q_u8(p->low.line + 16 * part);
    if (packing == BYTES) {
        return SUMS_MATRIX ? bytes : veorq_u8(bytes, vdupq_n_u8(128));
    }
    bytes = cut(bytes, &p->low);
    if (packing == TWO_PLANES) {
        bytes = vorrq_u8(bytes, cut(vld1q_u8(p->high.line + 16 * part), &p->high));
    }
    return bytes;
}

/* Two fours of a block. `rows` and `packing` are constants at every call. */
ALWAYS_INLINE void add_fours(const tada_dot *a, const int16_t *x, size_t v, int half, int rows,
                             enum packing packing, sums sum[MOST_ROWS][4])
{
    int8x16_t eight[MOST_ROWS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        eight[r] = vld1q_s8((const int8_t *)(x + (size_t)r * a->ldx));
    }
    if (packing == NIBBLES) {
        const uint8_t *line = a->low + v * 32 + half * 32;
        UNROLL
        for (int p = 0; p < 2; p++) {
            const uint8_t *second = line + (size_t)a->step * 32;
            codes c = side_by_side(vld1q_u8(line + 16 * p), vld1q_u8(second + 16 * p));
            codes low = {{vandq_u8(c.of[0], vdupq_n_u8(15)), vandq_u8(c.of[1], vdupq_n_u8(15))}};
            codes high = {{vshrq_n_u8(c.of[0], 4), vshrq_n_u8(c.of[1], 4)}};
            UNROLL
            for (int r = 0; r < rows; r++) {
                accumulate(&sum[r][p], low, eight[r]);
                accumulate(&sum[r][p + 2], high, eight[r]);
            }
        }
        return;
    }
    planes first = find_planes(a, v, packing), second = find_planes(a, v + (size_t)a->step, packing);
    UNROLL
    for (int p = 0; p < 4; p++) {
        codes c = side_by_side(load_part(&first, p, packing), load_part(&second, p, packing));
        UNROLL
        for (int r = 0; r < rows; r++) {
            accumulate(&sum[r][p], c, eight[r]);
        }
    }
}

/* What is missing from the sums of a row, as 128 was taken from every code. */
ALWAYS_INLINE int32x4_t made_up(const tada_dot *a, int row, enum packing packing)
{
    int32x4_t sum = vdupq_n_s32(0);
    if (packing != BYTES || SUMS_MATRIX) {
        return sum;
    }
    const int16_t *x = a->x + (size_t)row * a->ldx;
    for (int i = 0; i < a->n_fours; i += 2) {
        /* Lanes 0 and 1 are of high bytes. */
        int16x8_t pairs = vpaddlq_s8(vld1q_s8((const int8_t *)(x + 4 * i)));
        sum = vpadalq_s16(sum, pairs);
    }
    int32x2_t both = vadd_s32(vshl_n_s32(vget_low_s32(sum), 8), vget_high_s32(sum));
    return vdupq_n_s32(128 * vaddv_s32(both));
}

#else

/* Of four columns. */
typedef struct sums {
    int32x4_t of;
} sums;
enum { MOST_ROWS = 4 };

ALWAYS_INLINE int32x4_t total(const sums *sum)
{
    return sum->of;
}

ALWAYS_INLINE int32x4_t made_up(const tada_dot *a, int row, enum packing packing)
{
    (void)a, (void)row, (void)packing;
    return vdupq_n_s32(0);
}

/* The codes of 16 columns, number i of each in register i. `packing` is a constant at every call. */
ALWAYS_INLINE uint8x16x4_t load_codes(const tada_dot *a, size_t v, int half, enum packing packing)
{
    uint8x16x4_t bytes;
    if (packing == NIBBLES) {
        uint8x8x4_t both = vld4_u8(a->low + v * 32 + half * 32);
        UNROLL
        for (int i = 0; i < 4; i++) {
            bytes.val[i] = vcombine_u8(vand_u8(both.val[i], vdup_n_u8(15)), vshr_n_u8(both.val[i], 4));
        }
        return bytes;
    }
    planes p = find_planes(a, v, packing);
    bytes = vld4q_u8(p.low.line);
    if (packing == BYTES) {
        return bytes;
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        bytes.val[i] = cut(bytes.val[i], &p.low);
    }
    if (packing == TWO_PLANES) {
        uint8x16x4_t over = vld4q_u8(p.high.line);
        UNROLL
        for (int i = 0; i < 4; i++) {
            bytes.val[i] = vorrq_u8(bytes.val[i], cut(over.val[i], &p.high));
        }
    }
    return bytes;
}

/* The lane is part of the instruction. */
#define ADD_CODE(bytes, lane)                                                                                \
    do {                                                                                                     \
        int16x8_t c0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));                                  \
        int16x8_t c1 = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes)));                                 \
        UNROLL                                                                                               \
        for (int r = 0; r < rows; r++) {                                                                     \
            sum[r][0].of = vmlal_laneq_s16(sum[r][0].of, vget_low_s16(c0), eight[r], lane);                  \
            sum[r][1].of = vmlal_high_laneq_s16(sum[r][1].of, c0, eight[r], lane);                           \
            sum[r][2].of = vmlal_laneq_s16(sum[r][2].of, vget_low_s16(c1), eight[r], lane);                  \
            sum[r][3].of = vmlal_high_laneq_s16(sum[r][3].of, c1, eight[r], lane);                           \
        }                                                                                                    \
    } while (0)

/* Two fours of a block. `rows` and `packing` are constants at every call. */
ALWAYS_INLINE void add_fours(const tada_dot *a, const int16_t *x, size_t v, int half, int rows,
                             enum packing packing, sums sum[MOST_ROWS][4])
{
    int16x8_t eight[MOST_ROWS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        eight[r] = vld1q_s16(x + (size_t)r * a->ldx);
    }
    uint8x16x4_t c = load_codes(a, v, half, packing);
    ADD_CODE(c.val[0], 0);
    ADD_CODE(c.val[1], 1);
    ADD_CODE(c.val[2], 2);
    ADD_CODE(c.val[3], 3);
    c = load_codes(a, v + (size_t)a->step, half, packing);
    ADD_CODE(c.val[0], 4);
    ADD_CODE(c.val[1], 5);
    ADD_CODE(c.val[2], 6);
    ADD_CODE(c.val[3], 7);
}

#endif

/*
 * Rows from `row` on, and the columns of a vector, or, of nibbles, half of those of two: columns 0 to 7 or 8
 * to 15 of each. `rows` and `packing` are constants at every call.
 */
ALWAYS_INLINE void codes_block(const tada_dot *a, int row, int vector, int half, int rows,
                               enum packing packing)
{
    sums sum[MOST_ROWS][4];
    size_t v = (size_t)(a->first + vector);
    const int16_t *x = a->x + (size_t)row * a->ldx;
    /* The first block fetches what comes next while the multipliers are busy. */
    const uint8_t *next = row + vector + half == 0 ? a->next : a->next_end;
    size_t ahead = fetch_bytes(a->next, a->next_end, (size_t)a->n_fours / 2);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            sum[r][j] = (sums){0};
        }
    }
    for (int i = 0; i < a->n_fours; i += 2) {
        add_fours(a, x, v, half, rows, packing, sum);
        if (next < a->next_end) {
            next = fetch(next, ahead);
        }
        v += 2 * (size_t)a->step;
        x += 8;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        vec inverse = VEC_SET(a->inverse[row + r]), bias = VEC_SET(a->bias[row + r]);
        int32x4_t more = made_up(a, row + r, packing);
        UNROLL
        for (int j = 0; j < 4; j++) {
            int at = vector * 16 + (packing == NIBBLES ? half * 8 + j / 2 * 16 + j % 2 * 4 : j * 4);
            float *out = a->out + (size_t)(row + r) * a->ldo + at;
            vec y = VEC_LOAD(out);
            y = a->offset ? VEC_FMA(bias, VEC_LOAD(a->offset + at), y) : VEC_ADD(bias, y);
            vec unit = a->scale ? VEC_MUL(inverse, VEC_LOAD(a->scale + at)) : inverse;
            VEC_STORE(out, VEC_FMA(unit, vcvtq_f32_s32(vaddq_s32(total(&sum[r][j]), more)), y));
        }
    }
}

ALWAYS_INLINE void codes_rows(const tada_dot *a, int row, int rows, enum packing packing)
{
    for (int j = 0; j < a->n_vectors; j += packing == NIBBLES ? 2 : 1) {
        codes_block(a, row, j, 0, rows, packing);
        if (packing == NIBBLES) {
            codes_block(a, row, j, 1, rows, packing);
        }
    }
}

ALWAYS_INLINE void codes_packed(const tada_dot *a, enum packing packing)
{
    for (int r = 0, rows; r < a->m; r += rows) {
        /* As even as may be: five rows are better cut 3 + 2 than 4 + 1. */
        int blocks = (a->m - r + MOST_ROWS - 1) / MOST_ROWS;
        rows = (a->m - r + blocks - 1) / blocks;
        switch (rows) {
#if !SUMS_BYTES
        case 4:
            codes_rows(a, r, 4, packing);
            break;
#endif
        case 3:
            codes_rows(a, r, 3, packing);
            break;
        case 2:
            codes_rows(a, r, 2, packing);
            break;
        default:
            codes_rows(a, r, 1, packing);
        }
    }
}
