/* Encoding and decoding: elementwise, so that it is the same bit for bit on every set (-ffp-contract=off).
 * Included by kernels_template.h. */

/* ---- quantisation with a scale of 5-2 bits and an integer zero point of 9 bits ---- */

enum { SCALES = 128, ZERO_MIN = -256, ZERO_MAX = 255 };

/* scale(i) = (4 + i % 4) * 2^(i / 4 - 18): from 2^-16 to 57344, enough for the range of f16 at 2 bits. */
static inline float scale_value(int index)
{
    uint32_t bits = (uint32_t)(index + (111 << 2)) << 21;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The smallest index whose scale is at least y. */
static inline int scale_index(float y)
{
    uint32_t bits;
    if (!(y > 0)) {
        return 0;
    }
    memcpy(&bits, &y, sizeof bits);
    int index = (int)(bits >> 21) - (111 << 2) + ((bits & 0x1fffffu) != 0);
    return index < 0 ? 0 : index > SCALES - 1 ? SCALES - 1 : index;
}

/* The same for several at once. */
ALWAYS_INLINE lanes lane_scales(flags index)
{
    return (lanes)((index + (111 << 2)) << 21);
}

ALWAYS_INLINE flags lane_indices(lanes y)
{
    flags bits = (flags)y;
    flags index = (bits >> 21) - (111 << 2) - (flags)((bits & 0x1fffff) != 0);
    index &= (flags)(y > 0) & (flags)(index > 0);
    return flags_pick((flags)(index < SCALES), index, (flags){0} + (SCALES - 1));
}

/* PART lanes of a block. */
typedef struct quantiser {
    const float *x;
    size_t stride;
    int n, bits;
    float levels;
    lanes low, high, noise;
} quantiser;

/*
 * The largest scale, from `top` down, on whose multiples all values of a lane lie, within what rounding may
 * have done to them; -1 where there is none. Values that were decoded from codes are found again here, which
 * is why encoding them gives the same codes.
 */
static flags lattice(const quantiser *q, int top)
{
    enum { FEW = 4 };
    lanes size = HIGHER(lanes_abs(q->low), lanes_abs(q->high));
    /* Rounding to f16: half a unit in the last place, or of the smallest subnormal. */
    lanes tolerance = 0x1.02p-11f * size + 0x1p-25f + q->noise;
    /* Half of the least scale that the search takes, see there. */
    flags first = lane_indices(HIGHER((q->high - q->low - 2 * tolerance) / q->levels, 1.5f * q->noise));
    flags found = (flags){0} - 1;
    for (int index = top; ANY((flags)(found < 0) & (flags)(first <= index)); index--) {
        float inverse = 1.0f / scale_value(index);
        lanes least = lanes_round(q->low * inverse), most = lanes_round(q->high * inverse);
        lanes limit = LOWER(tolerance * inverse, lanes_all(0.2f));
        flags fits = (flags)(found < 0) & (flags)(first <= index) & (flags)(most - least <= q->levels) &
                     (flags)(least >= (float)ZERO_MIN) & (flags)(least <= (float)ZERO_MAX);
        for (int i = 0; i < q->n && ANY(fits);) {
            /* Nearly all scales are out after a few values. Compared as integers, what is not a number is
             * larger than any distance. */
            flags worst = {0};
            for (int end = i + FEW < q->n ? i + FEW : q->n; i < end; i++) {
                lanes v = lanes_load(q->x + (size_t)i * q->stride) * inverse;
                worst = FLAGS_HIGHER(worst, (flags)lanes_abs(v - lanes_round(v)));
            }
            fits &= (flags)(worst <= (flags)limit);
        }
        found = flags_pick(fits, (flags){0} + index, found);
    }
    return found;
}

/* Steps down from the range that the search for the least error takes, by bits. */
static const int search_depth[9] = {0, 0, 6, 4, 3, 2, 1, 1, 1};

/* Scale index and zero point of each lane with the least squared error among those near the range of its
 * values. */
static void search_scales(const quantiser *q, enum tada_search search, flags *best_index, lanes *best_zero)
{
    flags first = lane_indices((q->high - q->low) / q->levels);
    /* Finer steps would not survive the rounding of the decoded row to f16. */
    flags least =
        lane_indices(HIGHER(HIGHER(q->high / (float)ZERO_MAX, q->low / (float)ZERO_MIN), 3 * q->noise));
    flags last = {0};
    lanes best = lanes_all(INFINITY);
    int steps = search == TADA_SEARCH_MINMAX ? 0 : search_depth[q->bits];
    for (int step = 1; step >= -steps; step--) {
        flags index = first + step;
        index = flags_pick((flags)(index < least), least, index);
        index = flags_pick((flags)(index < SCALES), index, (flags){0} + (SCALES - 1));
        lanes scale = lane_scales(index), inverse = 1.0f / scale;
        if (step == 1) {
            /* For values that are not finite, whose errors are not less than anything. */
            *best_index = index;
            *best_zero = lanes_round(q->low / scale);
        } else if (!ANY((flags)(index != last))) {
            continue;
        }
        last = index;
        /* Centred on the range, then one level to either side. */
        lanes centre = lanes_round(0.5f * (q->low + q->high) * inverse - 0.5f * q->levels);
        lanes zero[3] = {centre, centre + 1.0f, centre - 1.0f}, error[3] = {{0}, {0}, {0}};
        lanes least_value[3], most_value[3];
        for (int s = 0; s < 3; s++) {
            /* This order leaves what is not a number as it is. */
            zero[s] = LOWER(lanes_all(ZERO_MAX), HIGHER(lanes_all(ZERO_MIN), zero[s]));
            least_value[s] = scale * zero[s];
            most_value[s] = scale * (zero[s] + q->levels);
        }
        for (int i = 0; i < q->n; i++) {
            /* The limits of the codes can be those of multiples of the scale, whose products are exact. */
            lanes x = lanes_load(q->x + (size_t)i * q->stride), nearest = scale * lanes_round(x * inverse);
            UNROLL
            for (int s = 0; s < 3; s++) {
                lanes d = x - LOWER(HIGHER(nearest, least_value[s]), most_value[s]);
                error[s] += d * d;
            }
            /* Errors only grow. */
            if (i % 16 == 15 &&
                !ANY((flags)(error[0] < best) | (flags)(error[1] < best) | (flags)(error[2] < best))) {
                break;
            }
        }
        for (int s = 0; s < 3; s++) {
            flags better = (flags)(error[s] < best);
            best = lanes_pick(better, error[s], best);
            *best_index = flags_pick(better, index, *best_index);
            *best_zero = lanes_pick(better, zero[s], *best_zero);
        }
    }
}

static void quantise_part(tada_block *b, int part, const quantiser *q, int top)
{
    flags index = lattice(q, top), lies = (flags)(index >= 0);
    lanes zero = {0};
    if (ANY(~lies)) {
        flags searched = {0};
        search_scales(q, b->search, &searched, &zero);
        index = flags_pick(lies, index, searched);
    }
    lanes inverse = 1.0f / lane_scales(index);
    /* The zero point is the least multiple of the scale that occurs, so that it is found again in the decoded
     * values. */
    lanes least = lanes_all(INFINITY);
    for (int i = 0; i < q->n; i++) {
        least = LOWER(lanes_round(lanes_load(q->x + (size_t)i * q->stride) * inverse), least);
    }
    least = lanes_pick(lies | (flags)(least > zero), least, zero);
    /* Values that are not finite end up anywhere; the zero point must not leave its field. */
    least = LOWER(HIGHER(least, lanes_all(ZERO_MIN)), lanes_all(ZERO_MAX));
    flags words = index << 9 | (__builtin_convertvector(least, flags) & 511);
    for (int l = 0; l < PART; l++) {
        b->meta[part + l] = (uint16_t)words[l];
    }
    /* From the zero point of the search on, or from the least value when that is higher. */
    lanes end = lanes_pick(lies, lanes_all(q->levels), zero + q->levels - least);
    /* Only values that are not finite get here with another limit than a code can hold. */
    end = HIGHER(LOWER(end, lanes_all(q->levels)), lanes_all(0));
    for (int i = 0; i < q->n; i++) {
        lanes code = lanes_round(lanes_load(q->x + (size_t)i * q->stride) * inverse) - least;
        lanes_store_bytes(LOWER(HIGHER(code, lanes_all(0)), end), b->codes + i * LANES + part);
    }
}

#include "narrow_template.h"

static void quantise(tada_block *b)
{
    enum { PARTS = LANES / PART };
    quantiser parts[PARTS];
    float top = 0;
    if (b->n == 0) {
        memset(b->meta, 0, sizeof b->meta);
        return;
    }
    for (int p = 0; p < PARTS; p++) {
        const float *x = b->x + p * PART;
        lanes low = lanes_load(x), high = low;
        for (int i = 1; i < b->n; i++) {
            lanes v = lanes_load(x + (size_t)i * b->stride);
            low = LOWER(v, low);
            high = HIGHER(v, high);
        }
        parts[p] = (quantiser){x,
                               b->stride,
                               b->n,
                               b->bits,
                               (float)((1 << b->bits) - 1),
                               low,
                               high,
                               lanes_load(b->noise + p * PART)};
        for (int l = 0; l < PART; l++) {
            float size = fmaxf(fabsf(low[l]), fabsf(high[l]));
            top = size > top ? size : top;
        }
    }
    for (int p = 0; p < PARTS && !b->narrow; p++) {
        quantise_part(b, p * PART, &parts[p], scale_index(top));
    }
    for (int p = 0; p < PARTS && b->narrow; p++) {
        /* Values beside the multiples may be half a scale. */
        quantise_narrow(b, p * PART, &parts[p], scale_index(top / fminf(tada_zero_step(b->bits), 1)));
    }
}

/* ---- values ---- */

static void factors(const uint8_t *meta, int n, float *scale, float *offset)
{
    for (int i = 0; i < n; i++) {
        uint16_t word;
        memcpy(&word, meta + 2 * (size_t)i, sizeof word);
        float s = scale_value(word >> 9);
        scale[i] = s;
        /* Exact: 3 bits times 9 bits, which are sign-extended. */
        offset[i] = s * (float)(((word & 511) ^ 256) - 256);
    }
}

/* 16 values from byte `byte` of 16 words. uniform: one scale for all; else one each. No fused multiply-add:
 * decoded values are the same on every set. */
ALWAYS_INLINE void decode16(const uint8_t *words, int byte, const float *scale, const float *offset,
                            bool uniform, float *to)
{
#if defined(__AVX512F__)
    __m512i w = _mm512_loadu_si512(words);
    __m512 q = _mm512_cvtepi32_ps(
        _mm512_and_si512(_mm512_srli_epi32(w, (unsigned)byte * 8), _mm512_set1_epi32(255)));
    __m512 s = uniform ? _mm512_set1_ps(*scale) : _mm512_loadu_ps(scale);
    __m512 o = uniform ? _mm512_set1_ps(*offset) : _mm512_loadu_ps(offset);
    _mm512_storeu_ps(to, _mm512_add_ps(_mm512_mul_ps(q, s), o));
#elif defined(__AVX2__)
    for (int i = 0; i < 16; i += 8) {
        __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(words + 4 * i));
        __m256 q =
            _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(w, byte * 8), _mm256_set1_epi32(255)));
        __m256 s = uniform ? _mm256_set1_ps(*scale) : _mm256_loadu_ps(scale + i);
        __m256 o = uniform ? _mm256_set1_ps(*offset) : _mm256_loadu_ps(offset + i);
        _mm256_storeu_ps(to + i, _mm256_add_ps(_mm256_mul_ps(q, s), o));
    }
