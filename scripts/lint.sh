#!/usr/bin/env bash
# Form and mistakes that a compiler does not tell. What is not installed is skipped, and said so; with --strict that is a
# failure.   lint.sh [--strict] [CHECK...]   CHECK: format, tidy, cppcheck, shell, python, links, results, lines, workflows (default: all)
# LLAMA_DIR: source of llama.cpp, for the checks that need its headers (default: build/llama.cpp).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
strict=
if [ "${1:-}" = --strict ]; then
    strict=1
    shift
fi
checks=("$@")
[ $# -gt 0 ] || checks=(format tidy cppcheck shell python links results lines workflows)
llama=${LLAMA_DIR:-build/llama.cpp}
failures=0

# files PATTERN...: those that git knows or would
files() { git ls-files -co --exclude-standard -- "$@" | while read -r file; do [ ! -f "$file" ] || echo "$file"; done; }
skip() { echo "skipped $1: $2"; [ -z "$strict" ] || failures=$((failures + 1)); }
verdict() { # NAME STATUS
    if [ "$2" -eq 0 ]; then
        echo "ok      $1"
    else
        echo "FAILED  $1"
        failures=$((failures + 1))
    fi
}

# The form is that of version 14; others differ in details.
format() {
    local tool
    for tool in clang-format-14 clang-format; do
        if [[ $($tool --version 2> /dev/null) =~ \ version\ 14\. ]]; then
            files '*.c' '*.h' '*.cpp' | xargs "$tool" --dry-run -Werror
            verdict format $?
            return
        fi
    done
    skip format "clang-format 14 is not installed"
}

tidy() {
    command -v clang-tidy > /dev/null || { skip tidy "clang-tidy is not installed"; return; }
    [ -f "$llama/include/llama.h" ] || { skip tidy "no llama.cpp in $llama: set LLAMA_DIR"; return; }
    local work status=0
    work=$(mktemp -d)
    if ! cmake -S . -B "$work" -DCMAKE_C_COMPILER=clang -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DBUILD_TESTING=OFF \
        -DTADA_LLAMA_DIR="$(realpath "$llama")" > "$work/log" 2>&1; then
        skip tidy "clang cannot configure the build: $(grep -m 1 'Could NOT\|CMake Error' "$work/log")"
        rm -rf "$work"
        return
    fi
    # The code of the kernels is read with the scalar set.
    python3 -c 'import json, sys
print(*sorted({entry["file"] for entry in json.load(open(sys.argv[1]))}), sep="\n")' "$work/compile_commands.json" |
        grep '\.c$' | grep -v '/kernels/set_[^/]*$' > "$work/files"
    echo src/kernels/set_scalar.c >> "$work/files"
    xargs -P "$(nproc)" -n 4 clang-tidy -p "$work" --quiet < "$work/files" 2> "$work/err" || status=1
    grep -v 'warnings\? \|^Suppressed\|^Use -header-filter' "$work/err"
    rm -rf "$work"
    verdict tidy $status
}

cppcheck_all() {
    command -v cppcheck > /dev/null || { skip cppcheck "it is not installed"; return; }
    files 'src/*.c' 'common/*.c' 'threads/*.c' 'session/*.c' 'ggml/*.c' 'cli/*.c' 'bench/*.c' |
        cppcheck --file-list=- --std=c11 --language=c --enable=warning,performance,portability --inline-suppr --quiet \
            --error-exitcode=1 --suppressions-list=scripts/cppcheck.txt --suppress=missingInclude -I include -I src -I common -I threads -I session -I cli \
            '-DGGML_BACKEND_DL_IMPL(x)=' '-DGGML_BACKEND_DL_SCORE_IMPL(x)=' -DTADA_X86 -DTADA_MEASURES '-DTADA_MODULES="x"' \
            '-DTADA_GGML_VERSION="0"' '-DTADA_GGML_COMMIT="0"'
    verdict cppcheck $?
}

shell() {
    command -v shellcheck > /dev/null || { skip shell "shellcheck is not installed"; return; }
    files '*.sh' .ci/run | xargs shellcheck --severity=warning --shell=bash
    verdict shell $?
}

python() {
    files '*.py' | xargs python3 -c 'import ast, sys; [ast.parse(open(name, encoding="utf-8").read(), name) for name in sys.argv[1:]]'
    verdict python $?
}

links() {
    scripts/check_links.py
    verdict links $?
}

# Documents say what was measured.
results() {
    scripts/results.py --check
    verdict results $?
}

# No blanks at the end of lines, and no tabs in code.
lines() {
    local status=0
    ! files '*.c' '*.h' '*.cpp' '*.py' '*.sh' '*.md' '*.cmake' '*CMakeLists.txt' | xargs grep -nE '[[:space:]]+$' || status=1
    ! files '*.c' '*.h' '*.cpp' '*.py' '*.sh' | xargs grep -nP '\t' || status=1
    verdict lines $status
}

workflows() {
    python3 -c 'import yaml' 2> /dev/null || { skip workflows "python3-yaml is not installed"; return; }
    files '.github/workflows/*.yml' | xargs python3 scripts/check_workflows.py
    verdict workflows $?
}

for check in "${checks[@]}"; do
    case $check in
        cppcheck) cppcheck_all ;;
        format | tidy | shell | python | links | results | lines | workflows) "$check" ;;
        *) echo "lint.sh: there is no check '$check'" >&2; exit 2 ;;
    esac
done
[ $failures -eq 0 ] || echo "$failures of ${#checks[@]} checks failed"
exit $((failures > 0))
