#!/usr/bin/env python3
"""Folders depend on each other in one direction, and so do the files in them.

    layers.py SOURCE

A folder may include from itself and from folders that stand before it in ORDER. NAME.c and NAME.h count as one
file, and no files include each other in a circle. Prints what breaks that; exits with 1 then.
"""
import pathlib
import re
import sys

# Of each part of the project its folders, from the ground up; "." are the files that lie in none.
ORDER = {
    "src": ["common", "kernels/simd", "kernels/codec", "kernels/attention", "kernels", "codec", "plane", "attention",
            "spec"],
    "ggml": ["base", "policy", "metrics", "cache", "operations", "graph", "probe", "."],
    "session": ["grid", ".", "preload"],
    "cli": ["output", "find", "options", "engine", "measure", "launch", "run", "rpc", "serve", "eval", "bench", "calibrate",
            "size", "inspect", "verdict", "pack", "doctor", "."],
}
# Commands do not include each other.
COMMANDS = ["run", "rpc", "serve", "eval", "bench", "calibrate", "size", "inspect", "verdict", "pack", "doctor"]
# Interfaces that lie above what they name: the table of commands, and what the plug-in offers to programs.
INTERFACES = ["commands.h", "tada_plugin.h"]


def included(part, path):
    """The files of the part that one of its files includes: beside it, or from the part's root."""
    for name in re.findall(r'^#include "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE):
        for base in (path.parent, part):
            if (base / name).is_file():
                yield (base / name).resolve()
                break


def folder_of(part, path):
    return str(path.parent.relative_to(part)) if path.parent != part else "."


def circle(graph):
    """One circle as a list of names, or None."""
    done, way = set(), []

    def visit(name):
        if name in way:
            return way[way.index(name):] + [name]
        if name in done:
            return None
        way.append(name)
        for other in sorted(graph.get(name, ())):
            found = visit(other)
            if found:
                return found
        way.pop()
        done.add(name)
        return None

    for name in sorted(graph):
        found = visit(name)
        if found:
            return found
    return None


def check(part, order):
    """What is wrong in one part of the project, line by line."""
    problems, graph = [], {}
    for path in sorted(part.rglob("*.[ch]")):
        folder, name = folder_of(part, path), str(path.relative_to(part).with_suffix(""))
        if folder not in order:
            problems.append(f"{path}: its folder is not in ORDER")
            continue
        for other in included(part, path):
            below = folder_of(part, other)
            upward = below not in order or order.index(below) > order.index(folder)
            sideways = folder != below and folder in COMMANDS and below in COMMANDS
            if (upward or sideways) and other.name not in INTERFACES:
                problems.append(f"{path.relative_to(part.parent)} includes {other.relative_to(part.parent)}")
            if str(other.relative_to(part).with_suffix("")) != name:
                graph.setdefault(name, set()).add(str(other.relative_to(part).with_suffix("")))
    found = circle(graph)
    if found:
        problems.append(f"{part.name}: circle {' -> '.join(found)}")
    return problems


def main():
    source = pathlib.Path(sys.argv[1]).resolve()
    problems = [problem for part, order in ORDER.items() for problem in check(source / part, order)]
    print("\n".join(problems) or "no circle, and nothing is included from above")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
