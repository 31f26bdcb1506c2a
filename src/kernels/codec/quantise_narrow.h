/* Scale words of 8 bits: a scale, and one of eight zero points about the middle of the codes. Elementwise,
 * as all of quantise.h, which includes it. */

/* The zero points of one width of codes, in steps of the scale: `step` is 0.5 or a whole number, a power of
 * two, so that it is exact to multiply by `per_step` instead of dividing by it. */
typedef struct zero_points {
    float first, last, step, per_step;
} zero_points;

ALWAYS_INLINE zero_points zero_points_of(int bits)
{
    float first = tada_zero_first(bits), step = tada_zero_step(bits);
    return (zero_points){first, first + (TADA_ZERO_POINTS - 1) * step, step, 1.0f / step};
}

/* The phase of a zero point: by which part of a step it, and so all values of its group, lie beside the
 * multiples of the scale, 0 or 0.5. */
ALWAYS_INLINE lanes phase_of(lanes zero)
{
    return zero - lanes_round(zero - 0.25f);
}

/* The largest zero point that is at most `least` and has its phase; the first one where there is none. */
ALWAYS_INLINE lanes zero_below(const zero_points *z, lanes least)
{
    bool halves = z->step < 1;
    float stride = halves ? 1.0f : z->step, per_stride = halves ? 1.0f : z->per_step;
    lanes first = lanes_all(z->first), last = lanes_all(z->last);
    if (halves) {
        flags same = (flags)(phase_of(least) == phase_of(first));
        first = lanes_pick(same, first, first + 0.5f);
        last = lanes_pick(same, last - 0.5f, last);
    }
    /* Rounded down: distances are multiples of 1 / stride. */
    lanes steps =
        lanes_round((LOWER(HIGHER(least, first), last) - first) * per_stride - (0.5f - 0.5f * per_stride));
    return first + stride * steps;
}

/* As `lattice`; also the phase of each lane. floor: least index. */
static flags narrow_lattice(const quantiser *q, const zero_points *z, int top, int floor, lanes *phase)
{
    /* With zero points between codes, the steps down are phases of 0 and 0.5 of each scale. */
    int phases = z->step < 1 ? 2 : 1;
    float fine = z->step < 1 ? z->step : 1;
    lanes tolerance = tolerance_of(q);
    flags first =
        lane_indices(HIGHER((q->high - q->low - 2 * tolerance) / q->levels, 1.5f / fine * q->noise));
    first = flags_pick((flags)(first < floor), (flags){0} + floor, first) * phases;
    /* A group of zeros has a word of its own. */
    flags found = flags_pick(zero_group(q), (flags){0}, (flags){0} - 1);
    flags step = largest_scale(q, tolerance, top) * phases + (phases - 1);
    flags open = (flags)(found < 0) & (flags)(first <= step);
    while (ANY(open)) {
        flags index = step >> (phases - 1);
        lanes shift = __builtin_convertvector((flags)((index + 1) * phases - 1 - step), lanes) * fine;
        lanes inverse = 1.0f / lane_scales(index), limit = LOWER(tolerance * inverse, lanes_all(0.2f * fine));
        flags fits = ends_fit(q, open, inverse, shift, 1, limit);
        if (ANY(fits)) {
            lanes least = lanes_round(q->low * inverse - shift) + shift;
            lanes most = lanes_round(q->high * inverse - shift) + shift, zero = zero_below(z, least);
            fits &= (flags)(most - zero <= q->levels) & (flags)(zero <= least);
        }
        fits = step_down(q, &step, &open, fits, first, inverse, shift, 1, limit);
        found = flags_pick(fits, index, found);
        *phase = lanes_pick(fits, shift, *phase);
    }
    return found;
}

/* The index of the scale that the search starts from: that of the range of values, or one whose zero
 * points reach them. */
ALWAYS_INLINE flags narrow_first(const quantiser *q, const zero_points *z)
{
    float end = z->last + q->levels;
    return lane_indices(HIGHER((q->high - q->low) / q->levels, HIGHER(q->high / end, q->low / z->first)));
}

/* The index of the least scale that it takes. */
ALWAYS_INLINE flags narrow_least(const quantiser *q, const zero_points *z, int floor)
{
    flags least = lane_indices(3.0f / (z->step < 1 ? z->step : 1) * q->noise);
    return flags_pick((flags)(least < floor), (flags){0} + floor, least);
}

