"""The command `tada`, which is a program beside this file."""
import importlib.util
import os
import pathlib
import sys


def main():
    program = pathlib.Path(__file__).parent / "bin" / "tada"
    # What measures a model (calibrate, eval, bench, ...) can do so with llama-cpp-python's llama.cpp.
    package = importlib.util.find_spec("llama_cpp")
    folder = os.environ.get("LLAMA_CPP_LIB_PATH")
    if package and package.origin:
        os.environ.setdefault("TADA_LLAMA_LIB", folder or str(pathlib.Path(package.origin).parent / "lib"))
    try:
        os.execv(program, ["tada", *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"tada: {program} does not start ({error}): install the package again.")
