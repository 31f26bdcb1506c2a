/* Encoding and decoding: elementwise, so that it is the same bit for bit on every set (-ffp-contract=off).
 * Included by set.h. */

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
    int n, bits, fine_bits;
    float levels, part, parts; /* part: of a step that a step of the refinement is; parts: 1 / part */
    lanes low, high, noise;
} quantiser;

/* How far rounding to f16 may have moved a value: half a unit in the last place, or half of the smallest
 * subnormal. The noise of the lane comes on top. */
ALWAYS_INLINE lanes tolerance_of(const quantiser *q)
{
    lanes size = HIGHER(lanes_abs(q->low), lanes_abs(q->high));
    return 0x1.02p-11f * size + 0x1p-25f + q->noise;
}

ALWAYS_INLINE flags zero_group(const quantiser *q)
{
    return (flags)(HIGHER(lanes_abs(q->low), lanes_abs(q->high)) <= tolerance_of(q));
}

/* As lanes_round, to multiples of `part`, a power of two. */
ALWAYS_INLINE lanes lanes_round_to(lanes x, float part)
{
    return (x + part * round_magic) - part * round_magic;
}

/* How far x * inverse - shift lies from a multiple of `part`. Compared as an integer, what is not a number is
 * larger than any distance. */
ALWAYS_INLINE flags distance(lanes x, lanes inverse, lanes shift, float part)
{
    lanes v = x * inverse - shift;
    return (flags)lanes_abs(v - lanes_round_to(v, part));
}

/* Of the lanes in `fits`, those whose least and largest value lie within `limit` of a multiple of `part`.
 * This rules out nearly all scales, before any other value is loaded. */
ALWAYS_INLINE flags ends_fit(const quantiser *q, flags fits, lanes inverse, lanes shift, float part,
                             lanes limit)
{
    flags low = distance(q->low, inverse, shift, part), high = distance(q->high, inverse, shift, part);
    return fits & (flags)(FLAGS_HIGHER(low, high) <= (flags)limit);
}

/* The same for all values. */
ALWAYS_INLINE flags values_fit(const quantiser *q, flags fits, lanes inverse, lanes shift, float part,
                               lanes limit)
{
    enum { FEW = 4 };
    for (int i = 0; i < q->n && ANY(fits);) {
        flags worst = {0};
        for (int end = i + FEW < q->n ? i + FEW : q->n; i < end; i++) {
            lanes x = lanes_load(q->x + (size_t)i * q->stride);
            worst = FLAGS_HIGHER(worst, distance(x, inverse, shift, part));
        }
        fits &= (flags)(worst <= (flags)limit);
    }
    return fits;
}

/*
 * The index of the largest scale, from `top` down, that a lane may lie on: its least and largest value are
 * within the tolerance of two multiples, which are at least one scale apart, unless they are within it of a
 * single one. The hundredth is far more than rounding.
 */
ALWAYS_INLINE flags largest_scale(const quantiser *q, lanes tolerance, int top)
{
    lanes range = q->high - q->low;
    flags index = lane_indices(1.01f * (range + 2 * tolerance));
    index = flags_pick((flags)(range > 2.02f * tolerance), index, (flags){0} + top);
    return flags_pick((flags)(index < top), index, (flags){0} + top);
}

/*
 * One step of lanes that look for a scale each. ends: of the open lanes, those whose ends fit. Lanes where
 * they do not go one down, as long as that is not below `last`; the others wait for them, so that all values
 * are looked at once and not for each lane. Returns the lanes that fit, which are open no longer.
 */
ALWAYS_INLINE flags step_down(const quantiser *q, flags *index, flags *open, flags ends, flags last,
                              lanes inverse, lanes shift, float part, lanes limit)
{
    flags fits = {0};
    if (!ANY(*open & ~ends)) {
        fits = values_fit(q, *open, inverse, shift, part, limit);
        *open &= ~fits;
        ends = (flags){0};
    }
    *index += *open & ~ends;
    *open &= (flags)(last <= *index);
    return fits;
}

