#!/usr/bin/env python3
"""Files depend on each other in one direction: prints each circle of includes within a folder.

    layers.py FOLDER...

NAME.c and NAME.h count as one file. Exits with 1 when there is a circle.
"""
import pathlib
import re
import sys


def includes(folder):
    """Of each file, by its name without ending: those of the same folder that it includes."""
    graph = {}
    for path in sorted(folder.rglob("*.[ch]")):
        graph.setdefault(path.stem, set())
        for name in re.findall(r'^#include "(?:[^"]*/)?([^"/]+)\.h"', path.read_text(), re.MULTILINE):
            graph[path.stem].add(name)
    return {name: {other for other in others if other in graph and other != name} for name, others in graph.items()}


def circle(graph):
    """One circle as a list of names, or None."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return path[path.index(name):] + [name]
        if name in done:
            return None
        path.append(name)
        for other in sorted(graph[name]):
            found = visit(other)
            if found:
                return found
        path.pop()
        done.add(name)
        return None

    for name in graph:
        found = visit(name)
        if found:
            return found
    return None


def main():
    failed = False
    for folder in sys.argv[1:]:
        found = circle(includes(pathlib.Path(folder)))
        print(f"{folder}: {'circle: ' + ' -> '.join(found) if found else 'no circle'}")
        failed = failed or found
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
