/* Words of 8 bits: scales and one of eight zero points about the middle of the codes. Elementwise, as all of
 * codec_template.h, which includes it. */

/* Zero points whose distance is whole; with a distance of a half, those of a lane's phase. */
typedef struct zero_points {
    float first, last, step;
} zero_points;

ALWAYS_INLINE zero_points zero_points_of(int bits)
{
    float first = tada_zero_first(bits), step = tada_zero_step(bits);
    return (zero_points){first, first + (TADA_ZERO_POINTS - 1) * step, step};
}

/* The part of a step by which the zero point, and so all values, lie beside the multiples: 0 or a half. */
ALWAYS_INLINE lanes phase_of(lanes zero)
{
    return zero - lanes_round(zero - 0.25f);
}

/* The largest zero point that is not above `least`, of the phase of that; a lane with none gets the first. */
ALWAYS_INLINE lanes zero_below(const zero_points *z, lanes least)
{
    bool halves = z->step < 1;
    float stride = halves ? 1.0f : z->step;
    lanes first = lanes_all(z->first), last = lanes_all(z->last);
    if (halves) {
        flags same = (flags)(phase_of(least) == phase_of(first));
        first = lanes_pick(same, first, first + 0.5f);
        last = lanes_pick(same, last - 0.5f, last);
    }
    /* Rounded down: distances are multiples of 1 / stride. */
    lanes steps = lanes_round((LOWER(HIGHER(least, first), last) - first) / stride - (0.5f - 0.5f / stride));
    return first + stride * steps;
}

/* As `lattice`; also the phase of each lane. floor: least index. */
static flags narrow_lattice(const quantiser *q, const zero_points *z, int top, int floor, lanes *phase)
{
    enum { FEW = 4 };
    float fine = z->step < 1 ? z->step : 1;
    lanes size = HIGHER(lanes_abs(q->low), lanes_abs(q->high));
    lanes tolerance = 0x1.02p-11f * size + 0x1p-25f + q->noise;
    flags first =
        lane_indices(HIGHER((q->high - q->low - 2 * tolerance) / q->levels, 1.5f / fine * q->noise));
    first = flags_pick((flags)(first < floor), (flags){0} + floor, first);
    /* Groups of zeros are none of this. */
    flags found = flags_pick((flags)(size <= tolerance), (flags){0}, (flags){0} - 1);
    for (int index = top; ANY((flags)(found < 0) & (flags)(first <= index)); index--) {
        float inverse = 1.0f / scale_value(index);
        lanes limit = LOWER(tolerance * inverse, lanes_all(0.2f * fine));
        for (float shift = 0; shift < 1; shift += fine) {
            lanes least = lanes_round(q->low * inverse - shift) + shift;
            lanes most = lanes_round(q->high * inverse - shift) + shift, zero = zero_below(z, least);
            flags fits = (flags)(found < 0) & (flags)(first <= index) & (flags)(most - zero <= q->levels) &
                         (flags)(zero <= least);
            for (int i = 0; i < q->n && ANY(fits);) {
                flags worst = {0};
                for (int end = i + FEW < q->n ? i + FEW : q->n; i < end; i++) {
                    lanes v = lanes_load(q->x + (size_t)i * q->stride) * inverse - shift;
                    worst = FLAGS_HIGHER(worst, (flags)lanes_abs(v - lanes_round(v)));
                }
                fits &= (flags)(worst <= (flags)limit);
            }
            found = flags_pick(fits, (flags){0} + index, found);
            *phase = lanes_pick(fits, lanes_all(shift), *phase);
        }
    }
    return found;
}

