#!/usr/bin/env bash
# The Python package, installed from the tree into an environment of its own, on the Python part of the pinned
# llama-cpp-python and the libraries of llama.cpp that are built here already.
#   run.sh BUILD_DIR LLAMA_DIR LLAMA_LIBRARIES; exit status 77: skipped
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
export TADA_LLAMA_DIR=$2 LLAMA_CPP_LIB_PATH=$3
work=$build/python
skip() { echo "skipped: $1"; exit 77; }
# Threads that wait must not take the cores of those that work.
export OMP_WAIT_POLICY=passive
unset TADA_LLAMA_BIN TADA_CACHE TADA_PLUGIN TADA_LLAMA_BUILD GGML_BACKEND_PATH TADA_LOG PYTHONPATH

mkdir -p "$work"
if [ ! -x "$work/venv/bin/pip" ]; then
    rm -rf "$work/venv"
    python3 -m venv "$work/venv" > "$work/log" 2>&1 || skip "no environment with pip: apt-get install python3-venv python3-pip"
fi
pip=("$work/venv/bin/pip" --disable-pip-version-check --quiet)
"${pip[@]}" install "scikit-build-core>=0.10" numpy diskcache jinja2 typing_extensions > "$work/log" 2>&1 ||
    skip "what llama-cpp-python and the build need could not be fetched: $(tail -n 1 "$work/log")"
if [ ! -d "$work/llama-cpp-python" ]; then
    archive=$("$here/../../scripts/get_llama.sh" --archive)
    rm -rf "$work/part"
    mkdir "$work/part"
    tar xzf "$archive" -C "$work/part" --strip-components=1 --wildcards 'llama_cpp_python-*/llama_cpp'
    mv "$work/part" "$work/llama-cpp-python"
fi
model=$("$here/../../scripts/get_model.sh")

echo "Building the package..."
export CMAKE_BUILD_PARALLEL_LEVEL=2
"${pip[@]}" wheel --no-build-isolation --no-deps --config-settings=build-dir="$work/build" --wheel-dir "$work" \
    "$here/../../python" > "$work/log" 2>&1 || { tail -n 30 "$work/log"; exit 1; }
"${pip[@]}" install --no-deps --no-index --force-reinstall --find-links "$work" tada-kv-cache
PYTHONPATH=$work/llama-cpp-python "$work/venv/bin/python" "$here/test_package.py" "$build" "$model"