/*
 * The largest scale, from `top` down, on whose multiples all values of a lane lie, within what rounding may
 * have done to them; -1 where there is none. Values that were decoded from codes are found again here, which
 * is why encoding them gives the same codes.
 */
static flags lattice(const quantiser *q, int top)
{
    lanes tolerance = tolerance_of(q);
    /* Half of the least scale that the search takes, see there. */
    flags first = lane_indices(HIGHER((q->high - q->low - 2 * tolerance) / q->levels, 1.5f * q->noise));
    /* Groups of zeros have a scale of their own. */
    flags found = flags_pick(zero_group(q), (flags){0}, (flags){0} - 1);
    flags index = largest_scale(q, tolerance, top);
    flags open = (flags)(found < 0) & (flags)(first <= index);
    while (ANY(open)) {
        lanes inverse = 1.0f / lane_scales(index), limit = LOWER(tolerance * inverse, lanes_all(0.2f));
        lanes least = lanes_round(q->low * inverse), most = lanes_round(q->high * inverse);
        flags fits = open & (flags)(most - least <= q->levels) & (flags)(least >= (float)ZERO_MIN) &
                     (flags)(least <= (float)ZERO_MAX);
        fits = ends_fit(q, fits, inverse, (lanes){0}, 1, limit);
        fits = step_down(q, &index, &open, fits, first, inverse, (lanes){0}, 1, limit);
        found = flags_pick(fits, index, found);
    }
    return found;
}

/* The least scale that the search may choose: finer steps would not survive the rounding of the decoded
 * row to f16. */
ALWAYS_INLINE lanes least_scale(const quantiser *q)
{
    return HIGHER(HIGHER(q->high / (float)ZERO_MAX, q->low / (float)ZERO_MIN), 3 * q->noise);
}

/* The codes nearest to v, values in steps of the scale. Lanes in `refined` were decoded with a refinement,
 * which lies from half a step below its code to less than half a step above it. */
ALWAYS_INLINE lanes nearest_codes(const quantiser *q, lanes v, flags refined)
{
    return lanes_round(lanes_pick(refined, lanes_round_to(v, q->part) + 0.5f * q->part, v));
}

/* The index of a scale that the search chose is at most so much above that which the range of the decoded
 * values asks for. */
enum { SLACK = 2 };

/* As `lattice`, for the lanes in `open`, whose values may be refined codes. Only scales that the search
 * may have chosen are tried, because a few values also lie on parts of much larger ones, by chance. */
static flags fine_lattice(const quantiser *q, flags open)
{
    lanes tolerance = tolerance_of(q), range = q->high - q->low;
    float reach = q->levels + 1 - q->part;
    flags first = lane_indices(HIGHER((range - 2 * tolerance) / reach, 1.5f * q->noise));
    flags last = lane_indices(HIGHER(range / q->levels, least_scale(q))) + SLACK;
    flags found = (flags){0} - 1;
    last = flags_pick((flags)(last < SCALES), last, (flags){0} + (SCALES - 1));
    open &= (flags)(first <= last);
    for (flags index = last, refined = open; ANY(open);) {
        lanes inverse = 1.0f / lane_scales(index);
        lanes limit = LOWER(tolerance * inverse, lanes_all(0.2f * q->part));
        lanes least = nearest_codes(q, q->low * inverse, refined),
              most = nearest_codes(q, q->high * inverse, refined);
        flags fits = open & (flags)(most - least <= q->levels) & (flags)(least >= (float)ZERO_MIN) &
                     (flags)(least <= (float)ZERO_MAX);
        fits = ends_fit(q, fits, inverse, (lanes){0}, q->part, limit);
        fits = step_down(q, &index, &open, fits, first, inverse, (lanes){0}, q->part, limit);
        found = flags_pick(fits, index, found);
    }
    return found;
}

