#!/usr/bin/env bash
# Tests that go beyond `make check`: other compilers, instruction sets, sanitizers. A table at the end tells what
# was red, and what was skipped and why.
#   run_tests.sh [PART...]
# Parts:
#   public      exported symbols, the public header as C and C++, length of files
#   tiers       unit and golden tests and one of the engine with each kernel set that this CPU has
#   aarch64     the unit tests for 64-bit ARM under an emulator
#   emulated    the AVX-512 and VNNI kernel sets on a CPU that has AVX2 only
#   compilers   gcc and clang with -O0, -O2 and -O3, all warnings being errors
#   asan ubsan  everything that ctest has but Python and soak, with that sanitizer
#   tsan        what runs on several threads (clang with its OpenMP)
#   sanitizers  asan ubsan tsan
#   valgrind    the unit tests
#   fuzz        each fuzz target (FUZZ_SECONDS=60)
#   coverage    lines of src/ that the unit tests and the corpora of the fuzz targets run: at least 90 %
#   all         all of them (default)
# In the environment: BUILD, a build folder that is up to date (build); TADA_LLAMA_DIR and TADA_LLAMA_BUILD as for
# CMake, for what needs llama.cpp. Each part builds in a folder of its own, BUILD-check-PART.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
known="public tiers aarch64 emulated compilers asan ubsan tsan valgrind fuzz coverage"
case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit ;; esac

build=$(realpath -m "${BUILD:-build}")
export TADA_LLAMA_DIR=${TADA_LLAMA_DIR:-$build/llama.cpp} TADA_LLAMA_BUILD=${TADA_LLAMA_BUILD:-$build/llama}
export OMP_WAIT_POLICY=passive
jobs=$(nproc)
names=() results=() seconds=()
unit='^(unit_|golden$|kernels)'

# row NAME COMMAND...: runs it; status 77 with a last line that begins with "skipped: " means just that.
row() {
    local name=$1 start=$SECONDS status=0 log=$build-check-logs/${1//[^a-z0-9]/-}.log result
    shift
    mkdir -p "$build-check-logs"
    printf '%s... ' "$name"
    "$@" > "$log" 2>&1 || status=$?
    case $status in
        0) result=ok ;;
        77) result=$(grep '^skipped: ' "$log" | tail -n 1) ;;
        *) result="FAILED: $log" ;;
    esac
    echo "$result"
    names+=("$name") results+=("${result:-skipped}") seconds+=($((SECONDS - start)))
}

skip() { echo "skipped: $1"; return 77; }

# make_build FOLDER OPTION...: configured and built.
make_build() {
    local folder=$1
    shift
    cmake -S . -B "$folder" -DTADA_LLAMA_DIR="$TADA_LLAMA_DIR" -DTADA_LLAMA_BUILD="$TADA_LLAMA_BUILD" "$@" &&
        cmake --build "$folder" --parallel "$jobs"
}

tests() {
    local folder=$1
    shift
    ctest --test-dir "$folder" --output-on-failure --no-tests=error --parallel "$jobs" "$@"
}

# ---- parts ----

public() {
    row "public symbols" bash tests/public/symbols.sh "$build"
    row "public header" bash tests/public/headers.sh include
    row "length of files" bash tests/public/lines.sh
}

# The environment can only lower the set; what this CPU lacks leaves another one selected.
tier() {
    "$build/bin/tada" doctor | grep -qE "kernels  *$1\$" || { skip "this CPU or build has no $1"; return; }
    tests "$build" -R "$unit|^engine_buffer|^engine_operations_tada$" -E '^kernels_'
}

tiers() {
    local set
    for set in scalar avx2 avxvnni avx512 avx512vnni neon neondot neoni8mm; do
        grep -q "^KERNELS($set," src/kernels.def || continue
        TADA_KERNELS=$set row "kernel set $set" tier "$set"
    done
}

aarch64() {
    row "64-bit ARM" bash tests/aarch64/run.sh "$build-check-aarch64"
}

emulated() {
    row "x86 sets emulated" bash tests/emulated/run.sh "$build-check-emulated"
}

