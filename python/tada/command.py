"""The command `tada`, which is a program beside this file."""
import os
import pathlib
import sys


def main():
    program = pathlib.Path(__file__).parent / "bin" / "tada"
    try:
        os.execv(program, ["tada", *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"tada: {program} does not start ({error}): install the package again.")
