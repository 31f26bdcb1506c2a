#!/usr/bin/env bash
# The long run, `make check-all`: everything that `make check` has, and what goes beyond it. A table at the end tells how
# many minutes each part took, what was red, and what was skipped and why; the last line counts tests.
#   run_tests.sh [--minutes N] [PART...]
# --minutes: no part begins that would end later than that, going by what parts take and how fast the ones before it
# went. What is left out does not count as red.
# Parts, and minutes of each on 2 idle cores:
#   quick           1  unit, golden, kernels of this CPU, command line, sessions, the public interface
#   engine          9  the real llama.cpp
#   packages        2  the Debian package and the archive, built twice, and used in a Debian that has nothing else
#   python          2  the Python package, built and used with llama-cpp-python
#   documents       2  every command of the documents
#   emulated        1  the AVX-512 and VNNI kernel sets on a CPU that has AVX2 only
#   aarch64         8  the unit tests for 64-bit ARM under an emulator
#   fuzz            4  each fuzz target (FUZZ_SECONDS=60)
#   calibration     5  tada calibrate and its plans, with a real model
#   place           6  everything in a folder with an odd name, from a source that cannot be written to, without a home
#   architectures   1  a tiny model of each architecture of llama.cpp
#   asan            7  everything that ctest has but Python and soak, with the address sanitizer
#   ubsan           8  the same with the sanitizer of undefined behaviour
#   tsan            3  the unit tests, watched for races of threads
#   tiers           5  unit and golden tests and one of the engine with each kernel set that this CPU has
#   valgrind        8  the unit tests
#   coverage        4  lines of src/ that the unit tests and the corpora of the fuzz targets run: at least 90 %
#   compilers      20  gcc and clang with -O0, -O2 and -O3, all warnings being errors
#   soak            4  two servers under random use
#   hosts          40  other releases of llama.cpp, and this one as its releases are built
# Groups: check (quick engine), sanitizers (asan ubsan tsan), all (all of them, the default).
# In the environment: BUILD, a build folder that is up to date (build); TADA_LLAMA_DIR and TADA_LLAMA_BUILD as for
# CMake, for what needs llama.cpp; FUZZ_SECONDS for each fuzz target. Parts that need a build of their own have it in
# BUILD-check-PART, or in a folder of BUILD.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit ;; esac
# From the list above.
declare -A usual
known=()
while read -r _ name minutes _; do known+=("$name") usual[$name]=$minutes; done < <(grep -E '^#   [a-z0-9]+ +[0-9]+  ' "$0")

build=$(realpath -m "${BUILD:-build}")
export TADA_LLAMA_DIR=${TADA_LLAMA_DIR:-$build/llama.cpp} TADA_LLAMA_BUILD=${TADA_LLAMA_BUILD:-$build/llama}
export OMP_WAIT_POLICY=passive
jobs=$(nproc)
names=() results=() seconds=()
passed=0 failed=0
unit='^(unit_|golden$|kernels)'

# row NAME COMMAND...: runs it; status 77 with a last line that begins with "skipped: " means just that.
row() {
    local name=$1 start=$SECONDS status=0 log=$build-check-logs/${1//[^a-z0-9]/-}.log result bad=0 n=0
    shift
    mkdir -p "$build-check-logs"
    printf '%s... ' "$name"
    "$@" > "$log" 2>&1 < /dev/null || status=$?
    case $status in
        0) result="ok$(reasons "$log")" ;;
        77) result=$(grep '^skipped: ' "$log" | tail -n 1) ;;
        *) result="FAILED: $log" ;;
    esac
    echo "$result"
    # Tests as ctest counts them, else the whole as one.
    read -r bad n < <(sed -nE 's/^[0-9]+% tests passed, ([0-9]+) tests? failed out of ([0-9]+).*/\1 \2/p' "$log" |
        awk '{ bad += $1; n += $2 } END { print bad + 0, n + 0 }')
    if [ "$status" -eq 77 ]; then bad=0 n=0
    elif [ "$status" -eq 0 ]; then bad=0 n=$((n > 0 ? n : 1))
    elif [ "$bad" -eq 0 ]; then bad=1 n=$((n + 1))
    fi
    failed=$((failed + bad)) passed=$((passed + n - bad))
    names+=("$name") results+=("${result:-skipped}") seconds+=($((SECONDS - start)))
}

skip() { echo "skipped: $1"; return 77; }

# What tests of ctest say of why they were skipped.
reasons() {
    sed -nE 's/^[0-9]+: (skipped: .*)/\1/p' "$1" | sort -u | awk '{ printf "%s%s", NR == 1 ? "; " : ", ", $0 }'
}

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
    ctest --test-dir "$folder" --verbose --no-tests=error --parallel "$jobs" "$@"
}

# labelled LABEL: tests of the build itself
labelled() { tests "$build" -L "^$1\$"; }

# ---- parts ----

