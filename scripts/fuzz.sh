#!/usr/bin/env bash
# Builds the fuzz targets and runs them, one after the other, on their corpora.
#   fuzz.sh [SECONDS] [TARGET...]     FUZZ_SECONDS (60) each, all targets: spec plan session state prompt cache codec arguments
# In the environment: FUZZ_BUILD, the build folder (build-fuzz); FUZZ_CC, the compiler (clang, else cc);
# FUZZ_CORPUS, a folder where what is found is kept (else it is forgotten). An input that fails stays in FUZZ_BUILD,
# and the last line says how to run it again. Status 77: cannot be built here, for the reason in the last line.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit ;; esac
seconds=${FUZZ_SECONDS:-60}
if [[ ${1:-} =~ ^[0-9]+$ ]]; then seconds=$1; shift; fi
build=$(realpath -m "${FUZZ_BUILD:-build-fuzz}")
source=$PWD

# Whether a compiler can build and link for the sanitizers.
watches() {
    local out status=0
    out=$(mktemp)
    echo 'int main(void) { return 0; }' | "$1" -fsanitize=address,undefined -x c - -o "$out" > /dev/null 2>&1 ||
        status=1
    rm -f "$out"
    return $status
}
cc=${FUZZ_CC:-}
for name in clang cc gcc; do
    [ -n "$cc" ] || ! watches $name || cc=$name
done
[ -n "$cc" ] || { echo "skipped: no compiler with sanitizers (scripts/setup.sh --tests installs clang)"; exit 77; }
mkdir -p "$build"

# What an input may be long: the more, the slower, and sessions and plans need some.
most_bytes() { case $1 in cache) echo 300 ;; codec | arguments) echo 200 ;; spec) echo 260 ;; *) echo 16384 ;; esac; }

# Only where two runs begin at once does one of them wait.
exec 9> "$build/lock"
flock 9
log=$build/fuzz-build.log
{ cmake -S . -B "$build" -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=Release -DTADA_FUZZ=ON -DBUILD_TESTING=OFF &&
    names=$(cmake --build "$build" --target help | grep -oE '\<fuzz_(spec|session|state|prompt|cache|codec|arguments|plan)\>' | sort -u) &&
    cmake --build "$build" --parallel "$(nproc)" --target $names; } > "$log" 2>&1 9>&- ||
    { tail -n 30 "$log"; echo "fuzz.sh: the targets cannot be built with $cc"; exit 1; }
flock -u 9

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    targets=(spec session state prompt cache codec arguments plan)
fi
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1} UBSAN_OPTIONS=print_stacktrace=1
failed=0
for target in "${targets[@]}"; do
    program=$build/fuzz/fuzz_$target
    [ -x "$program" ] || { echo "fuzz.sh: there is no target $target"; exit 2; }
    corpus=${FUZZ_CORPUS:+$FUZZ_CORPUS/$target}
    [ -n "$corpus" ] || { corpus=$(mktemp -d); forget=$corpus; }
    mkdir -p "$corpus"
    corpus=$(realpath "$corpus")
    options=(-max_total_time="$seconds" -max_len="$(most_bytes "$target")" -len_control=0 -timeout=7200 -rss_limit_mb=3000
        -print_final_stats=1 -artifact_prefix="$build/fail-$target-" -verbosity=1)
    [ ! -e "fuzz/$target.dict" ] || options+=(-dict="$source/fuzz/$target.dict")
    log=$build/fuzz-$target.log
    # Files of crashes lie where it runs.
    if (cd "$build" && "$program" "${options[@]}" "$corpus" "$source/fuzz/corpus/$target") > "$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        coverage=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
        echo "fuzz_$target: no crash in $runs runs, $seconds s${coverage:+, coverage $coverage}"
    else
        failed=1
        grep -v '^#[0-9]*[[:space:]]*\(NEW\|REDUCE\|pulse\|RELOAD\|INITED\|READ\)' "$log" | tail -n 60
        echo "fuzz_$target: failed; again with: $program $(ls -t "$build/fail-$target-"* "$build/crash-last" 2> /dev/null | head -n 1)"
    fi
    [ -z "${forget:-}" ] || rm -r "$forget"
done
exit $failed