/* Codes centred on the range, then zero points to either side. */
ALWAYS_INLINE void three_zeros(const quantiser *q, const zero_points *z, lanes inverse, lanes zero[3])
{
    float middle = 0.5f * q->levels + z->first;
    lanes number = lanes_round((0.5f * (q->low + q->high) * inverse - middle) * z->per_step);
    for (int s = 0; s < 3; s++) {
        lanes other = number + (s == 0 ? 0.0f : s == 1 ? 1.0f : -1.0f);
        other = LOWER(HIGHER(other, lanes_all(0)), lanes_all((float)(TADA_ZERO_POINTS - 1)));
        zero[s] = z->first + z->step * other;
    }
}

/* As `sum_errors`. The error of the codes is that of the refined values, so that the same zero point is the
 * best when those come back. */
ALWAYS_INLINE void sum_narrow_errors(const quantiser *q, lanes scale, const lanes zero[3], bool fine,
                                     lanes best, lanes sum[3])
{
    lanes inverse = 1.0f / scale, error[3] = {{0}, {0}, {0}}, fine_error[3] = {{0}, {0}, {0}};
    for (int i = 0; i < q->n;) {
        for (int end = i + 16 < q->n ? i + 16 : q->n; i < end; i++) {
            lanes v = lanes_load(q->x + (size_t)i * q->stride) * inverse,
                  refined = lanes_round_to(v, q->part);
            UNROLL
            for (int s = 0; s < 3; s++) {
                lanes code = v - zero[s];
                lanes d = LOWER(HIGHER(lanes_round(code), lanes_all(0)), lanes_all(q->levels));
                if (fine) {
                    lanes limit = zero[s] + (q->levels + 0.5f - q->part);
                    lanes e = v - LOWER(HIGHER(refined, zero[s] - 0.5f), limit), r = refined - zero[s] - d;
                    fine_error[s] += e * e;
                    d = LOWER(HIGHER(r, lanes_all(-0.5f)), lanes_all(0.5f - q->part));
                } else {
                    d = code - d;
                }
                error[s] += d * d;
            }
        }
        if (!weigh_errors(error, fine_error, scale, best, sum)) {
            return;
        }
    }
}

/* As `search_scales`. */
static best_scale narrow_search(const quantiser *q, const zero_points *z, enum tada_search search, int floor)
{
    flags first = narrow_first(q, z), least = narrow_least(q, z, floor), last = {0};
    best_scale best = {.error = lanes_all(INFINITY)};
    int steps = search_steps(q, search);
    for (int step = 1; step >= -steps; step--) {
        flags index = index_within(first + step, least);
        if (step == 1) {
            /* For values that are not finite, whose errors are not less than anything. */
            best.index = index;
            best.zero = lanes_all(z->first);
        } else if (!ANY((flags)(index != last))) {
            continue;
        }
        last = index;
        lanes scale = lane_scales(index), inverse = 1.0f / scale;
        lanes zero[3], error[3] = {best.error, best.error, best.error};
        three_zeros(q, z, inverse, zero);
        if (q->fine_bits) {
            sum_narrow_errors(q, scale, zero, true, best.error, error);
        } else {
            sum_narrow_errors(q, scale, zero, false, best.error, error);
        }
        keep_best(&best, index, zero, error);
    }
    return best;
}

/* The zero point of refined codes that the search would take: of those that reach all values, that of the
 * least error. index: of the scale. */
static lanes refined_zero(const quantiser *q, const zero_points *z, flags index)
{
    lanes inverse = 1.0f / lane_scales(index), best = lanes_all(INFINITY), zero[3],
          error[3] = {{0}, {0}, {0}};
    lanes found = lanes_all(z->first), low = lanes_round_to(q->low * inverse, q->part);
    lanes high = lanes_round_to(q->high * inverse, q->part);
    three_zeros(q, z, inverse, zero);
    for (int i = 0; i < q->n; i++) {
        lanes refined = lanes_round_to(lanes_load(q->x + (size_t)i * q->stride) * inverse, q->part);
        UNROLL
        for (int s = 0; s < 3; s++) {
            lanes code = refined - zero[s], d = code - lanes_round(code + 0.5f * q->part);
            error[s] += d * d;
        }
    }
    for (int s = 0; s < 3; s++) {
        flags better = (flags)(error[s] < best) & (flags)(low - zero[s] >= -0.5f) &
                       (flags)(high - zero[s] <= q->levels + 0.5f - q->part);
        best = lanes_pick(better, error[s], best);
        found = lanes_pick(better, zero[s], found);
    }
    return found;
}

