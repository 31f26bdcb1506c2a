#!/usr/bin/env python3
"""What the example program prints is what its page shows.   test_example.py PROGRAM PAGE

All but the error of attention, whose last digit differs with the kernel set: it may be a twentieth off.
"""
import pathlib
import re
import subprocess
import sys

program, page = sys.argv[1:]
shown = re.search(r"<!-- output of examples/cache.c -->\n```text\n(.*?)```", pathlib.Path(page).read_text(), re.S)[1]
printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
ERROR = re.compile(r"relative error ([0-9.]+) %")
expected, found = float(ERROR.search(shown)[1]), float(ERROR.search(printed)[1])
print(printed, end="")
assert abs(found - expected) <= expected / 20, (found, expected)
assert ERROR.sub("", printed) == ERROR.sub("", shown), shown
wrong = subprocess.run([program, "nonsense"], capture_output=True, text=True)
assert wrong.returncode == 1 and "Unknown cache spec 'nonsense'" in wrong.stderr, wrong