/* How many scales below that of the range the search tries, by the bits of a code: without a refinement,
 * and with one. With one, values that are cut off cost more, so that fewer scales are worth a try. */
static const int search_depth[2][9] = {{0, 0, 6, 4, 3, 2, 1, 1, 1}, {0, 0, 3, 2, 2, 1, 1, 1, 1}};

/* The weight of an error that is left with the refinement. To cut the largest values off costs little in
 * the codes alone, but the refinement cannot reach them then. */
static const float fine_weight = 64;

/* Adds the errors, in steps of the scale, that one value has with three ranges of codes. v: the value in
 * steps. fine: also those of refined codes. */
ALWAYS_INLINE void add_errors(lanes v, const lanes low[3], float levels, float part, bool fine,
                              lanes error[3], lanes fine_error[3])
{
    lanes nearest = lanes_round(v), refined = lanes_round_to(v, part);
    UNROLL
    for (int s = 0; s < 3; s++) {
        lanes d = v - LOWER(HIGHER(nearest, low[s]), low[s] + levels);
        error[s] += d * d;
        if (fine) {
            lanes e = v - LOWER(HIGHER(refined, low[s] - 0.5f), low[s] + (levels + 0.5f - part));
            fine_error[s] += e * e;
        }
    }
}

/* Errors of three zero points so far, in steps, to weighted sums in squared values. False: none is less than
 * the best in any lane. As errors only grow, the rest of the values need not be looked at then. */
ALWAYS_INLINE bool weigh_errors(const lanes error[3], const lanes fine_error[3], lanes scale, lanes best,
                                lanes sum[3])
{
    flags better = {0};
    UNROLL
    for (int s = 0; s < 3; s++) {
        sum[s] = error[s] + fine_weight * fine_error[s];
        sum[s] = sum[s] * scale * scale;
        better |= (flags)(sum[s] < best);
    }
    return ANY(better);
}

/* Sums of the errors of a scale with three zero points, those of refined codes by their weight. */
ALWAYS_INLINE void sum_errors(const quantiser *q, lanes scale, const lanes zero[3], bool fine, lanes best,
                              lanes sum[3])
{
    lanes inverse = 1.0f / scale, error[3] = {{0}, {0}, {0}}, fine_error[3] = {{0}, {0}, {0}};
    for (int i = 0; i < q->n;) {
        for (int end = i + 16 < q->n ? i + 16 : q->n; i < end; i++) {
            lanes v = lanes_load(q->x + (size_t)i * q->stride) * inverse;
            add_errors(v, zero, q->levels, q->part, fine, error, fine_error);
        }
        if (!weigh_errors(error, fine_error, scale, best, sum)) {
            return;
        }
    }
}

/* The best of what a search has tried so far, lane by lane. */
typedef struct best_scale {
    lanes error, zero;
    flags index;
} best_scale;

/* How many scales below that of the range a search tries. */
ALWAYS_INLINE int search_steps(const quantiser *q, enum tada_search search)
{
    return search == TADA_SEARCH_MINMAX ? 0 : search_depth[q->fine_bits > 0][q->bits];
}

/* The index itself, or the nearest one from `least` to the largest scale. */
ALWAYS_INLINE flags index_within(flags index, flags least)
{
    index = flags_pick((flags)(index < least), least, index);
    return flags_pick((flags)(index < SCALES), index, (flags){0} + (SCALES - 1));
}

/* Takes one of three zero points where it is better. On a tie the one that was tried first stays. */
ALWAYS_INLINE void keep_best(best_scale *best, flags index, const lanes zero[3], const lanes error[3])
{
    for (int s = 0; s < 3; s++) {
        flags better = (flags)(error[s] < best->error);
        best->error = lanes_pick(better, error[s], best->error);
        best->index = flags_pick(better, index, best->index);
        best->zero = lanes_pick(better, zero[s], best->zero);
    }
}

