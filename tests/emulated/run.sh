#!/usr/bin/env bash
# run.sh BUILD: builds the AVX-512 and VNNI kernel sets in BUILD so that they run on a CPU with AVX2 (avx512.h), and
# tests them. Status 77, after the reason, where that cannot be.
set -euo pipefail
source=$(realpath "$(dirname "$0")/../..")
build=$(realpath -m "$1")

skip() { echo "skipped: $1"; exit 77; }

case $(uname -m) in x86_64 | amd64) ;; *) skip "these sets are for x86" ;; esac
for flag in avx2 fma f16c; do
    grep -qw "$flag" /proc/cpuinfo || skip "this CPU has no $flag"
done

mkdir -p "$build"
cmake -S "$source" -B "$build" -DTADA_EMULATED=ON -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS=-Werror \
    > "$build/configure.log" 2>&1 || { cat "$build/configure.log"; exit 1; }
cmake --build "$build" --parallel "$(nproc)" --target test_kernels test_attention test_golden \
    > "$build/build.log" 2>&1 || { cat "$build/build.log"; exit 1; }

tests() { ctest --test-dir "$build" --output-on-failure --no-tests=error "$@"; }
export TADA_QUICK=16
unset TADA_KERNELS
tests --parallel "$(nproc)" -R '^(kernels_(avx512vnni|avx512|avxvnni)|golden)$'
for set in avx512vnni avx512 avxvnni; do
    TADA_KERNELS=$set tests -R '^unit_test_attention$'
done