compiler() {
    local cc=$1 level=$2 folder=$build-check-$1$2
    command -v "$cc" > /dev/null || { skip "there is no $cc"; return; }
    make_build "$folder" -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS=-Werror \
        -DCMAKE_C_FLAGS_RELEASE="$level -DNDEBUG" && TADA_QUICK=8 tests "$folder" -R "$unit|^cli$|^session_|^corpus_"
}

compilers() {
    local cc level
    for cc in gcc clang; do
        for level in -O0 -O2 -O3; do row "$cc $level" compiler $cc $level; done
    done
}

# What a sanitizer has to be there for before the program begins, Python and llama.cpp's tools, is left out. The
# library of sessions is loaded into programs without one.
sanitizer() {
    local folder=$build-check-$1
    make_build "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTADA_SANITIZE="$2" || return 1
    TADA_QUICK=4 ASAN_OPTIONS=detect_leaks=1:verify_asan_link_order=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        tests "$folder" -R "$unit|^cli$|^session_|^corpus_|^engine_(buffer|operations|sessions)" --timeout 3000
}

asan() { row "address sanitizer" sanitizer asan address; }
ubsan() { row "undefined behaviour" sanitizer ubsan undefined; }

# gcc's OpenMP hides from this sanitizer how its threads wait for each other; clang's tells it (libarcher).
threads() {
    local archer folder=$build-check-tsan
    command -v clang > /dev/null || { skip "there is no clang"; return; }
    archer=$(find -L /usr/lib/llvm* "$(dirname "$(command -v clang)")/../lib" -name libarcher.so 2> /dev/null | head -n 1)
    [ -n "$archer" ] || { skip "there is no libarcher.so (libomp-dev)"; return; }
    make_build "$folder" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTADA_SANITIZE=thread || return 1
    OMP_TOOL_LIBRARIES=$archer TADA_QUICK=16 TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1" \
        tests "$folder" --timeout 3000 -R '^unit_test_(semantics|attention|edit|marks|sinks|statistics|session)$|^engine_contexts$'
}

tsan() { row "data races" threads; }

memory_checked() {
    command -v valgrind > /dev/null || { skip "there is no valgrind"; return; }
    local program failed=0
    for program in "$build"/tests/test_*; do
        [ -x "$program" ] && [ -e "tests/unit/$(basename "$program").c" ] || continue
        echo "== $program"
        TADA_QUICK=64 valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect \
            --errors-for-leak-kinds=definite,indirect "$program" || failed=1
    done
    return $failed
}

valgrind_part() { row "valgrind" memory_checked; }

fuzz() {
    local target
    for target in spec session cache codec plan; do
        FUZZ_BUILD=$build-check-fuzz row "fuzz $target" scripts/fuzz.sh "${FUZZ_SECONDS:-60}" $target
    done
}

covered() {
    local folder=$build-check-coverage
    command -v gcov > /dev/null || { skip "there is no gcov"; return; }
    make_build "$folder" -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="--coverage -O0" || return 1
    find "$folder" -name '*.gcda' -delete
    TADA_QUICK=16 tests "$folder" -R "$unit|^cli$|^session_|^corpus_" || return 1
    python3 scripts/coverage.py "$folder" src 90
}

coverage() { row "coverage of src/" covered; }

# ---- which ----

parts=()
for part in "${@:-all}"; do
    case $part in
        all) for p in $known; do parts+=("$p"); done ;;
        sanitizers) parts+=(asan ubsan tsan) ;;
        *) [[ " $known " == *" $part "* ]] || { echo "run_tests.sh: there is no part $part; see --help"; exit 2; }
            parts+=("$part") ;;
    esac
done
for part in "${parts[@]}"; do
    if [ "$part" = valgrind ]; then valgrind_part; else "$part"; fi
done

echo
printf '%-22s %8s  %s\n' what seconds result
status=0
for i in "${!names[@]}"; do
    printf '%-22s %8d  %s\n' "${names[i]}" "${seconds[i]}" "${results[i]}"
    [[ ${results[i]} != FAILED* ]] || status=1
done
exit $status