/* As `search_scales`. */
static void narrow_search(const quantiser *q, const zero_points *z, enum tada_search search, int floor,
                          flags *best_index, lanes *best_zero)
{
    float fine = z->step < 1 ? z->step : 1, end = z->last + q->levels, middle = 0.5f * q->levels + z->first;
    lanes extent = HIGHER((q->high - q->low) / q->levels, HIGHER(q->high / end, q->low / z->first));
    flags first = lane_indices(extent), least = lane_indices(3.0f / fine * q->noise), last = {0};
    least = flags_pick((flags)(least < floor), (flags){0} + floor, least);
    lanes best = lanes_all(INFINITY);
    int steps = search == TADA_SEARCH_MINMAX ? 0 : search_depth[q->bits];
    for (int step = 1; step >= -steps; step--) {
        flags index = first + step;
        index = flags_pick((flags)(index < least), least, index);
        index = flags_pick((flags)(index < SCALES), index, (flags){0} + (SCALES - 1));
        if (step == 1) {
            /* For values that are not finite, whose errors are not less than anything. */
            *best_index = index;
            *best_zero = lanes_all(z->first);
        } else if (!ANY((flags)(index != last))) {
            continue;
        }
        last = index;
        lanes scale = lane_scales(index), inverse = 1.0f / scale;
        /* Codes centred on the range, then zero points to either side. */
        lanes number = lanes_round((0.5f * (q->low + q->high) * inverse - middle) / z->step);
        lanes numbers[3] = {number, number + 1.0f, number - 1.0f}, zero[3], error[3] = {{0}, {0}, {0}};
        for (int s = 0; s < 3; s++) {
            numbers[s] = LOWER(HIGHER(numbers[s], lanes_all(0)), lanes_all((float)(TADA_ZERO_POINTS - 1)));
            zero[s] = z->first + z->step * numbers[s];
        }
        for (int i = 0; i < q->n; i++) {
            lanes v = lanes_load(q->x + (size_t)i * q->stride) * inverse;
            UNROLL
            for (int s = 0; s < 3; s++) {
                lanes code = v - zero[s];
                lanes d = code - LOWER(HIGHER(lanes_round(code), lanes_all(0)), lanes_all(q->levels));
                error[s] += d * d;
            }
        }
        for (int s = 0; s < 3; s++) {
            error[s] = error[s] * scale * scale;
            flags better = (flags)(error[s] < best);
            best = lanes_pick(better, error[s], best);
            *best_index = flags_pick(better, index, *best_index);
            *best_zero = lanes_pick(better, zero[s], *best_zero);
        }
    }
}

static void quantise_narrow(tada_block *b, int part, const quantiser *q, int top)
{
    zero_points z = zero_points_of(q->bits);
    lanes size = HIGHER(lanes_abs(q->low), lanes_abs(q->high));
    flags zeros = (flags)(size <= 0x1.02p-11f * size + 0x1p-25f + q->noise);
    lanes phase = {0}, zero = lanes_all(z.first);
    flags index = narrow_lattice(q, &z, top, b->floor, &phase), lies = (flags)(index >= 0);
    if (ANY(~lies)) {
        flags searched = {0};
        narrow_search(q, &z, b->search, b->floor, &searched, &zero);
        index = flags_pick(lies, index, searched);
        phase = lanes_pick(lies, phase, phase_of(zero));
    }
    lanes inverse = 1.0f / lane_scales(index), least = lanes_all(INFINITY);
    for (int i = 0; i < q->n; i++) {
        lanes v = lanes_load(q->x + (size_t)i * q->stride) * inverse - phase;
        least = LOWER(lanes_round(v), least);
    }
    /* The largest zero point that leaves all values their codes, so that it is found again in the decoded
     * ones. */
    least = lanes_pick(lies, least + phase, HIGHER(least + phase, zero));
    lanes start = zero_below(&z, least);
    lanes end = lanes_pick(lies, lanes_all(q->levels), zero + q->levels - start);
    /* Only values that are not finite get here with another limit than a code can hold. */
    end = HIGHER(LOWER(end, lanes_all(q->levels)), lanes_all(0));
    flags words = index * TADA_ZERO_POINTS + __builtin_convertvector((start - z.first) / z.step, flags);
    words = flags_pick(zeros, (flags){0} + TADA_ZERO_GROUP, words);
    for (int l = 0; l < PART; l++) {
        b->meta[part + l] = (uint16_t)words[l];
    }
    for (int i = 0; i < q->n; i++) {
        lanes code =
            lanes_round(lanes_load(q->x + (size_t)i * q->stride) * inverse - phase) - (start - phase);
        code = LOWER(HIGHER(code, lanes_all(0)), end);
        /* That of zero, with the zero point of a group of zeros. */
        code = lanes_pick(zeros, lanes_all((float)(1 << (q->bits - 1))), code);
        lanes_store_bytes(code, b->codes + i * LANES + part);
    }
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
