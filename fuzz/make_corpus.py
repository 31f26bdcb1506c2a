#!/usr/bin/env python3
"""Writes the first files of the corpora: make_corpus.py TADA MAKE_SESSION MAKE_PLAN

Their paths are those in a build folder: bin/tada, tests/make_session, tests/make_plan. The numbers are the same each
time. What the fuzzers found since, and what they once crashed with, lies beside it.
"""
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import zlib

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
SPECS = """tada tada:high tada:balanced tada:compact tada:paper tada:4 tada:3.5/3 tada:16/8 kivi:2 kivi:4:window=64
f16 q8_0 q8_0/q4_0 iq4_nl/f32 tada:@plan.gguf tada:window=128:sinks=4 tada:4/4:k.widths=adaptive:v.axis=token
tada:3:axis=channel:group=16:search=minmax:scale=32 tada:4:k.centre=tokens:v.centre=heads8 tada:4:centre=heads16
tada:2.75/2:window=0:sinks=64 tada:5/4:rotate=hadamard:v.rotate=none tada:8:k.bits=5:v.bits=2 tada: tada:@ q9_9""".split()


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def prompts():
    """States with a label, whose checksums the target makes right."""
    tokens = struct.pack("<Q9i", 1, *range(9))
    rows = b"x" * 50
    rows += struct.pack("<I", zlib.crc32(rows))
    label = struct.pack("<QQQ", 2, 0, len(tokens)) + tokens
    plain, cells = struct.pack("<QQQ", 0, 5, 5) + b"hello", struct.pack("<QQQ", 1, 1000, len(rows)) + rows
    for name, parts in ("label-alone", label), ("label-and-bytes", label + plain), ("label-and-rows", label + plain + cells):
        write("prompt", name, b"\1" + bytes(40) + parts)


def numbers(target, count, least, most):
    source = random.Random(target)
    for i in range(count):
        write(target, f"numbers-{i:02}", source.randbytes(source.randint(least, most)))


def sessions(tada, make_session):
    shapes = [("tada:4:window=0", 32, 32, 1, 140), ("tada:4:k.rotate=hadamard:window=0", 32, 16, 1, 140),
              ("kivi:2:window=0", 32, 32, 1, 140),
              ("f16", 16, 16, 2, 45)]
    with tempfile.TemporaryDirectory() as folder:
        stock, packed = f"{folder}/stock", f"{folder}/packed"
        for i, (spec, *shape) in enumerate(shapes):
            subprocess.run([make_session, spec, *map(str, shape), stock], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([tada, "pack", stock, "-o", packed], check=True, stdout=subprocess.DEVNULL)
            plain = pathlib.Path(stock).read_bytes()
            write("session", f"plain-{i}", b"\2" + plain)
            write("session", f"plain-cut-{i}", b"\2" + plain[:300])
            write("session", f"packed-{i}", b"\0" + pathlib.Path(packed).read_bytes())
            write("session", f"packed-summed-{i}", b"\1" + pathlib.Path(packed).read_bytes())


def plans(make_plan):
    with tempfile.TemporaryDirectory() as folder:
        for layers, width in (2, 64), (3, 128):
            subprocess.run([make_plan, folder, str(layers), str(width), "1234abcd"], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for path in sorted(pathlib.Path(folder).glob("*.plan")):
                write("plan", f"{path.stem}-{width}", path.read_bytes())


def main():
    tada, make_session, make_plan = sys.argv[1:]
    for i, spec in enumerate(SPECS):
        write("spec", f"spec-{i:02}", spec.encode())
    numbers("cache", 32, 40, 400)
    numbers("codec", 32, 20, 80)
    numbers("arguments", 32, 20, 120)
    numbers("state", 24, 20, 80)
    numbers("prompt", 24, 20, 80)
    numbers("session", 16, 16, 40)
    sessions(tada, make_session)
    plans(make_plan)
    prompts()


main()
