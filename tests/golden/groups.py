"""Groups of values that share a word: the words, codes and refinement that doc/reference/format.md gives them."""

import math
import struct

from decode import f32, f32_of, half, halves, scale_value, zero_points

SCALES = [scale_value(i) for i in range(128)]
INVERSES = f32([1 / s for s in SCALES])
FINER = [{2: 6, 3: 4, 4: 3, 5: 2, 6: 1, 8: 1}, {2: 3, 3: 2, 4: 2, 5: 1, 6: 1, 8: 1}]
WEIGHT = 64
RELATIVE = 2.0**-11 * 258 / 256
LIMIT = f32_of(0.2)
NARROWER = f32_of(0.045)


def index_of(y):
    """The least index whose scale is at least y."""
    for i, scale in enumerate(SCALES):
        if scale >= y:
            return i
    return 127


def clamp(x, low, high):
    return max(low, min(high, x))


def round_to(x, part):
    """The nearest multiple of a power of two; of equals that of the even number."""
    return round(x / part) * part


def code_of(v, part, refined):
    """The nearest code of a value in steps; a refined one lies from a half below its code to less above it."""
    return round(round_to(v, part) + 0.5 * part) if refined else round(v)


def fine_of(v, code, part, whole):
    """The refinement of a value in steps that has a code."""
    if part == 1 or whole:
        return int(0.5 / part)
    return int(clamp((round_to(v, part) - code) / part + 0.5 / part, 0, 1 / part - 1))


class Group:
    """Values with one word, and what they have in common."""

    def __init__(self, x, noise):
        self.x = x
        self.noise = noise
        self.low = min(x)
        self.high = max(x)
        self.size = max(abs(self.low), abs(self.high))
        self.range = f32_of(self.high - self.low)
        self.tolerance = f32_of(f32_of(f32_of(RELATIVE * self.size) + 2.0**-25) + noise)
        self.zero = self.size <= self.tolerance

    def fits(self, i, phase, part, limit):
        """Whether all values, in steps of a scale and from a phase on, lie near multiples of a part of it."""
        limit = min(f32_of(self.tolerance * INVERSES[i]), limit)
        v = f32([a - phase for a in self.multiples(i)[0]])
        return all(abs(f32_of(a - round_to(a, part))) <= limit for a in v)

    def multiples(self, i):
        """The values in steps of a scale, before and after they are rounded to integers."""
        inverse = INVERSES[i]
        v = f32([x * inverse for x in self.x])
        return v, [round(a) for a in v]


# ---- 3 and 4: words of 16 bits ----


def fitting_scale(group, levels, top):
    """The index of the largest scale on whose multiples all values lie, or None."""
    span = f32_of(group.range - 2 * group.tolerance)
    least = index_of(max(f32_of(span / levels), f32_of(1.5 * group.noise)))
    for i in range(index_of(top), least - 1, -1):
        low, high = round(f32_of(group.low * INVERSES[i])), round(f32_of(group.high * INVERSES[i]))
        if high - low <= levels and -256 <= low <= 255 and group.fits(i, 0.0, 1, LIMIT):
            return i
    return None


def fitting_parts(group, levels, part):
    """The same of the scales that the search may have taken, on multiples of whose parts they lie."""
    span = f32_of(group.range - 2 * group.tolerance)
    least = index_of(max(f32_of(span / (levels + 1 - part)), f32_of(1.5 * group.noise)))
    extent = max(f32_of(group.high / 255), f32_of(group.low / -256), f32_of(3 * group.noise))
    most = index_of(max(f32_of(group.range / levels), extent)) + 2
    for i in range(min(127, most), least - 1, -1):
        low, high = (code_of(f32_of(x * INVERSES[i]), part, True) for x in (group.low, group.high))
        if high - low <= levels and -256 <= low <= 255 and group.fits(i, 0.0, part, LIMIT * part):
            return i
    return None


def error_of(v, zero, levels, part, scale, of_codes):
    """The error to minimise of values in steps; that of the codes comes as given."""
    error = total_of_squares(of_codes)
    if part < 1:
        reached = [clamp(round_to(a, part), zero - 0.5, zero + levels + 0.5 - part) for a in v]
        fine = total_of_squares(f32([a - b for a, b in zip(v, reached)]))
        error = f32_of(error + f32_of(WEIGHT * fine))
    return f32_of(f32_of(error * scale) * scale)


def total_of_squares(d):
    total = 0.0
    for square in f32([a * a for a in d]):
        total = f32_of(total + square)
    return total


