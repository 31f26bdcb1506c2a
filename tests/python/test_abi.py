#!/usr/bin/env python3
"""The package's declarations against the plug-in's header.   test_abi.py"""
import ctypes
import importlib.util
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TYPES = {"void": None, "bool": ctypes.c_bool, "int": ctypes.c_int, "size_t": ctypes.c_size_t, "uint64_t": ctypes.c_uint64,
         "const char *": ctypes.c_char_p, "tada_error *": ctypes.c_char_p, "size_t *": ctypes.POINTER(ctypes.c_size_t)}


def without_comments(path):
    return re.sub(r"/\*.*?\*/", " ", (ROOT / path).read_text(), flags=re.S)


def type_of(argument):
    """The ctypes of a C declaration with or without its name."""
    words = re.sub(r"\s*\*\s*", " * ", argument).split()
    words = words[:-1] if len(words) > 1 and words[-1] != "*" else words
    return TYPES[" ".join(words)]


specification = importlib.util.spec_from_file_location("host", ROOT / "python/tada/host.py")
host = importlib.util.module_from_spec(specification)
specification.loader.exec_module(host)

header = without_comments("ggml/tada_plugin.h")
version = int(re.search(r"#define TADA_PLUGIN_VERSION (\d+)", header)[1])
assert version == host.PLUGIN_VERSION, (version, host.PLUGIN_VERSION)
assert re.search(r'#define TADA_PLUGIN_VERSION_NAME "tada_plugin_version"', header)
error = re.search(r"struct tada_error \{\s*char text\[(\d+)\];\s*\}", without_comments("include/tada.h"))
assert int(error[1]) == host.ERROR_BYTES, error

declared = {}
for result, name, arguments in re.findall(r"X\(([^(),]+),\s*(\w+),\s*\(([^()]*)\)\)", header.replace("\\\n", " ")):
    declared[name] = (result.strip(), [part.strip() for part in arguments.split(",")])
assert len(declared) == len(re.findall(r"\bX\(", header)) > 0, sorted(declared)
for name, (result, *arguments) in host.FUNCTIONS.items():
    c_result, c_arguments = declared[name]
    expected = [] if c_arguments == ["void"] else [type_of(argument) for argument in c_arguments]
    assert TYPES[c_result] is result and expected == arguments, (name, declared[name], host.FUNCTIONS[name])
print(f"{len(host.FUNCTIONS)} functions of {len(declared)}, version {version}: the same", file=sys.stderr)
