"""A reader of packed sessions as doc/reference/session.md describes them; it shares nothing with the library.

    unpack.py PACKED OUT

Python numbers are binary64; each operation on binary32 values, rounded to binary32, gives what binary32 gives.
"""

import math
import struct
import sys
import zlib
from array import array


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, n):
        if n > len(self.data) - self.at:
            raise ValueError("a record is cut off")
        self.at += n
        return self.data[self.at - n : self.at]

    def numbers(self, form):
        return struct.unpack("<" + form, self.bytes(struct.calcsize("<" + form)))


def rotate(row, block):
    """The Walsh-Hadamard transform of each block, in binary32."""
    inverse = array("f", (1 / array("f", (math.sqrt(block),))[0],))[0]
    h = 1
    while h < block:
        row = array("f", (row[j] + row[j + h] if j // h % 2 == 0 else row[j - h] - row[j] for j in range(len(row))))
        h *= 2
    return array("f", (value * inverse for value in row))


def half(value):
    try:
        return struct.pack("<e", value)
    except OverflowError:
        return struct.pack("<e", math.copysign(65504, value))


def scale(word):
    index = word >> 9
    return math.ldexp(4 + index % 4, index // 4 - 18)


def zero(word):
    return ((word & 511) ^ 256) - 256


def coded(reader, axis, block, group, width):
    (n,) = reader.numbers("B")
    times = 2 if axis == 2 else 1
    if axis == 0:
        widths = [half_byte for byte in reader.bytes(width // 16) for half_byte in (byte & 15, byte >> 4)]
        words = list(reader.numbers(f"{width}H")) * n
        group = 1
    else:
        widths = [reader.bytes(1)[0]] * (width // 8)
        words = reader.numbers(f"{n * width // group}H")
    if not 1 <= n <= 64 or max(widths) > 8:
        raise ValueError("a run is damaged")
    out = []
    for t in range(n):
        codes = []
        for bits in widths:
            span = int.from_bytes(reader.bytes(bits), "little")
            codes += [span >> i * bits & (1 << bits) - 1 for i in range(8)]
        words_of_row = words[t * (width // group) : (t + 1) * (width // group)]
        row = array("f", (scale(words_of_row[d // group]) * (code * times + zero(words_of_row[d // group]))
                          for d, code in enumerate(codes)))
        out += map(half, rotate(row, block) if block > 1 else row)
    return n, b"".join(out)


def plane(reader):
    axis, block, group, width, rows = reader.numbers("BHHII")
    out = []
    while rows > 0:
        if reader.numbers("B") == (0,):
            (n,) = reader.numbers("I")
            out.append(reader.bytes(2 * n * width))
        else:
            n, run = coded(reader, axis, block, group, width)
            out.append(run)
        rows -= n
    return b"".join(out)


def unpack(data):
    magic, version, _, size = struct.unpack_from("<8sIIQ", data)
    stock_sum, own_sum = struct.unpack("<II", data[-8:])
    if magic != b"TADASESS" or version not in (1, 2) or zlib.crc32(data[:-4]) != own_sum:
        raise ValueError("no packed session, or a damaged one")
    reader, out = Reader(data[24:-8]), []
    while reader.at < len(reader.data):
        out.append(plane(reader) if reader.numbers("B") == (1,) else reader.bytes(*reader.numbers("Q")))
    stock = b"".join(out)
    if len(stock) != size or zlib.crc32(stock) != stock_sum:
        raise ValueError("what comes out is not what went in")
    return stock


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as packed, open(sys.argv[2], "wb") as stock_file:
        stock_file.write(unpack(packed.read()))
