#!/usr/bin/env python3
"""Lines of a folder that a build with --coverage has run: coverage.py BUILD FOLDER LEAST

Prints them file by file, and which were not; status 1 when fewer than LEAST per cent of all were."""
import collections
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile


def counts_of(build, folder):
    """{file: {line: times}}; code in headers and templates is counted once for each file that includes it."""
    counts = collections.defaultdict(lambda: collections.defaultdict(int))
    data = [str(path.resolve()) for path in pathlib.Path(build).rglob("*.gcda")]
    with tempfile.TemporaryDirectory() as work:
        for path in data:
            subprocess.run(["gcov", "--json-format", path], cwd=work, check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
            for report in pathlib.Path(work).glob("*.gcov.json.gz"):
                told = json.loads(gzip.open(report).read())
                for file in told["files"]:
                    # Relative to where it was compiled, if the compiler was called so.
                    name = pathlib.Path(told["current_working_directory"], file["file"]).resolve()
                    if folder in name.parents:
                        for line in file["lines"]:
                            counts[name][line["line_number"]] += line["count"]
                report.unlink()
    return counts


def main():
    build, folder, least = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), float(sys.argv[3])
    total = run = 0
    for name, lines in sorted(counts_of(build, folder).items()):
        missed = [line for line, count in sorted(lines.items()) if count == 0]
        total += len(lines)
        run += len(lines) - len(missed)
        print(f"{name.relative_to(folder)!s:40} {100 * (1 - len(missed) / len(lines)):6.1f} %  of {len(lines):4} lines"
              f"{'  not: ' + ' '.join(map(str, missed[:40])) if missed else ''}")
    share = 100 * run / max(total, 1)
    print(f"{share:.1f} % of {total} lines of {folder.name}/")
    return share < least


sys.exit(main())
