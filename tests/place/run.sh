#!/usr/bin/env bash
# A copy of the source in a folder that is called tada, below others with blanks, % and letters that are not ASCII, and
# long: it is built, without a home and with its temporary files elsewhere, into such a folder, and the source cannot be
# written to. All quick tests, some of the engine and the demo must pass there. (There is no #, as CMake cannot have it: that
# make says so is the first test.)
#   run.sh BUILD LLAMA_DIR LLAMA_BUILD    the llama.cpp is taken from there; exit status 77: skipped
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd -P) llama=$(cd "$2" && pwd -P) llama_build=$(cd "$3" && pwd -P)
jobs=$(nproc)
skip() { echo "skipped: $1"; exit 77; }
[ -n "$(find "$llama_build" -maxdepth 1 -name '.complete-*-rpc')" ] || skip "this llama.cpp is not the one that scripts/get_llama.sh builds"

if [ -z "${TADA_TEST_PLACE:-}" ]; then
    work=$(mktemp -d)
    # A test of modes goes through it as another user.
    chmod 711 "$work"
    trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
    place="$work/TADA ü 1 100%s/$(printf 'long%.0s' {1..40})/tada"
    mkdir -p "$place" "$work/build für %d" "$work/tmp é %"
    (cd "$source" && tar c --exclude='./build*' --exclude=./.git --exclude=__pycache__ .) | tar x -C "$place"
    # A cache of what is fetched is there where one is made without a home.
    cache="$work/tmp é %/tada-cache-$(id -u)/tada"
    (umask 077; mkdir -p "$cache")
    model=$("$source/scripts/get_f16_model.sh" "$build/bin")
    ln -s "$model" "${model%-f16.gguf}-q4_1.gguf" "$cache/"
    export TADA_TEST_PLACE=$work
    if [ "$(id -u)" -eq 0 ]; then
        # Root may write anywhere but where nothing can be written.
        unshare --mount --propagation private bash -c 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec bash "${@:2}"' \
            bash "$place" "$place/tests/place/run.sh" "$build" "$llama" "$llama_build"
    else
        chmod -R a-w "$place"
        bash "$place/tests/place/run.sh" "$build" "$llama" "$llama_build"
    fi
    exit
fi

cd "$source"
if touch here 2> /dev/null; then
    rm -f here
    skip "a folder cannot be made one that nobody can write to"
fi
out="$TADA_TEST_PLACE/build für %d"
export HOME=/dev/null/none TMPDIR="$TADA_TEST_PLACE/tmp é %"
unset XDG_CACHE_HOME XDG_DATA_HOME TADA_LLAMA_BIN TADA_LLAMA_DIR TADA_LLAMA_BUILD TADA_PLUGIN TADA_CACHE GGML_BACKEND_PATH MAKEFLAGS
# What tells where it is is copied.
ln -s "$llama" "$out/llama.cpp"
mkdir -p "$out/llama/ggml/src"
cp -a "$llama_build/bin" "$llama_build"/.complete-* "$out/llama/"
cp "$llama_build/ggml/src/ggml-version.h" "$out/llama/ggml/src/"

failed=0
mkdir "$TADA_TEST_PLACE/build #1"
if make BUILD="$TADA_TEST_PLACE/build #1" > "$TADA_TEST_PLACE/log" 2>&1 || ! grep -q 'there is a # in the path' "$TADA_TEST_PLACE/log"; then
    echo "what make says of a folder with a #:"
    cat "$TADA_TEST_PLACE/log"
    failed=1
fi
make BUILD="$out"
tests() { ctest --test-dir "$out" --output-on-failure --no-tests=error --parallel "$jobs" "$@" || failed=1; }
TADA_QUICK=16 tests -L '^quick$'
tests -R '^engine_(test_(smollm2|serve|host|plan_file|calibrate_tiny)|operations_tada|buffer)$'
make BUILD="$out" demo || failed=1
exit $failed