def search(g, group, bits, part):
    """Index and zero point of the least error."""
    levels = (1 << bits) - 1
    start = index_of(f32_of(group.range / levels))
    least = index_of(max(f32_of(group.high / 255), f32_of(group.low / -256), f32_of(3 * group.noise)))
    best, found, tried = math.inf, None, set()
    middle = f32_of(0.5 * f32_of(group.low + group.high))
    for step in range(1, -(FINER[part < 1][bits] if g.minimises else 0) - 1, -1):
        i = min(127, max(0, start + step, least))
        v, n = group.multiples(i)
        for shift in (0, 1, -1):
            zero = round(f32_of(f32_of(middle * INVERSES[i]) - 0.5 * levels))
            zero = clamp(zero + shift, -256, 255)
            if (i, zero) in tried:
                continue
            tried.add((i, zero))
            d = f32([a - clamp(b, zero, zero + levels) for a, b in zip(v, n)])
            error = error_of(v, zero, levels, part, SCALES[i], d)
            if error < best:
                best, found = error, (i, zero)
    return found


def quantise16(g, group, bits, top):
    """Word, codes and refinement of a group, and whether that is the middle throughout."""
    levels = (1 << bits) - 1
    part = 1 / (1 << g.fine_used(bits))
    if group.zero:
        return struct.pack("<H", 0), [0] * len(group.x), [int(0.5 / part)] * len(group.x), True
    i = fitting_scale(group, levels, top)
    whole, refined = i is not None, False
    if not whole and part < 1:
        i = fitting_parts(group, levels, part)
        refined = i is not None
    if i is None:
        i, wanted = search(g, group, bits, part)
    v = group.multiples(i)[0]
    n = [code_of(a, part, refined) for a in v]
    zero, most = min(n), levels
    if not whole and not refined:
        zero = clamp(max(min(n), wanted), -256, 255)
        most = wanted + levels - zero
    codes = [clamp(a - zero, 0, most) for a in n]
    fine = [fine_of(a, q + zero, part, whole) for a, q in zip(v, codes)]
    return struct.pack("<H", i << 9 | zero & 511), codes, fine, whole


# ---- words of 8 bits ----


class Zeros:
    """The zero points of a width."""

    def __init__(self, bits):
        self.all = zero_points(bits)
        self.step = self.all[1] - self.all[0]
        self.fine = min(1.0, self.step)

    def below(self, least):
        """The largest one, of those a whole number of steps of the scale away, that is not above `least`."""
        return max((z for z in self.all if z <= least and (least - z) % 1 == 0), default=None)


def fitting_narrow(group, levels, zeros, top, floor):
    """Index and phase of the largest scale that the values lie on, or None."""
    span = f32_of(group.range - 2 * group.tolerance)
    least = index_of(max(f32_of(span / levels), f32_of(1.5 / zeros.fine * group.noise)))
    for i in range(index_of(f32_of(top / zeros.fine)), max(least, floor) - 1, -1):
        for phase in (0.0, 0.5) if zeros.step < 1 else (0.0,):
            low, high = (round(f32_of(f32_of(x * INVERSES[i]) - phase)) + phase for x in (group.low, group.high))
            zero = zeros.below(low)
            if zero is not None and high - zero <= levels:
                if group.fits(i, phase, 1, f32_of(LIMIT * zeros.fine)):
                    return i, phase
    return None


def narrow_range(group, levels, zeros, floor):
    """Where the search starts, and its least index."""
    ends = max(f32_of(group.high / (zeros.all[-1] + levels)), f32_of(group.low / zeros.all[0]))
    start = index_of(max(f32_of(group.range / levels), ends))
    return start, max(floor, index_of(f32_of(3 / zeros.fine * group.noise)))


def three_zeros(group, i, levels, zeros):
    """The zero points that the search tries with a scale."""
    middle = f32_of(0.5 * f32_of(group.low + group.high))
    wanted = f32_of(f32_of(middle * INVERSES[i]) - (0.5 * levels + zeros.all[0])) / zeros.step
    return [zeros.all[clamp(round(wanted) + shift, 0, 7)] for shift in (0, 1, -1)]


def fitting_narrow_parts(group, levels, zeros, floor, part):
    """Index and zero point of the largest scale on multiples of whose parts the values lie, or None."""
    span = f32_of(group.range - 2 * group.tolerance)
    least = index_of(max(f32_of(span / (levels + 1 - part)), f32_of(1.5 / zeros.fine * group.noise)))
    reach = levels + 0.5 - part
    for i in range(min(127, max(narrow_range(group, levels, zeros, floor)) + 2), max(least, floor) - 1, -1):
        low, high = (round_to(f32_of(x * INVERSES[i]), part) for x in (group.low, group.high))
        reached = [z for z in zeros.all if z <= low + 0.5]
        if not reached or high - reached[-1] > reach or not group.fits(i, 0.0, part, LIMIT * part):
            continue
        best, found = math.inf, None
        for zero in three_zeros(group, i, levels, zeros):
            y = [round_to(a, part) - zero for a in group.multiples(i)[0]]
            error = sum((a - round(a + 0.5 * part)) ** 2 for a in y)
            if low - zero >= -0.5 and high - zero <= reach and error < best:
                best, found = error, zero
        return i, found
    return None


