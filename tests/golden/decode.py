"""A decoder of golden files and tiles as doc/format.md describes them; it shares nothing with the library.

Python numbers are binary64. An operation on binary32 values whose result is rounded to binary32 gives what
binary32 arithmetic gives: for + - * / and the square root, rounding twice makes no difference.
"""

import math
import struct
from array import array

CELLS = 64
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
        fields = struct.unpack_from("<8s12IQ", data)
        if fields[0] != b"TADAGOLD" or fields[1] != 4:
            raise ValueError(f"{path} is not a golden file of version 4")
        self.is_k = fields[2] == 0
        self.bits, self.group, self.centring = fields[3:6]
        self.quarters = max(0, self.bits - 256)
        self.rotates = fields[6] == 1
        self.by_token = fields[7] == 1
        self.scale_bits = fields[8]
        self.minimises = fields[9] == 1
        self.width, self.dim, tile_bytes, self.mask = fields[10:14]
        row_bytes = CELLS * self.width * 2
        if len(data) != 64 + 2 * row_bytes + tile_bytes:
            raise ValueError(f"{path} has {len(data)} bytes")
        self.rows = data[64 : 64 + row_bytes]
        self.tile = data[64 + row_bytes : 64 + row_bytes + tile_bytes]
        self.decoded = data[64 + row_bytes + tile_bytes :]
        self._derive()

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


def head_widths(g, head):
    """The widths of the spans of a head."""
    at = g.widths_of(head)
    widths = [g.tile[at + s // 2] >> s % 2 * 4 & 15 for s in range(g.dim // SPAN)]
    if g.budget() - sum(widths) not in (0, 1) or not set(widths) <= {2, 3, 4, 5, 6, 8}:
        raise ValueError(f"widths {widths} for {g.budget()} bits")
    return widths


def head_codes(g, head):
    """The codes of a head in the order of the format."""
    at = g.head_at(head)
    if not g.quarters:
        return unpack(g.tile, at, g.bits, g.dim)
    codes = [0] * (CELLS * g.dim)
    size = CELLS * SPAN
    for bits, spans in sections(head_widths(g, head)):
        of_section = unpack(g.tile, at, bits, SPAN * len(spans))
        at += len(of_section) * bits // 8
        for i, s in enumerate(spans):
            codes[s * size : (s + 1) * size] = of_section[i * size : (i + 1) * size]
    return codes


def word_values(g, at):
    """Scale and zero of a word, as values."""
    if g.scale_bits == 32:
        return struct.unpack_from("<2e", g.tile, at)
    if g.scale_bits == 8:
        base = g.tile[at // g.record * g.record + g.base_at]
        scale = scale_value(max(0, base - (g.tile[at] >> 3)))
        return scale, scale * zero_points(g.bits)[g.tile[at] & 7]
    word = struct.unpack_from("<H", g.tile, at)[0]
    scale = scale_value(word >> 9)
    zero = word & 511
    return scale, scale * (zero - 512 if zero > 255 else zero)


def scale_value(i):
    return (4 + i % 4) * 2.0 ** (i // 4 - 18)


def zero_points(bits):
    """The zero points that a word of 8 bits can say."""
    step = 0.5 if bits <= 4 else 2.0 ** (bits - 5)
    return [-(2 ** (bits - 1)) + step * (number - 3) for number in range(8)]


def head_means(g):
    count = CELLS * g.dim
    if g.centring == HEADS16:
        return halves(g.tile[g.head_means_at : g.head_means_at + 2 * count])
    return [half_byte(byte) for byte in g.tile[g.head_means_at : g.head_means_at + count]]


def saturated(x):
    """No finite row comes back as an infinity."""
    return min(max(x, -65504.0), 65504.0)


def decode(g):
    """The bytes of the rows that the tile of `g` stands for."""
    tokens = [half_byte(g.tile[g.mean_at(c)]) for c in range(g.width)] if g.centring == TOKENS else None
    heads = head_means(g) if g.centres_heads else None
    rows = [[] for _ in range(CELLS)]
    for head in range(g.heads):
        codes = head_codes(g, head)
        for t in range(CELLS):
            if not g.written(t):
                rows[t] += [0.0] * g.dim
                continue
            columns = range(head * g.dim, (head + 1) * g.dim)
            words = [word_values(g, g.word_at(t, c)) for c in columns]
            offsets = [zero for _, zero in words]
            if tokens and not g.by_token:
                offsets = f32([zero + tokens[c] for zero, c in zip(offsets, columns)])
            x = f32([scale * codes[g.place(t, d)] for d, (scale, _) in enumerate(words)])
            x = f32([a + b for a, b in zip(x, offsets)])
            if tokens and g.by_token:
                x = f32([a + tokens[c] for a, c in zip(x, columns)])
            if heads:
                x = f32([a + b for a, b in zip(x, heads[t * g.dim : (t + 1) * g.dim])])
            rows[t] += hadamard(x, g.block)
    return struct.pack(f"<{CELLS * g.width}H", *[half(saturated(x)) for row in rows for x in row])
