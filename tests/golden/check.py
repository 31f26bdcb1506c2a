#!/usr/bin/env python3
"""Decodes and encodes the golden tiles (all, or those that are named) as doc/reference/format.md says."""

import os
import sys

from decode import Golden, decode
from encode import encode


def difference(got, want):
    """Where two strings of bytes part, or nothing."""
    if got == want:
        return ""
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    return f"differs from byte {at} on ({len(got)} bytes, golden {len(want)})"


def main():
    folder = os.path.dirname(os.path.abspath(__file__))
    paths = sys.argv[1:] or sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".tile"))
    failed = 0
    for path in paths:
        g = Golden(path)
        tile, refinement, mask, rounds = encode(g)
        differences = [
            ("decoded", difference(decode(g, g.tile), g.decoded)),
            ("refined", difference(decode(g, g.tile, g.refinement) if g.fine_bits else b"", g.refined)),
            ("encoded", difference(tile, g.tile)),
            ("mask", "differs" if mask != g.mask else ""),
            ("refinement", difference(refinement, g.refinement)),
        ]
        failed += sum(bool(text) for _, text in differences)
        wrong = ", ".join(f"{what} {text}" for what, text in differences if text)
        print(f"{os.path.basename(path)}: {wrong or 'as it should be'} ({rounds} rounds)")
    print(f"{len(paths)} tiles, {failed} differences")
    return 1 if failed or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
