#!/usr/bin/env bash
# run.sh BUILD: builds for 64-bit ARM in BUILD and runs all tests that need neither llama.cpp nor its tools under qemu.
# Status 77, after the reason, where the tools for that are missing.
set -euo pipefail
source=$(realpath "$(dirname "$0")/../..")
build=$(realpath -m "$1")

skip() { echo "skipped: $1"; exit 77; }

for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v $tool > /dev/null || skip "no $tool (scripts/setup.sh --tests installs it)"
done
[ -e /usr/aarch64-linux-gnu/lib/libc.so ] || skip "no C library for aarch64 (scripts/setup.sh --tests installs it)"
for tool in apt-get dpkg; do
    command -v $tool > /dev/null || skip "no $tool to fetch cmocka for aarch64 with"
done
mkdir -p "$build"
"$source/tests/aarch64/get_cmocka.sh" "$build/cmocka" > "$build/cmocka.log" 2>&1 ||
    skip "could not fetch cmocka for aarch64: $(tail -n 1 "$build/cmocka.log")"

root=$build/cmocka/root/usr
cmake -S "$source" -B "$build" -DCMAKE_TOOLCHAIN_FILE="$source/cmake/aarch64.cmake" -DCMAKE_BUILD_TYPE=Release \
    -DCMOCKA="$root/lib/aarch64-linux-gnu/libcmocka.so" -DCMOCKA_INCLUDE="$root/include" > "$build/configure.log" 2>&1 ||
    { cat "$build/configure.log"; exit 1; }
cmake --build "$build" --parallel "$(nproc)" > "$build/build.log" 2>&1 || { cat "$build/build.log"; exit 1; }

# Programs of the tests, but not what others of them do as well.
unset TADA_KERNELS
QEMU_CPU=max TADA_QUICK=16 ctest --test-dir "$build" --parallel "$(nproc)" --output-on-failure \
    --no-tests=error -R '^(unit_|golden$|kernels)' -E '^(unit_test_attention|kernels_scalar)$'