/* As `fine_lattice`; also the zero point of each lane. */
static flags narrow_fine_lattice(const quantiser *q, const zero_points *z, int floor, flags open, lanes *zero)
{
    float fine = z->step < 1 ? z->step : 1, reach = q->levels + 0.5f - q->part, part = q->part * z->per_step;
    lanes tolerance = tolerance_of(q);
    flags first = lane_indices(
        HIGHER((q->high - q->low - 2 * tolerance) / (q->levels + 1 - q->part), 1.5f / fine * q->noise));
    flags last = narrow_first(q, z), least = narrow_least(q, z, floor), found = (flags){0} - 1;
    first = flags_pick((flags)(first < floor), (flags){0} + floor, first);
    last = flags_pick((flags)(last < least), least, last) + SLACK;
    last = flags_pick((flags)(last < SCALES), last, (flags){0} + (SCALES - 1));
    open &= (flags)(first <= last);
    for (flags index = last; ANY(open);) {
        lanes inverse = 1.0f / lane_scales(index);
        lanes limit = LOWER(tolerance * inverse, lanes_all(0.2f * q->part));
        flags fits = ends_fit(q, open, inverse, (lanes){0}, q->part, limit);
        if (ANY(fits)) {
            lanes low = lanes_round_to(q->low * inverse, q->part),
                  high = lanes_round_to(q->high * inverse, q->part);
            /* The largest zero point from which the least value is reached. */
            lanes number =
                lanes_round((low + 0.5f - z->first) * z->per_step - (0.5f - 0.5f * (part < 1 ? part : 1)));
            number = LOWER(number, lanes_all((float)(TADA_ZERO_POINTS - 1)));
            fits &= (flags)(number >= 0) & (flags)(high - (z->first + z->step * number) <= reach);
        }
        fits = step_down(q, &index, &open, fits, first, inverse, (lanes){0}, q->part, limit);
        found = flags_pick(fits, index, found);
    }
    flags lies = (flags)(found >= 0);
    if (ANY(lies)) {
        *zero = lanes_pick(lies, refined_zero(q, z, flags_pick(lies, found, (flags){0})), *zero);
    }
    return found;
}

static void quantise_narrow(tada_block *b, int part, const quantiser *q, int top)
{
    zero_points z = zero_points_of(q->bits);
    flags zeros = zero_group(q);
    lanes phase = {0}, zero = lanes_all(z.first);
    flags index = narrow_lattice(q, &z, top, b->floor, &phase), on_grid = (flags)(index >= 0), lies = on_grid;
    if (q->fine_bits && ANY(~lies)) {
        index = flags_pick(lies, index, narrow_fine_lattice(q, &z, b->floor, ~lies, &zero));
        lies = (flags)(index >= 0);
    }
    if (ANY(~lies)) {
        best_scale searched = narrow_search(q, &z, b->search, b->floor);
        index = flags_pick(lies, index, searched.index);
        zero = lanes_pick(lies, zero, searched.zero);
    }
    flags refined = lies & ~on_grid;
    b->on_grid &= !ANY(~on_grid);
    phase = lanes_pick(on_grid, phase, phase_of(zero));
    lanes inverse = 1.0f / lane_scales(index), least = least_code(q, inverse, phase, refined);
    /* The largest zero point that leaves all values their codes, so that it is found again in the decoded
     * ones. */
    least = lanes_pick(lies, least + phase, HIGHER(least + phase, zero));
    lanes start = zero_below(&z, least);
    lanes end = lanes_pick(lies, lanes_all(q->levels), zero + q->levels - start);
    /* Only values that are not finite get here with another limit than a code can hold. */
    end = HIGHER(LOWER(end, lanes_all(q->levels)), lanes_all(0));
    flags words = index * TADA_ZERO_POINTS + __builtin_convertvector((start - z.first) * z.per_step, flags);
    words = flags_pick(zeros, (flags){0} + TADA_ZERO_GROUP, words);
    for (int l = 0; l < PART; l++) {
        b->meta[part + l] = (uint16_t)words[l];
    }
    /* A group of zeros has the code of zero, with a zero point of its own. */
    float middle = (float)(1 << (q->bits - 1));
    put_codes(b, part, q, (placing){inverse, phase, start - phase, end, refined, on_grid, zeros, middle});
}

static void factors_narrow(const uint8_t *words, int base, int bits, int n, float *scale, float *offset)
{
    float first = tada_zero_first(bits), step = tada_zero_step(bits);
    for (int i = 0; i < n; i++) {
        int index = base - words[i] / TADA_ZERO_POINTS;
        float s = scale_value(index > 0 ? index : 0);
        scale[i] = s;
        offset[i] = s * (first + step * (float)(words[i] % TADA_ZERO_POINTS));
    }
}
