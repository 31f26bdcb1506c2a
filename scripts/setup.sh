#!/usr/bin/env bash
# Installs the build tools that are missing where the user may do so; else names them in one line.
#   setup.sh [--demo | --tests]    --demo: only what 'make demo' needs
#                                  --tests: those that only tests need, too; without them the tests are skipped
# In the environment: BUILD, the build folder, whose name is looked at.
set -euo pipefail

fail() { echo "setup.sh: $1" >&2; exit 1; }

case $PWD:${BUILD:-} in
    *'#'*) fail "there is a # in the path of the source or the build folder, where CMake cannot have it: move or rename it" ;;
esac

missing=()
command -v cmake > /dev/null || missing+=(cmake)
command -v cc > /dev/null || missing+=(gcc)
command -v c++ > /dev/null || missing+=(g++)
command -v make > /dev/null || missing+=(make)
command -v pkg-config > /dev/null || missing+=(pkg-config)
command -v python3 > /dev/null || missing+=(python3)
python3 -m pip --version > /dev/null 2>&1 || missing+=(python3-pip)
pkg-config --exists libcjson 2> /dev/null || missing+=(libcjson-dev)
if [ "${1:-}" != --demo ]; then
    pkg-config --exists cmocka 2> /dev/null || missing+=(libcmocka-dev)
    command -v gnuplot > /dev/null || missing+=(gnuplot-nox)
fi

install() {
    command -v apt-get > /dev/null ||
        fail "missing, by their names in Debian: $*. Install them with the package manager of this system"
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2> /dev/null || fail "missing: $*. Run: sudo apt-get install $*"
        sudo=(sudo -n)
    fi
    echo "Installing $*..." >&2
    # The variable is given to env, since sudo drops it. An update that fails can still leave usable lists.
    "${sudo[@]}" apt-get update -qq > /dev/null || true
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$@" > /dev/null ||
        fail "could not install them. Run: sudo apt-get install $*"
}
[ ${#missing[@]} -eq 0 ] || install "${missing[@]}"

# For the fuzz targets, which are built with gcc where these cannot be had, and then fuzz less well.
if [ "${1:-}" = --tests ]; then
    missing=()
    out=$(mktemp)
    echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n > 1 ? 0 : 0; }' |
        clang -fsanitize=fuzzer,address,undefined -x c - -o "$out" > /dev/null 2>&1 ||
        missing=(clang libclang-rt-dev)
    rm -f "$out"
    if [ ${#missing[@]} -gt 0 ] && ! (install "${missing[@]}"); then
        echo "setup.sh: goes on without them; fuzzing will be done without libFuzzer" >&2
    fi
fi

# For the tests of the kernels for 64-bit ARM, which are skipped where these cannot be had.
if [ "${1:-}" = --tests ] && [ "$(uname -m)" = x86_64 ]; then
    missing=()
    command -v aarch64-linux-gnu-gcc > /dev/null || missing+=(gcc-aarch64-linux-gnu)
    [ -e /usr/aarch64-linux-gnu/lib/libc.so ] || missing+=(libc6-dev-arm64-cross)
    command -v qemu-aarch64 > /dev/null || missing+=(qemu-user)
    if [ ${#missing[@]} -gt 0 ] && ! (install "${missing[@]}"); then
        echo "setup.sh: goes on without them; the tests for 64-bit ARM will be skipped" >&2
    fi
fi

cmake=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
printf '3.21\n%s\n' "$cmake" | sort --version-sort --check=quiet ||
    fail "cmake $cmake is too old, 3.21 is needed. Run: python3 -m pip install --user cmake"
