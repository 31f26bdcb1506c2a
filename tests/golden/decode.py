"""A decoder of golden files and tiles as doc/reference/format.md describes them; it shares nothing with the library.

Python numbers are binary64. An operation on binary32 values whose result is rounded to binary32 gives what
binary32 arithmetic gives: for + - * / and the square root, rounding twice makes no difference.
"""

import math
import struct
from array import array

CELLS = 64
HEADER = 80
SPAN = 8
NONE, TOKENS, HEADS16, HEADS8 = range(4)


def f32(values):
    """Each value rounded to binary32."""
    return array("f", values).tolist()


def f32_of(value):
    return array("f", (value,))[0]


def half(value):
    """The bits of a value that is rounded to f16; beyond its range, those of infinity."""
    try:
        return struct.unpack("<H", struct.pack("<e", value))[0]
    except OverflowError:
        return 0xFC00 if value < 0 else 0x7C00


def halves(data):
    """The values of f16 that lie in bytes."""
    return list(struct.unpack(f"<{len(data) // 2}e", data))


def half_byte(byte):
    """The value of the upper half of an f16."""
    return struct.unpack("<e", bytes((0, byte)))[0]


class Golden:
    """A golden file: see README.md for its parts."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        fields = struct.unpack_from("<8s14I2Q", data)
        if fields[0] != b"TADAGOLD" or fields[1] != 5:
            raise ValueError(f"{path} is not a golden file of version 5")
        self.is_k = fields[2] == 0
        self.bits, self.group, self.centring = fields[3:6]
        self.quarters = max(0, self.bits - 256)
        self.rotates = fields[6] == 1
        self.by_token = fields[7] == 1
        self.scale_bits = fields[8]
        self.minimises = fields[9] == 1
        self.width, self.dim, tile_bytes, fine_bits, fine_bytes, self.rows_mask, self.mask = fields[10:17]
        row_bytes = CELLS * self.width * 2
        self._derive()
        if (tile_bytes, fine_bits, fine_bytes) != (self.size, self.fine_bits, self.fine * (self.width // self.unit)):
            raise ValueError(f"{path} has a tile of {tile_bytes} + {fine_bytes} bytes")
        parts = [row_bytes, tile_bytes, fine_bytes, row_bytes if fine_bits else 0, row_bytes]
        if len(data) != HEADER + sum(parts):
            raise ValueError(f"{path} has {len(data)} bytes")
        ends = [HEADER + sum(parts[:i]) for i in range(6)]
        self.rows, self.tile, self.refinement, self.refined, self.decoded = (
            data[start:end] for start, end in zip(ends, ends[1:])
        )

    def _derive(self):
        self.heads = self.width // self.dim
        self.block = self.dim & -self.dim if self.rotates else 1
        self.centres_heads = self.centring in (HEADS16, HEADS8) and self.heads > 1
        word = self.scale_bits // 8
        if self.by_token:
            most = max(1, self.width // self.group)
            self.group_values = self.width // self._groups_of_row(most)
            self.unit = max(self.dim, self.group_values)
            words, room = CELLS * self.unit // self.group_values, CELLS * most
        else:
            self.group_values = self.group
            self.unit = self.dim
            words, room = self.unit * CELLS // self.group, self.width * CELLS // self.group
        # The parts of a record, then what follows all records.
        self.base_at = words * word
        self.means_at = self.base_at + (1 if self.scale_bits == 8 else 0)
        self.widths_at = self.means_at + (self.unit if self.centring == TOKENS else 0)
        self.codes_at = self.widths_at + (self.dim // 16 if self.quarters else 0)
        self.record = self.codes_at + self.code_bytes(self.unit)
        self.settles = self.centring == NONE and self.scale_bits != 32
        self.fine_bits = self._fine_bits()
        self.fine = CELLS * self.unit * self.fine_bits // 8
        self.head_means_at = self.record * (self.width // self.unit)
        mean_room = {
            NONE: 0,
            TOKENS: self.width,
            HEADS16: CELLS * (self.width // 2) * 2,
            HEADS8: CELLS * (self.width // 2),
        }[self.centring]
        widths_room = self.width // 16 if self.quarters else 0
        self.size = self.code_bytes(self.width) + widths_room + room * word + mean_room
        if self.scale_bits == 8:
            self.size += room // CELLS
        else:
            self.size = (self.size + 63) // 64 * 64

    def _fine_bits(self):
        """Bits of refinement of a value."""
        if not self.settles:
            return 0
        bits = (4 if self.quarters < 32 else 0) if self.quarters else min(4, 8 - self.bits)
        while bits > 0 and CELLS * self.unit * bits // 8 > self.record:
            bits -= 1
        return bits if bits > 1 else 0

    def fine_used(self, bits):
        """Those that a code of some bits takes."""
        return min(self.fine_bits, 8 - bits)

    def fine_at(self, head):
        """The refinement of a head."""
        first = head * self.dim
        return first // self.unit * self.fine + CELLS * (first % self.unit) * self.fine_bits // 8

    def code_bytes(self, columns):
        if self.quarters:
            return CELLS * (columns // SPAN * self.quarters // 4)
        return CELLS * columns * self.bits // 8

    def _groups_of_row(self, most):
        for n in range(most, 1, -1):
            group = self.width // n
            if self.width % n == 0 and group % 16 == 0 and (self.dim % group == 0 or group % self.dim == 0):
                return n
        return 1

    def written(self, t):
        """Whether the tile has a cell."""
        return self.mask >> t & 1 == 1

    def word_at(self, t, column):
        record, column = column // self.unit * self.record, column % self.unit
        if self.by_token:
            number = column // self.group_values * CELLS + t
        else:
            number = t // self.group_values * self.unit + column
        return record + number * self.scale_bits // 8

    def mean_at(self, column):
        """The mean over tokens of a column."""
        return column // self.unit * self.record + self.means_at + column % self.unit

    def head_at(self, head):
        """The codes of a head."""
        first = head * self.dim
        return first // self.unit * self.record + self.codes_at + self.code_bytes(first % self.unit)

    def budget(self):
        """Bits of all spans of a head."""
        return self.dim // SPAN * self.quarters // 4

    def widths_of(self, head):
        """Where the widths of a head are; a unit is one head."""
        return head * self.record + self.widths_at

    def place(self, t, d):
        """Where the code of a cell and a channel is among the 64 * dim codes of its head."""
        if self.is_k:
            return (d // 4 * 4 + t // 16) * 64 + t % 16 * 4 + d % 4
        return (t // 4 * (self.dim // 16) + d // 16) * 64 + d % 16 * 4 + t % 4


def planes(bits):
    """Width and lowest bit of each bit plane."""
    first = {2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 8: 8}[bits]
    return [(first, 0)] + ([(bits - first, first)] if bits > first else [])


def sections(widths):
    """Width and spans of each section."""
    return [(w, [s for s, width in enumerate(widths) if width == w]) for w in (8, 6, 5, 4, 3, 2) if w in widths]


def hadamard(row, block):
    """The transform of each `block` values of a row in binary32."""
    norm = f32_of(1 / f32_of(math.sqrt(block)))
    h = 1
    while h < block:
        row = f32([row[j - h] - x if j // h % 2 else x + row[j + h] for j, x in enumerate(row)])
        h *= 2
    return f32([x * norm for x in row]) if block > 1 else row


def unpack(tile, at, bits, channels):
    """The codes that lie from `at` on, vector after vector."""
    codes = [0] * (CELLS * channels)
    for width, low in planes(bits):
        vectors = 8 // width
        for line in range(channels * width // 8):
            for i in range(64):
                byte = tile[at + i]
                for j in range(vectors):
                    code = byte >> j * width & (1 << width) - 1
                    codes[(line * vectors + j) * 64 + i] |= code << low
            at += 64
    return codes


def head_widths(g, tile, head):
    """The widths of the spans of a head."""
    at = g.widths_of(head)
    widths = [tile[at + s // 2] >> s % 2 * 4 & 15 for s in range(g.dim // SPAN)]
    if g.budget() - sum(widths) not in (0, 1) or not set(widths) <= {2, 3, 4, 5, 6, 8}:
        raise ValueError(f"widths {widths} for {g.budget()} bits")
    return widths


def head_codes(g, tile, head, widths):
    """The codes of a head in the order of the format."""
    at = g.head_at(head)
    if not widths:
        return unpack(tile, at, g.bits, g.dim)
    codes = [0] * (CELLS * g.dim)
    size = CELLS * SPAN
    for bits, spans in sections(widths):
        of_section = unpack(tile, at, bits, SPAN * len(spans))
        at += len(of_section) * bits // 8
        for i, s in enumerate(spans):
            codes[s * size : (s + 1) * size] = of_section[i * size : (i + 1) * size]
    return codes


def word_values(g, tile, at):
    """Scale and zero of a word, as values."""
    if g.scale_bits == 32:
        return struct.unpack_from("<2e", tile, at)
    if g.scale_bits == 8:
        base = tile[at // g.record * g.record + g.base_at]
        scale = scale_value(max(0, base - (tile[at] >> 3)))
        return scale, scale * zero_points(g.bits)[tile[at] & 7]
    word = struct.unpack_from("<H", tile, at)[0]
    scale = scale_value(word >> 9)
    zero = word & 511
    return scale, scale * (zero - 512 if zero > 255 else zero)


def joined(scale, zero, used):
    """The same of codes that are joined with so many bits of refinement."""
    return (scale / (1 << used), f32_of(zero - 0.5 * scale)) if used else (scale, zero)


def scale_value(i):
    return (4 + i % 4) * 2.0 ** (i // 4 - 18)


def zero_points(bits):
    """The zero points that a word of 8 bits can say."""
    step = 0.5 if bits <= 4 else 2.0 ** (bits - 5)
    return [-(2 ** (bits - 1)) + step * (number - 3) for number in range(8)]


def head_means(g, tile):
    count = CELLS * g.dim
    if g.centring == HEADS16:
        return halves(tile[g.head_means_at : g.head_means_at + 2 * count])
    return [half_byte(byte) for byte in tile[g.head_means_at : g.head_means_at + count]]


def saturated(x):
    """No finite row comes back as an infinity."""
    return min(max(x, -65504.0), 65504.0)


def decode_head(g, tile, refinement, head):
    """The values of a head as codes and words have them: a list for each cell."""
    widths = head_widths(g, tile, head) if g.quarters else None
    codes = head_codes(g, tile, head, widths)
    used = [g.fine_used(widths[d // SPAN] if widths else g.bits) if refinement else 0 for d in range(g.dim)]
    fine = unpack(refinement, g.fine_at(head), g.fine_bits, g.dim) if refinement else [0] * len(codes)
    tokens = None
    if g.centring == TOKENS:
        tokens = [half_byte(tile[g.mean_at(head * g.dim + d)]) for d in range(g.dim)]
    cells = []
    for t in range(CELLS):
        words = [joined(*word_values(g, tile, g.word_at(t, head * g.dim + d)), used[d]) for d in range(g.dim)]
        offsets = [zero for _, zero in words]
        if tokens and not g.by_token:
            offsets = f32([zero + mean for zero, mean in zip(offsets, tokens)])
        places = [g.place(t, d) for d in range(g.dim)]
        x = f32([words[d][0] * ((codes[i] << used[d]) + fine[i]) for d, i in enumerate(places)])
        x = f32([a + b for a, b in zip(x, offsets)])
        cells.append(f32([a + mean for a, mean in zip(x, tokens)]) if tokens and g.by_token else x)
    return cells


def decode(g, tile, refinement=b"", units=None):
    """The bytes of the rows that a tile stands for, with its refinement if that is given; of some units."""
    heads = head_means(g, tile) if g.centres_heads else None
    rows = [[0.0] * g.width for _ in range(CELLS)]
    per_unit = g.unit // g.dim
    for head in range(g.heads):
        if units is not None and head // per_unit not in units:
            continue
        cells = decode_head(g, tile, refinement, head)
        for t in range(CELLS):
            if g.written(t):
                x = cells[t]
                if heads:
                    x = f32([a + b for a, b in zip(x, heads[t * g.dim : (t + 1) * g.dim])])
                rows[t][head * g.dim : (head + 1) * g.dim] = hadamard(x, g.block)
    return struct.pack(f"<{CELLS * g.width}H", *[half(saturated(x)) for row in rows for x in row])
