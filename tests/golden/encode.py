"""The encoder that doc/format.md describes; it shares nothing with the library.

decode.py says how binary32 comes about. Lists are rounded at once, an operation each.
"""

import math
import struct

from decode import (
    CELLS,
    HEADS16,
    NONE,
    SPAN,
    TOKENS,
    decode,
    f32,
    f32_of,
    hadamard,
    half,
    half_byte,
    halves,
    planes,
    scale_value,
    sections,
    zero_points,
)

SCALES = [scale_value(i) for i in range(128)]
INVERSES = f32([1 / s for s in SCALES])
FINER = {2: 6, 3: 4, 4: 3, 5: 2, 6: 1, 8: 1}
RELATIVE = 2.0**-11 * 258 / 256
NOISE = 3 * 2.0**-12
LIMIT = f32_of(0.2)
NARROWER = f32_of(0.045)
LESS = {1: f32_of(0.35), 2: f32_of(0.1225)}


def index_of(y):
    """The least index whose scale is at least y."""
    for i, scale in enumerate(SCALES):
        if scale >= y:
            return i
    return 127


def clamp(x, low, high):
    return max(low, min(high, x))


class Group:
    """Values with one word, and what they have in common."""

    def __init__(self, x, noise):
        self.x = x
        self.noise = noise
        self.low = min(x)
        self.high = max(x)
        self.size = max(abs(self.low), abs(self.high))
        self.tolerance = f32_of(f32_of(f32_of(RELATIVE * self.size) + 2.0**-25) + noise)

    def multiples(self, i):
        """The values in steps of a scale, before and after they are rounded to integers."""
        inverse = INVERSES[i]
        v = f32([x * inverse for x in self.x])
        return v, [round(a) for a in v]


# ---- 1: rows ----


def stand_in(values):
    """What values of a column become that are not finite."""
    finite = [v for v in values if math.isfinite(v)]
    total = 0.0
    for v in finite:
        total = f32_of(total + v)
    # The first of equals is what min() finds.
    mean = f32_of(total / len(finite)) if finite else 0.0
    return min(finite, key=lambda v: abs(f32_of(v - mean)), default=0.0)


def replace(g, rows):
    """Makes the values of the written cells finite."""
    written = [t for t in range(CELLS) if g.written(t)]
    for c in range(g.width):
        if not all(math.isfinite(rows[t][c]) for t in written):
            value = stand_in([rows[t][c] for t in written])
            for t in written:
                rows[t][c] = rows[t][c] if math.isfinite(rows[t][c]) else value


def finite_half(value):
    """The bits of a value that is rounded to f16, or those of the largest."""
    bits = half(value)
    return bits - (bits & 0x7FFF == 0x7C00)


def store_mean(g, tile, at, value):
    """Stores a mean; what it decodes to."""
    bits = half(value)
    if g.centring == HEADS16:
        bits = finite_half(value)
        struct.pack_into("<H", tile, at, bits)
        return struct.unpack("<e", struct.pack("<H", bits))[0]
    size = bits & 0x7FFF
    byte = min((size + 0x7F + (size >> 8 & 1)) >> 8, 0x7B) | bits >> 8 & 0x80
    tile[at] = byte
    return half_byte(byte)


def centre(g, rows, tile):
    written = [t for t in range(CELLS) if g.written(t)]
    if g.centring == TOKENS:
        for c in range(g.width):
            total = 0.0
            for t in range(CELLS):
                total = f32_of(total + rows[t][c])
            mean = store_mean(g, tile, g.mean_at(c), f32_of(total / len(written)) if written else 0.0)
            for t in written:
                rows[t][c] = f32_of(rows[t][c] - mean)
    elif g.centres_heads:
        size = 2 if g.centring == HEADS16 else 1
        for t in range(CELLS):
            totals = [0.0] * g.dim
            for head in range(g.heads):
                totals = f32([a + b for a, b in zip(totals, rows[t][head * g.dim : (head + 1) * g.dim])])
            totals = f32([a / g.heads for a in totals])
            at = g.head_means_at + t * g.dim * size
            means = [store_mean(g, tile, at + d * size, a) for d, a in enumerate(totals)]
            rows[t] = f32([x - means[c % g.dim] for c, x in enumerate(rows[t])])