#elif defined(TADA_SET_NEON)
    for (int i = 0; i < 16; i += 4) {
        uint32x4_t w = vreinterpretq_u32_u8(vld1q_u8(words + 4 * i));
        w = vandq_u32(vshlq_u32(w, vdupq_n_s32(-8 * byte)), vdupq_n_u32(255));
        float32x4_t s = uniform ? vdupq_n_f32(*scale) : vld1q_f32(scale + i);
        float32x4_t o = uniform ? vdupq_n_f32(*offset) : vld1q_f32(offset + i);
        vst1q_f32(to + i, vaddq_f32(vmulq_f32(vcvtq_f32_u32(w), s), o));
    }
#else
    for (int i = 0; i < 16; i++) {
        to[i] = (float)words[4 * i + byte] * scale[uniform ? 0 : i] + offset[uniform ? 0 : i];
    }
#endif
}

static void decode_k(const uint8_t *codes, int dim, const tada_factors *f, float *out)
{
    for (int d = 0; d < dim; d += 4) {
        for (int t = 0; t < CELLS; t += 16) {
            const uint8_t *in = codes + ((size_t)(d / 4) * 4 + t / 16) * 64;
            float *to = out + (size_t)d * CELLS + t;
            if (f->axis == TADA_AXIS_CHANNEL) {
                size_t at = (size_t)(t / f->group) * dim + d;
                decode16(in, 0, f->scale + at, f->offset + at, true, to);
                decode16(in, 1, f->scale + at + 1, f->offset + at + 1, true, to + CELLS);
                decode16(in, 2, f->scale + at + 2, f->offset + at + 2, true, to + 2 * CELLS);
                decode16(in, 3, f->scale + at + 3, f->offset + at + 3, true, to + 3 * CELLS);
            } else {
                /* A group is a multiple of 16 channels or the whole head, so 4 channels share one. */
                const float *scale = f->scale + (size_t)(d / f->group) * CELLS + t;
                const float *offset = f->offset + (size_t)(d / f->group) * CELLS + t;
                decode16(in, 0, scale, offset, false, to);
                decode16(in, 1, scale, offset, false, to + CELLS);
                decode16(in, 2, scale, offset, false, to + 2 * CELLS);
                decode16(in, 3, scale, offset, false, to + 3 * CELLS);
            }
        }
    }
}