/* Scale index and zero point of each lane with the least error among those near the range of its values. */
static best_scale search_scales(const quantiser *q, enum tada_search search)
{
    flags first = lane_indices((q->high - q->low) / q->levels);
    flags least = lane_indices(least_scale(q)), last = {0};
    best_scale best = {.error = lanes_all(INFINITY)};
    int steps = search_steps(q, search);
    for (int step = 1; step >= -steps; step--) {
        flags index = index_within(first + step, least);
        lanes scale = lane_scales(index), inverse = 1.0f / scale;
        if (step == 1) {
            /* For values that are not finite, whose errors are not less than anything. */
            best.index = index;
            best.zero = lanes_round(q->low / scale);
        } else if (!ANY((flags)(index != last))) {
            continue;
        }
        last = index;
        /* Centred on the range, then one level to either side. */
        lanes centre = lanes_round(0.5f * (q->low + q->high) * inverse - 0.5f * q->levels);
        lanes zero[3] = {centre, centre + 1.0f, centre - 1.0f},
              error[3] = {best.error, best.error, best.error};
        for (int s = 0; s < 3; s++) {
            /* This order leaves what is not a number as it is. */
            zero[s] = LOWER(lanes_all(ZERO_MAX), HIGHER(lanes_all(ZERO_MIN), zero[s]));
        }
        if (q->fine_bits) {
            sum_errors(q, scale, zero, true, best.error, error);
        } else {
            sum_errors(q, scale, zero, false, best.error, error);
        }
        keep_best(&best, index, zero, error);
    }
    return best;
}

/* The least code of a lane that its values need, in steps of the scale, less `phase` (quantise_narrow.h). */
ALWAYS_INLINE lanes least_code(const quantiser *q, lanes inverse, lanes phase, flags refined)
{
    lanes least = lanes_all(INFINITY);
    for (int i = 0; i < q->n; i++) {
        lanes v = lanes_load(q->x + (size_t)i * q->stride) * inverse - phase;
        least = LOWER(nearest_codes(q, v, refined), least);
    }
    return least;
}

/* How the codes of some lanes are written. */
typedef struct placing {
    lanes inverse, phase; /* values in steps: x * inverse - phase */
    lanes start, end;     /* of code 0, in such steps; the largest code */
    flags refined;        /* see nearest_codes */
    flags on_grid;        /* these lanes are exact without a refinement */
    flags zeros;          /* these have code `zero`, and lie on their grid */
    float zero;
} placing;

ALWAYS_INLINE void put_rows(const tada_block *b, int part, const quantiser *q, const placing *p)
{
    float most = (float)((1 << q->fine_bits) - 1), middle = 0.5f * q->parts;
    for (int i = 0; i < q->n; i++) {
        lanes v = lanes_load(q->x + (size_t)i * q->stride) * p->inverse - p->phase;
        lanes code = LOWER(HIGHER(nearest_codes(q, v, p->refined) - p->start, lanes_all(0)), p->end);
        if (q->fine_bits) {
            lanes fine = (lanes_round_to(v, q->part) - (code + p->start)) * q->parts + middle;
            fine = LOWER(HIGHER(fine, lanes_all(0)), lanes_all(most));
            lanes_store_bytes(lanes_pick(p->on_grid, lanes_all(middle), fine), b->fine + i * LANES + part);
        }
        lanes_store_bytes(lanes_pick(p->zeros, lanes_all(p->zero), code), b->codes + i * LANES + part);
    }
}

/* Writes the codes of PART lanes, and their refinement. */
static void put_codes(const tada_block *b, int part, const quantiser *q, placing p)
{
    /* Nearly all blocks have but one kind of lanes: then what tells the kinds apart is constant in the loop.
     */
    if (ANY(p.zeros) || (ANY(p.refined) && ANY(~p.refined))) {
        put_rows(b, part, q, &p);
        return;
    }
    p.zeros = (flags){0};
    if (ANY(p.refined)) {
        p.refined = ~(flags){0};
        p.on_grid = (flags){0};
        put_rows(b, part, q, &p);
    } else if (ANY(~p.on_grid)) {
        p.refined = (flags){0};
        put_rows(b, part, q, &p);
    } else {
        p.refined = (flags){0};
        p.on_grid = ~(flags){0};
        put_rows(b, part, q, &p);
    }
}

