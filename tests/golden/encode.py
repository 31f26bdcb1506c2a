"""The encoder that doc/reference/format.md describes; it shares nothing with the library.

decode.py says how binary32 comes about. Lists are rounded at once, an operation each.
"""

import math
import struct

from decode import CELLS, HEADS16, SPAN, TOKENS, decode, f32, f32_of, hadamard, half, half_byte, halves, planes, sections
from groups import Group, finite_half, fitting_scale, quantise16, quantise32, quantise_narrow

NOISE = 3 * 2.0**-12
LESS = {1: f32_of(0.35), 2: f32_of(0.1225)}


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


def grid_widths(g, rows, noise, head):
    """The least widths of the spans with which all channels lie on multiples of a scale, or None."""
    cells = [t for t in range(CELLS) if g.written(t)]
    widths = []
    for s in range(0, g.dim // SPAN, 2):
        columns = [head * g.dim + s * SPAN + d for d in range(2 * SPAN)]
        side = channel_groups(g, rows, noise, cells, columns) if cells else []
        top = max((group.size for _, group in side), default=0)
        tops = [grid_top(group, top) for _, group in side] or [0] * (2 * SPAN)
        if None in tops:
            return None
        for first in (0, SPAN):
            most = max(tops[first : first + SPAN])
            widths.append(next(w for w in (2, 3, 4, 5, 6, 8) if most < 1 << w))
    return widths if sum(widths) <= g.budget() else None


def grid_top(group, top):
    """The largest code that a group has where it lies on multiples of a scale, or None."""
    if group.zero:
        return 0
    i = fitting_scale(group, 255, top)
    n = group.multiples(i)[1] if i is not None else None
    return max(n) - min(n) if n else None


def choose_widths(g, rows, noise, head, tile):
    """The widths of the spans of a head; writes them."""
    written = [t for t in range(CELLS) if g.written(t)]
    spreads = [spread_of(rows, written, head * g.dim + d) for d in range(0, g.dim, SPAN)]
    widths = [2] * len(spreads)
    least = (grid_widths(g, rows, noise, head) if g.settles else None) or widths
    while True:
        left = g.budget() - sum(max(width, low) for width, low in zip(widths, least))
        raised = [s for s, width in enumerate(widths) if width < least[s]]
        open_spans = [s for s, width in enumerate(widths) if width < 6 and left > 0 or width == 6 and left > 1]
        if not raised and not open_spans:
            break
        # The first of equals is what max() finds.
        s = raised[0] if raised else max(open_spans, key=lambda s: spreads[s])
        step = 2 if widths[s] == 6 else 1
        widths[s] += step
        spreads[s] = f32_of(spreads[s] * LESS[step])
    for s, width in enumerate(widths):
        tile[g.widths_of(head) + s // 2] |= width << s % 2 * 4
    return widths


# ---- tiles ----


def channel_groups(g, rows, noise, cells, columns):
    """The groups of some cells that are coded side by side, one for each column."""
    side = []
    for c in columns:
        most = max(noise[t][c // g.dim] for t in cells)
        side.append(([(t, c) for t in cells], Group([rows[t][c] for t in cells], most)))
    return side


def groups_of(g, rows, noise, columns):
    """Lists of groups that are coded side by side, each with the places (cell, column) of its values."""
    if g.by_token:
        for first in range(columns.start, columns.stop, g.group_values):
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
        for start in range(columns.start, columns.stop if cells else 0, 16):
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


def ordered(g, codes, head):
    """The codes of a head, which are those of cells and columns, in the order of the format."""
    out = [0] * (CELLS * g.dim)
    for t in range(CELLS):
        for d in range(g.dim):
            out[g.place(t, d)] = codes[t][head * g.dim + d]
    return out


def pack_head(g, codes, head, widths, tile):
    """Writes the codes of a head."""
    codes = ordered(g, codes, head)
    at = g.head_at(head)
    if not widths:
        pack(codes, g.bits, tile, at)
        return
    size = CELLS * SPAN
    for bits, spans in sections(widths):
        at = pack([q for s in spans for q in codes[s * size : (s + 1) * size]], bits, tile, at)


def encode_once(g, data, units):
    """Records of some units, their refinement, and whether that is the middle throughout."""
    tile = bytearray(g.size)
    refinement = bytearray(g.fine * (g.width // g.unit))
    values = halves(data)
    rows = [values[t * g.width : (t + 1) * g.width] for t in range(CELLS)]
    replace(g, rows)
    rows = [hadamard(row, g.block) if g.written(t) else [0.0] * g.width for t, row in enumerate(rows)]
    noise = [noise_of(g, row) for row in rows]
    centre(g, rows, tile)
    codes, fine = ([[0] * g.width for _ in range(CELLS)] for _ in range(2))
    columns = range(units.start * g.unit, units.stop * g.unit)
    heads = range(columns.start // g.dim, columns.stop // g.dim)
    widths = {h: choose_widths(g, rows, noise, h, tile) if g.quarters else None for h in heads}
    if g.quarters:
        sides = [side for h in heads for side in span_groups(g, rows, noise, widths[h], h)]
    else:
        sides = [(g.bits, side) for side in groups_of(g, rows, noise, columns)]
    done = []
    if g.scale_bits == 8:
        done = list(quantise_narrow(g, [side for _, side in sides], tile))
        sides = []
    for bits, side in sides:
        top = max(group.size for _, group in side)
        for places, group in side:
            word, *rest = quantise16(g, group, bits, top) if g.scale_bits == 16 else quantise32(g, group)
            at = g.word_at(*places[0])
            tile[at : at + len(word)] = word
            done.append((places, *rest))
    for places, of_group, fine_of_group, _ in done:
        for (t, c), code, more in zip(places, of_group, fine_of_group):
            codes[t][c] = code
            fine[t][c] = more if g.written(t) else 0
    for head in heads:
        pack_head(g, codes, head, widths[head], tile)
        if g.fine_bits:
            pack(ordered(g, fine, head), g.fine_bits, refinement, g.fine_at(head))
    return bytes(tile), bytes(refinement), all(whole for *_, whole in done)


def mixed(g, unit, tile, following, refined, base):
    """Rows without refinement where another word came of them, or None if all are."""
    at = unit * g.record
    widths = slice(at + g.widths_at, at + g.codes_at)
    if not g.by_token and g.rotates or tile[widths] != following[widths]:
        return None
    rows = bytearray(base)
    for t in range(CELLS):
        columns = range(unit * g.unit, (unit + 1) * g.unit)
        same = [word_of(g, tile, t, c) == word_of(g, following, t, c) for c in columns]
        for c, kept in zip(columns, same):
            if all(same) if g.by_token else kept:
                place = slice(2 * (t * g.width + c), 2 * (t * g.width + c) + 2)
                rows[place] = refined[place]
    return bytes(rows)


def word_of(g, tile, t, column):
    """What tells words apart: where they have 8 bits, index and number of the zero point."""
    at = g.word_at(t, column)
    if g.scale_bits == 8:
        return tile[at // g.record * g.record + g.base_at] - (tile[at] >> 3), tile[at] & 7
    return tile[at : at + 2]


def settle(g, unit, rows):
    """The record of a unit, in a tile, and its refinement, which encode to themselves; and the rounds it took."""
    units = range(unit, unit + 1)
    now = encode_once(g, rows, units)[:2]
    for count in range(32):
        refined = decode(g, *now, units) if g.fine_bits else b""
        if g.fine_bits and count < 8:
            following = encode_once(g, refined, units)[:2]
            if following != now:
                now = following
                continue
        base = decode(g, now[0], b"", units)
        *following, whole = encode_once(g, base, units)
        same_fine = not g.fine_bits or whole and (count < 8 or following[1] == now[1])
        if following[0] == now[0] and same_fine:
            break
        mix = mixed(g, unit, now[0], following[0], refined, base) if g.fine_bits and count < 8 else None
        now = encode_once(g, mix, units)[:2] if mix else tuple(following)
    return *now, count + 1


def zero_cells(g, rows):
    """The mask of the written cells whose rows hold nothing but zeros."""
    size = 2 * g.width
    cells = (t for t in range(CELLS) if g.written(t) and not any(halves(rows[t * size : (t + 1) * size])))
    return sum(1 << t for t in cells)


def encode_cells(g):
    """The same of the cells in the mask."""
    n = g.width // g.unit
    if not g.settles:
        return *encode_once(g, g.rows, range(n))[:2], 1
    tile, refinement, rounds = bytearray(g.size), bytearray(g.fine * n), 0
    for unit in range(n):
        of_unit, fine, count = settle(g, unit, g.rows)
        record, part = (slice(unit * size, (unit + 1) * size) for size in (g.record, g.fine))
        tile[record], refinement[part] = of_unit[record], fine[part]
        rounds = max(rounds, count)
    return bytes(tile), bytes(refinement), rounds


def encode(g):
    """The tile that the rows of `g` give, its refinement, its mask, and the most rounds that a unit took."""
    golden, g.mask = g.mask, g.rows_mask
    while True:
        tile, refinement, rounds = encode_cells(g)
        zeros = zero_cells(g, decode(g, tile)) if g.settles else 0
        zeros |= zero_cells(g, decode(g, tile, refinement)) if g.fine_bits else 0
        if not zeros:
            break
        g.mask &= ~zeros
    mask, g.mask = g.mask, golden
    return tile, refinement, mask, rounds