static void decode_v(const uint8_t *codes, int dim, const tada_factors *f, float *out)
{
    size_t row = (size_t)dim;
    for (int t = 0; t < CELLS; t += 4) {
        for (int d = 0; d < dim; d += 16) {
            const uint8_t *in = codes + ((size_t)(t / 4) * (dim / 16) + d / 16) * 64;
            float *to = out + (size_t)t * row + d;
            if (f->axis == TADA_AXIS_TOKEN) {
                size_t at = (size_t)(d / f->group) * CELLS + t;
                decode16(in, 0, f->scale + at, f->offset + at, true, to);
                decode16(in, 1, f->scale + at + 1, f->offset + at + 1, true, to + row);
                decode16(in, 2, f->scale + at + 2, f->offset + at + 2, true, to + 2 * row);
                decode16(in, 3, f->scale + at + 3, f->offset + at + 3, true, to + 3 * row);
            } else {
                const float *scale = f->scale + (size_t)(t / f->group) * dim + d;
                const float *offset = f->offset + (size_t)(t / f->group) * dim + d;
                decode16(in, 0, scale, offset, false, to);
                decode16(in, 1, scale, offset, false, to + row);
                decode16(in, 2, scale, offset, false, to + 2 * row);
                decode16(in, 3, scale, offset, false, to + 3 * row);
            }
        }
    }
}
