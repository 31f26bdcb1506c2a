#!/usr/bin/env python3
"""One decoded token's attention over depths and shapes of heads, in units of ggml's on f16: a table in markdown.

Every measurement is kept in FILE; those that are there are not measured again, so that it can be interrupted, and run
in pieces (--seconds). The rule is that no ratio is below 1 from depth 512 on: otherwise the status is 1.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

DEPTHS = [512, 2048, 8192, 32768, 131072]
DIMS = [64, 80, 96, 128, 256, 512]
GROUPS = [1, 2, 4, 8, 16]
LATENT = (576, 512)  # multi-head latent attention: V is the first values of K
LATENT_GROUPS = [2, 16, 128]
WIDTH = 1024  # values of a row of K, about
HEADER = "{:22} | {}"


class Shape:
    """Head size, and the groups (query heads per KV head) that share the caches."""

    def __init__(self, dim, groups, view=0):
        self.dim, self.groups, self.view = dim, groups, view
        self.heads = 1 if view else max(1, WIDTH // dim)

    def name(self):
        return f"{self.dim}/{self.view}" if self.view else str(self.dim)

    def key(self, depth):
        return f"{self.name()} {depth}"


def shapes(quick):
    if quick:
        return [Shape(64, [1, 4]), Shape(128, [4]), Shape(LATENT[0], [16], LATENT[1])]
    return [Shape(dim, GROUPS) for dim in DIMS] + [Shape(LATENT[0], LATENT_GROUPS, LATENT[1])]


def depths(quick):
    """Those whose caches fit: f16 twice, as rows and in ggml's cache, what is decoded, and one head in floats."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    fits = [d for d in DEPTHS if 10 * d * WIDTH * 2 < available]
    return fits[:2] if quick else fits


def measure(program, shape, depth, threads, quick):
    repeat = 3 if quick else 5 if depth > 8192 else 9
    command = [program, "--json", "--cells", str(depth), "--heads-kv", str(shape.heads), "--dim", str(shape.dim),
               "--group", ",".join(map(str, shape.groups)), "--layers", "1" if depth > 8192 else "2",
               "--repeat", str(repeat), "--threads", str(threads)]
    if shape.view:
        command += ["--view", str(shape.view)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def cell_text(result):
    """Ratio of the medians, and how much of the read bandwidth ours gets. ~: other work was in the way."""
    ratio = f"{result['ratio_median']:.2f}"
    ratio = f"**{ratio}**" if result["ratio_median"] < 1 else ratio
    busy = "~" if result["on_cpu"] < 0.97 else ""
    return f"{busy}{ratio} ({result['tada']['percent_of_limit']:.0f} %)"


def results_of(kept, shape, depth):
    report = kept.get(shape.key(depth))
    return {r["group"]: r for r in report["results"]} if report else {}


def print_table(kept, all_shapes, all_depths):
    columns = [f"{d // 1024}k" if d >= 1024 else str(d) for d in all_depths]
    print(HEADER.format("head size, group", " | ".join(columns)))
    print(" | ".join(["---"] * (1 + len(columns))))
    low = []
    for shape in all_shapes:
        for group in shape.groups:
            cells = []
            for depth, column in zip(all_depths, columns):
                result = results_of(kept, shape, depth).get(group)
                cells.append(cell_text(result) if result else "")
                if result and result["ratio_median"] < 1:
                    low.append(f"{shape.name()}, {group} at {column}: {result['ratio_median']:.2f}")
            if any(cells):
                print(HEADER.format(f"{shape.name()}, {group}", " | ".join(cells)))
    return low


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program", metavar="BENCH_ATTENTION")
    options.add_argument("file", metavar="FILE", type=pathlib.Path)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--quick", action="store_true", help="a few small cells")
    options.add_argument("--seconds", type=float, default=float("inf"), help="begin no measurement after so many")
    options.add_argument("--show", action="store_true", help="measure nothing: the table of what is there")
    given = options.parse_args()
    kept = json.loads(given.file.read_text()) if given.file.exists() else {}
    all_shapes, all_depths, start = shapes(given.quick), depths(given.quick), time.monotonic()
    for depth in all_depths:
        for shape in all_shapes:
            late = time.monotonic() - start > given.seconds
            if given.show or late or shape.key(depth) in kept:
                continue
            kept[shape.key(depth)] = measure(given.program, shape, depth, given.threads, given.quick)
            given.file.write_text(json.dumps(kept))
            print(f"measured: {shape.key(depth)}", file=sys.stderr)
    low = print_table(kept, all_shapes, all_depths)
    if low:
        sys.exit("Below 1: " + "; ".join(low))


if __name__ == "__main__":
    main()