def noise_of(g, row):
    """What rounding may have done to each head of a row."""
    noise = []
    for head in range(g.heads):
        total = 0.0
        for square in f32([x * x for x in row[head * g.dim : (head + 1) * g.dim]]):
            total = f32_of(total + square)
        noise.append(f32_of(NOISE * f32_of(math.sqrt(total))) if g.rotates else 0.0)
    return noise


def spread_of(rows, written, first):
    """How far the channels of the span that starts at a column vary."""
    spread = 0.0
    for c in range(first, first + SPAN):
        total = squares = 0.0
        for t in written:
            total = f32_of(total + rows[t][c])
        mean = f32_of(total / max(1, len(written)))
        for t in written:
            d = f32_of(rows[t][c] - mean)
            squares = f32_of(squares + f32_of(d * d))
        spread = f32_of(spread + squares)
    return spread if math.isfinite(spread) else 0.0


def choose_widths(g, rows, head, tile):
    """The widths of the spans of a head; writes them."""
    written = [t for t in range(CELLS) if g.written(t)]
    spreads = [spread_of(rows, written, head * g.dim + d) for d in range(0, g.dim, SPAN)]
    widths = [2] * len(spreads)
    while True:
        left = g.budget() - sum(widths)
        open_spans = [s for s, width in enumerate(widths) if width < 6 and left > 0 or width == 6 and left > 1]
        if not open_spans:
            break
        # The first of equals is what max() finds.
        s = max(open_spans, key=lambda s: spreads[s])
        step = 2 if widths[s] == 6 else 1
        widths[s] += step
        spreads[s] = f32_of(spreads[s] * LESS[step])
    for s, width in enumerate(widths):
        tile[g.widths_of(head) + s // 2] |= width << s % 2 * 4
    return widths


# ---- 3 and 4: words of 16 bits ----


def fitting_scale(group, levels, top):
    """The index of the largest scale on whose multiples all values lie, or None."""
    span = f32_of(f32_of(group.high - group.low) - 2 * group.tolerance)
    least = index_of(max(f32_of(span / levels), f32_of(1.5 * group.noise)))
    for i in range(index_of(top), least - 1, -1):
        low, high = round(f32_of(group.low * INVERSES[i])), round(f32_of(group.high * INVERSES[i]))
        if high - low <= levels and -256 <= low <= 255:
            limit = min(f32_of(group.tolerance * INVERSES[i]), LIMIT)
            if all(abs(a - n) <= limit for a, n in zip(*group.multiples(i))):
                return i
    return None


def search(g, group, bits):
    """Index and zero point of the least error."""
    levels = (1 << bits) - 1
    start = index_of(f32_of(f32_of(group.high - group.low) / levels))
    least = index_of(max(f32_of(group.high / 255), f32_of(group.low / -256), f32_of(3 * group.noise)))
    best, found, tried = math.inf, None, set()
    middle = f32_of(0.5 * f32_of(group.low + group.high))
    for step in range(1, -(FINER[bits] if g.minimises else 0) - 1, -1):
        i = min(127, max(0, start + step, least))
        _, n = group.multiples(i)
        for shift in (0, 1, -1):
            zero = round(f32_of(f32_of(middle * INVERSES[i]) - 0.5 * levels))
            zero = clamp(zero + shift, -256, 255)
            if (i, zero) in tried:
                continue
            tried.add((i, zero))
            near = [SCALES[i] * (clamp(a - zero, 0, levels) + zero) for a in n]
            error = sum_of_squares(f32([x - y for x, y in zip(group.x, near)]), best)
            if error < best:
                best, found = error, (i, zero)
    return found


def sum_of_squares(d, enough):
    """In ascending order; as it never falls, the rest does not matter once it has reached `enough`."""
    total = 0.0
    for square in f32([a * a for a in d]):
        total = f32_of(total + square)
        if total >= enough:
            break
    return total


def quantise16(g, group, bits, top):
    """Word and codes of a group."""
    levels = (1 << bits) - 1
    i = fitting_scale(group, levels, top)
    if i is not None:
        _, n = group.multiples(i)
        zero = min(n)
        codes = [a - zero for a in n]
    else:
        i, wanted = search(g, group, bits)
        _, n = group.multiples(i)
        zero = clamp(max(min(n), wanted), -256, 255)
        codes = [clamp(a - zero, 0, wanted + levels - zero) for a in n]
    return struct.pack("<H", i << 9 | zero & 511), codes


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


def on_phase(group, i, phase):
    """The values in steps of a scale, from a phase on, before and after they are rounded."""
    v = f32([a - phase for a in group.multiples(i)[0]])
    return v, [round(a) for a in v]


def fitting_narrow(group, levels, zeros, top, floor):
    """Index and phase of the largest scale that the values lie on, or None."""
    span = f32_of(f32_of(group.high - group.low) - 2 * group.tolerance)
    least = index_of(max(f32_of(span / levels), f32_of(1.5 / zeros.fine * group.noise)))
    for i in range(index_of(f32_of(top / zeros.fine)), max(least, floor) - 1, -1):
        for phase in (0.0, 0.5) if zeros.step < 1 else (0.0,):
            limit = min(f32_of(group.tolerance * INVERSES[i]), f32_of(LIMIT * zeros.fine))
            low, high = (round(f32_of(f32_of(x * INVERSES[i]) - phase)) + phase for x in (group.low, group.high))
            zero = zeros.below(low)
            if zero is not None and high - zero <= levels:
                if all(abs(a - n) <= limit for a, n in zip(*on_phase(group, i, phase))):
                    return i, phase
    return None


def search_narrow(g, group, levels, zeros, floor):
    """Index and zero point of the least error."""
    ends = max(f32_of(group.high / (zeros.all[-1] + levels)), f32_of(group.low / zeros.all[0]))
    start = index_of(max(f32_of(f32_of(group.high - group.low) / levels), ends))
    least = max(floor, index_of(f32_of(3 / zeros.fine * group.noise)))
    middle = f32_of(0.5 * f32_of(group.low + group.high))
    best, found = math.inf, None
    for step in range(1, -(FINER[g.bits] if g.minimises else 0) - 1, -1):
        i = min(127, max(start + step, least))
        v = group.multiples(i)[0]
        wanted = f32_of(f32_of(middle * INVERSES[i]) - (0.5 * levels + zeros.all[0])) / zeros.step
        for shift in (0, 1, -1):
            zero = zeros.all[clamp(round(wanted) + shift, 0, 7)]
            codes = f32([a - zero for a in v])
            d = f32([a - clamp(round(a), 0, levels) for a in codes])
            error = f32_of(f32_of(sum_of_squares(d, math.inf) * SCALES[i]) * SCALES[i])
            if error < best:
                best, found = error, (i, zero)
    return found


def quantise8(g, group, top, floor):
    """Index (None: a group of zeros), number of the zero point, and codes of a group."""
    levels = (1 << g.bits) - 1
    zeros = Zeros(g.bits)
    if group.size <= group.tolerance:
        return None, 3, [1 << g.bits - 1] * len(group.x)
    fit = fitting_narrow(group, levels, zeros, top, floor)
    if fit:
        i, phase = fit
        n = on_phase(group, i, phase)[1]
        zero = zeros.below(min(n) + phase)
        codes = [round(a + phase - zero) for a in n]
    else:
        i, wanted = search_narrow(g, group, levels, zeros, floor)
        phase = wanted % 1
        n = on_phase(group, i, phase)[1]
        zero = zeros.below(max(min(n) + phase, wanted))
        codes = [round(clamp(a + phase - zero, 0, wanted + levels - zero)) for a in n]
    return i, zeros.all.index(zero), codes


def quantise_narrow(g, sides, tile):
    """Words and bases of all groups; yields their places and codes."""
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
            base = max((i for _, (i, _, _) in done if i is not None), default=0)
        tile[unit * g.record + g.base_at] = base
        for places, (i, number, codes) in done:
            tile[g.word_at(*places[0])] = (31 if i is None else base - i) << 3 | number
            yield places, codes


# ---- words of 32 bits ----


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
            best, found = error, (word, codes)
    return found


# ---- tiles ----


def channel_groups(g, rows, noise, cells, columns):
    """The groups of some cells that are coded side by side, one for each column."""
    side = []
    for c in columns:
        most = max(noise[t][c // g.dim] for t in cells)
        side.append(([(t, c) for t in cells], Group([rows[t][c] for t in cells], most)))
    return side


def groups_of(g, rows, noise):
    """Lists of groups that are coded side by side, each with the places (cell, column) of its values."""
    if g.by_token:
        for first in range(0, g.width, g.group_values):
            heads = range(first // g.dim, (first + g.group_values - 1) // g.dim + 1)
            for start in range(0, CELLS, 16):
                side = []
                for t in range(start, start + 16):
                    places = [(t, c) for c in range(first, first + g.group_values)]
                    most = max(noise[t][h] for h in heads)
                    side.append((places, Group([rows[t][c] for _, c in places], most)))
                yield side
        return
    for first in range(0, CELLS, g.group_values):
        cells = [t for t in range(first, first + g.group_values) if g.written(t)]
        for start in range(0, g.width if cells else 0, 16):
            yield channel_groups(g, rows, noise, cells, range(start, start + 16))


def span_groups(g, rows, noise, widths, head):
    """The same of a head whose widths adapt: those of two spans, or of one that is left over. With bits."""
    cells = [t for t in range(CELLS) if g.written(t)]
    for bits, spans in sections(widths) if cells else ():
        for i in range(0, len(spans), 2):
            columns = [head * g.dim + s * SPAN + d for s in spans[i : i + 2] for d in range(SPAN)]
            yield bits, channel_groups(g, rows, noise, cells, columns)


def pack(ordered, bits, tile, at):
    """Writes codes that are in the order of the format; where they end."""
    for width, low in planes(bits):
        vectors = 8 // width
        for line in range(len(ordered) * width // 512):
            for i in range(64):
                for j in range(vectors):
                    code = ordered[(line * vectors + j) * 64 + i] >> low & (1 << width) - 1
                    tile[at + i] |= code << j * width
            at += 64
    return at


def pack_head(g, codes, head, widths, tile):
    """Writes the codes of a head, which are those of cells and columns."""
    ordered = [0] * (CELLS * g.dim)
    for t in range(CELLS):
        for d in range(g.dim):
            ordered[g.place(t, d)] = codes[t][head * g.dim + d]
    at = g.head_at(head)
    if not widths:
        pack(ordered, g.bits, tile, at)
        return
    size = CELLS * SPAN
    for bits, spans in sections(widths):
        at = pack([q for s in spans for q in ordered[s * size : (s + 1) * size]], bits, tile, at)


def encode_once(g, data):
    tile = bytearray(g.size)
    values = halves(data)
    rows = [values[t * g.width : (t + 1) * g.width] for t in range(CELLS)]
    replace(g, rows)
    rows = [hadamard(row, g.block) if g.written(t) else [0.0] * g.width for t, row in enumerate(rows)]
    noise = [noise_of(g, row) for row in rows]
    centre(g, rows, tile)
    codes = [[0] * g.width for _ in range(CELLS)]
    widths = [choose_widths(g, rows, head, tile) if g.quarters else None for head in range(g.heads)]
    if g.quarters:
        sides = [side for h in range(g.heads) for side in span_groups(g, rows, noise, widths[h], h)]
    else:
        sides = [(g.bits, side) for side in groups_of(g, rows, noise)]
    if g.scale_bits == 8:
        for places, of_group in quantise_narrow(g, [side for _, side in sides], tile):
            for (t, c), code in zip(places, of_group):
                codes[t][c] = code
        sides = []
    for bits, side in sides:
        top = max(group.size for _, group in side)
        for places, group in side:
            word, of_group = quantise16(g, group, bits, top) if g.scale_bits == 16 else quantise32(g, group)
            at = g.word_at(*places[0])
            tile[at : at + len(word)] = word
            for (t, c), code in zip(places, of_group):
                codes[t][c] = code
    for head in range(g.heads):
        pack_head(g, codes, head, widths[head], tile)
    return bytes(tile)


def encode(g):
    """The tile that the rows of `g` give, and how often it took encoding."""
    tile = encode_once(g, g.rows)
    rounds = 1
    golden = g.tile
    while g.centring == NONE and g.scale_bits != 32 and rounds <= 32:
        g.tile = tile
        following = encode_once(g, decode(g))
        rounds += 1
        if following == tile:
            break
        tile = following
    g.tile = golden
    return tile, rounds