quick() { row "quick" labelled quick; }
engine() { row "engine" labelled engine; }
packages() { row "packages" labelled packages; }
python_part() { row "Python package" labelled python; }
documents() { row "commands of documents" labelled documents; }
calibration() { row "calibration" labelled calibration; }
emulated() { row "x86 sets emulated" labelled emulated; }
aarch64() { row "64-bit ARM" labelled aarch64; }
fuzz() { row "fuzzing" labelled fuzz; }
soak() { row "soak" labelled soak; }
place() { row "another place" labelled place; }

all_architectures() {
    ctest --test-dir "$build" -N -L '^long$' -R architectures | grep -q '^Total Tests: 0' &&
        { skip "this build has no such test"; return; }
    tests "$build" -L '^long$' -R architectures
}

architectures() { row "all architectures" all_architectures; }

# Other releases of llama.cpp, and this one as its releases are built.
other_hosts() {
    local version folders=()
    for version in 0.3.35 0.3.16; do
        scripts/get_llama.sh --release $version "$build-check-hosts/$version" || return 1
        folders+=("$build-check-hosts/$version")
    done
    scripts/get_llama.sh --variants "$build-check-hosts/variants" || return 1
    TADA_OTHER_LLAMA=$(IFS=:; echo "${folders[*]}") TADA_VARIANTS=$build-check-hosts/variants labelled hosts
}

hosts() { row "other hosts" other_hosts; }

# The environment can only lower the set; what this CPU lacks leaves another one selected.
tier() {
    "$build/bin/tada" doctor | grep -qE "kernels  *$1\$" || { skip "this CPU or build has no $1"; return; }
    tests "$build" -R "$unit|^engine_buffer|^engine_operations_tada$" -E '^kernels_'
}

tiers() {
    local set
    for set in scalar avx2 avxvnni avx512 avx512vnni neon neondot neoni8mm; do
        grep -q "^KERNELS($set," src/kernels/kernels.def || continue
        TADA_KERNELS=$set row "kernel set $set" tier "$set"
    done
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
        tests "$folder" -R "$unit|^cli$|^session_|^corpus_|^engine_(buffer|contexts|gpu|memory_short|operations|sessions|ways)"
}

asan() { row "address sanitizer" sanitizer asan address; }
ubsan() { row "undefined behaviour" sanitizer ubsan undefined; }

threads() {
    local folder=$build-check-tsan
    make_build "$folder" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTADA_SANITIZE=thread || return 1
    # llama.cpp is not built for it: what it does by itself is not looked at.
    TADA_QUICK=16 TSAN_OPTIONS="halt_on_error=1 ignore_noninstrumented_modules=1" \
        tests "$folder" -R '^unit_|^engine_contexts$'
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

covered() {
    local folder=$build-check-coverage
    command -v gcov > /dev/null || { skip "there is no gcov"; return; }
    make_build "$folder" -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="--coverage -O0" || return 1
    find "$folder" -name '*.gcda' -delete
    # Not session_files: under its limits on files, what counts lines says that it cannot write.
    TADA_QUICK=16 tests "$folder" -R "$unit|^cli$|^session_|^corpus_" -E '^session_files$' || return 1
    python3 scripts/coverage.py "$folder" src 90
}

coverage() { row "coverage of src/" covered; }

# ---- which ----

minutes=
if [ "${1:-}" = --minutes ]; then
    minutes=${2:-}
    [[ $minutes =~ ^[0-9]+$ ]] || { echo "run_tests.sh: --minutes takes a whole number" >&2; exit 2; }
    shift 2
fi
parts=()
for part in "${@:-all}"; do
    case $part in
        all) parts+=("${known[@]}") ;;
        check) parts+=(quick engine) ;;
        sanitizers) parts+=(asan ubsan tsan) ;;
        *) [ -n "${usual[$part]:-}" ] || { echo "run_tests.sh: there is no part $part; see --help" >&2; exit 2; }
            parts+=("$part") ;;
    esac
done

# fits PART: whether it ends in time, if it is as much slower than usual as those before it
expected=0
fits() { [ -z "$minutes" ] || awk -v spent=$SECONDS -v before=$expected -v part="${usual[$1]}" -v limit="$minutes" 'BEGIN {
    slow = before > 0 && spent > before * 60 ? spent / (before * 60) : 1
    exit !(spent + part * 60 * slow <= limit * 60) }'; }

for part in "${parts[@]}"; do
    if ! fits "$part"; then
        names+=("$part") results+=("not run: it would not end within $minutes minutes") seconds+=(0)
        continue
    fi
    case $part in
        python | valgrind) "${part}_part" ;;
        *) "$part" ;;
    esac
    expected=$((expected + usual[$part]))
done

echo
printf '%-22s %8s  %s\n' what minutes result
for i in "${!names[@]}"; do
    printf '%-22s %8s  %s\n' "${names[i]}" "$(awk -v s="${seconds[i]}" 'BEGIN { printf "%.1f", s / 60 }')" "${results[i]}"
done
printf '%-22s %8s\n' all "$(awk -v s=$SECONDS 'BEGIN { printf "%.1f", s / 60 }')"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