def search_narrow(g, group, levels, zeros, floor, part):
    """Index and zero point of the least error."""
    start, least = narrow_range(group, levels, zeros, floor)
    best, found = math.inf, None
    for step in range(1, -(FINER[part < 1][g.bits] if g.minimises else 0) - 1, -1):
        i = min(127, max(start + step, least))
        v = group.multiples(i)[0]
        for zero in three_zeros(group, i, levels, zeros):
            codes = f32([a - zero for a in v])
            near = [clamp(round(a), 0, levels) for a in codes]
            if part < 1:
                d = [clamp(round_to(a, part) - zero - n, -0.5, 0.5 - part) for a, n in zip(v, near)]
            else:
                d = f32([a - n for a, n in zip(codes, near)])
            error = error_of(v, zero, levels, part, SCALES[i], d)
            if error < best:
                best, found = error, (i, zero)
    return found


def quantise8(g, group, top, floor):
    """Index (None: a group of zeros), number of the zero point, codes, refinement, whether that is the middle."""
    levels = (1 << g.bits) - 1
    zeros = Zeros(g.bits)
    part = 1 / (1 << g.fine_used(g.bits))
    if group.zero:
        return None, 3, [1 << g.bits - 1] * len(group.x), [int(0.5 / part)] * len(group.x), True
    fit = fitting_narrow(group, levels, zeros, top, floor)
    whole, parts = fit is not None, None
    if whole:
        i, phase = fit
    else:
        parts = fitting_narrow_parts(group, levels, zeros, floor, part) if part < 1 else None
        i, wanted = parts or search_narrow(g, group, levels, zeros, floor, part)
        phase = wanted % 1
    v = f32([a - phase for a in group.multiples(i)[0]])
    n = [code_of(a, part, parts is not None) for a in v]
    least, most = min(n) + phase, levels
    if whole or parts:
        zero = zeros.below(least)
    else:
        zero = zeros.below(max(least, wanted))
        most = wanted + levels - zero
    codes = [round(clamp(a + phase - zero, 0, most)) for a in n]
    fine = [fine_of(a, q + zero - phase, part, whole) for a, q in zip(v, codes)]
    return i, zeros.all.index(zero), codes, fine, whole


def quantise_narrow(g, sides, tile):
    """Words and bases of all groups; yields their places, codes and refinement, and whether that is the middle."""
    units = {}
    for side in sides:
        units.setdefault(side[0][0][0][1] // g.unit, []).append(side)
    for unit, of_unit in units.items():
        for floor in (0, None):
            if floor is None:
                floor = max(0, base - 31)
            done = []
            for side in of_unit:
                top = max(group.size for _, group in side)
                done += [(places, quantise8(g, group, top, floor)) for places, group in side]
            base = max((one[0] for _, one in done if one[0] is not None), default=0)
        tile[unit * g.record + g.base_at] = base
        for places, (i, number, codes, fine, whole) in done:
            tile[g.word_at(*places[0])] = (31 if i is None else base - i) << 3 | number
            yield places, codes, fine, whole


# ---- words of 32 bits ----


def finite_half(value):
    """The bits of a value that is rounded to f16, or those of the largest."""
    bits = half(value)
    return bits - (bits & 0x7FFF == 0x7C00)


def sum_of_squares(d, enough):
    """In ascending order; as it never falls, the rest does not matter once it has reached `enough`."""
    total = 0.0
    for square in f32([a * a for a in d]):
        total = f32_of(total + square)
        if total >= enough:
            break
    return total


def quantise32(g, group):
    levels = (1 << g.bits) - 1
    best, found = math.inf, None
    for k in range(12 if g.minimises else 1):
        narrower = f32_of(1 - f32_of(NARROWER * k))
        extent = f32_of(f32_of(f32_of(group.high - group.low) / 2) * narrower)
        middle = f32_of(f32_of(group.low + group.high) / 2)
        word = struct.pack("<2H", finite_half(f32_of(2 * extent / levels)), finite_half(f32_of(middle - extent)))
        scale, zero = halves(word)
        inverse = f32_of(1 / scale) if scale else 0.0
        v = f32([x - zero for x in group.x])
        codes = [clamp(round(a), 0, levels) for a in f32([a * inverse for a in v])]
        near = f32([zero + y for y in f32([scale * q for q in codes])])
        error = sum_of_squares(f32([x - y for x, y in zip(group.x, near)]), best)
        if found is None or error < best:
            best, found = error, (word, codes, codes, False)
    return found