static void quantise_part(tada_block *b, int part, const quantiser *q, int top)
{
    flags index = lattice(q, top), on_grid = (flags)(index >= 0), lies = on_grid;
    lanes zero = {0};
    if (q->fine_bits && ANY(~lies)) {
        index = flags_pick(lies, index, fine_lattice(q, ~lies));
        lies = (flags)(index >= 0);
    }
    if (ANY(~lies)) {
        best_scale searched = search_scales(q, b->search);
        index = flags_pick(lies, index, searched.index);
        zero = searched.zero;
    }
    flags refined = lies & ~on_grid, zeros = zero_group(q);
    b->on_grid &= !ANY(~on_grid);
    lanes inverse = 1.0f / lane_scales(index);
    /* The zero point is the least multiple of the scale that occurs, so that it is found again in the decoded
     * values. */
    lanes least = least_code(q, inverse, (lanes){0}, refined);
    least = lanes_pick(lies | (flags)(least > zero), least, zero);
    /* Values that are not finite end up anywhere; the zero point must not leave its field. */
    least = LOWER(HIGHER(least, lanes_all(ZERO_MIN)), lanes_all(ZERO_MAX));
    least = lanes_pick(zeros, lanes_all(0), least);
    flags words = index << 9 | (__builtin_convertvector(least, flags) & 511);
    for (int l = 0; l < PART; l++) {
        b->meta[part + l] = (uint16_t)words[l];
    }
    /* From the zero point of the search on, or from the least value when that is higher. */
    lanes end = lanes_pick(lies, lanes_all(q->levels), zero + q->levels - least);
    /* Only values that are not finite get here with another limit than a code can hold. */
    end = HIGHER(LOWER(end, lanes_all(q->levels)), lanes_all(0));
    put_codes(b, part, q, (placing){inverse, {0}, least, end, refined, on_grid, zeros, 0});
}

/* For grid_only of tada_block: the largest code of each lane. */
static void grid_tops(tada_block *b, int part, const quantiser *q, int top)
{
    flags index = lattice(q, top), lies = (flags)(index >= 0);
    lanes inverse = lanes_pick(zero_group(q), lanes_all(0), 1.0f / lane_scales(index));
    lanes most = lanes_round(q->high * inverse) - lanes_round(q->low * inverse);
    flags tops = flags_pick(lies, __builtin_convertvector(lanes_pick(lies, most, lanes_all(0)), flags),
                            (flags){0} + TADA_NO_GRID);
    for (int l = 0; l < PART; l++) {
        b->meta[part + l] = (uint16_t)tops[l];
    }
}

#include "quantise_narrow.h"

static void quantise(tada_block *b)
{
    enum { PARTS = LANES / PART };
    quantiser parts[PARTS];
    float top = 0;
    b->on_grid = true;
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
                               b->fine_bits,
                               (float)((1 << b->bits) - 1),
                               1.0f / (float)(1 << b->fine_bits),
                               (float)(1 << b->fine_bits),
                               low,
                               high,
                               lanes_load(b->noise + p * PART)};
        for (int l = 0; l < PART; l++) {
            float size = fmaxf(fabsf(low[l]), fabsf(high[l]));
            top = size > top ? size : top;
        }
    }
    for (int p = 0; p < PARTS && b->grid_only; p++) {
        grid_tops(b, p * PART, &parts[p], scale_index(top));
    }
    if (b->grid_only) {
        return;
    }
    for (int p = 0; p < PARTS && !b->narrow; p++) {
        quantise_part(b, p * PART, &parts[p], scale_index(top));
    }
    for (int p = 0; p < PARTS && b->narrow; p++) {
        /* With phases of a half, a value may be half of its scale. */
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
