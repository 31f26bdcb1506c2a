#!/usr/bin/env bash
# Hosts that the plug-in was not built for, played by a stub: it steps aside before it touches anything of theirs.
#   test_host.sh BIN_DIR    (TADA_GGML_H: the ggml.h that it was built with)
. "$(dirname "$0")/check.sh"
plugin=$bin/libggml-tada.so
command -v nm > /dev/null && [ -f "${TADA_GGML_H:-}" ] || { echo "skipped: needs nm, and TADA_GGML_H"; exit 77; }

# What else of ggml the plug-in refers to is there, but must not be called.
symbols() { nm -D --undefined-only "$plugin" | awk '{ print $NF }' | grep -E '^(ggml|gguf)_'; }
host() { # NAME SYMBOL_LEFT_OUT
    { echo '#include <stdlib.h>'
      symbols | grep -vxE "ggml_version|ggml_commit|ggml_op_name|ggml_log_internal|$2" | sed 's/.*/void &(void) { abort(); }/'; } > "$work/stubs.c"
    "${CC:-cc}" -rdynamic -I"$(dirname "$TADA_GGML_H")" "$here/stub_host.c" "$work/stubs.c" -ldl -o "$work/$1"
}
asked() { # HOST WHAT ANSWER: what it prints, and that it ends well
    "$work/$1" "$plugin" "$2" > "$work/out" 2> "$work/err" && grep -qxE "$3" "$work/out"
}
# The same of one that was built for commit 0000000 of a version.
asked_other() { plugin=$bin/../tests/libggml-tada-other.so asked "$@"; }
told() { [ "$(grep -c 'TADA: .*rebuild the plug-in' "$work/err")" -eq "$1" ]; }

check "a stub of a host" host stub none
check "the version that it was built for is welcome" asked stub same 1
check "... and there is nothing to say" told 0
check "another version is not" asked stub version 0
check "... and the log says what to rebuild" told 1
check "... naming both" grep -q 'this llama.cpp has ggml 99.9.9 .*built for ggml [0-9]' "$work/err"
check "another commit of that version is not" asked stub commit '0|commit[?]'
check "another commit that is known is not" asked_other stub commit 0
check "... but its longer name is" asked_other stub longer 1
check "other numbers of operations are not" asked stub ops 0
check "... and the log says what to rebuild" told 1
check "a host without a function that we need" host poor ggml_backend_dev_by_type
check "... does not load the plug-in, and goes on" asked poor same '.*undefined symbol: ggml_backend_dev_by_type.*'

# A plug-in that fits, but whose functions are those of another version: nothing of it is called but what tells that.
if "$bin/tada" help eval > /dev/null 2>&1; then
    built_for=$("$bin/tada" doctor | sed -n 's/^ok  *built for  *//p')
    include=$(dirname "$TADA_GGML_H")
    for version in 0 99 none; do
        "${CC:-cc}" -shared -fPIC -DBUILT_FOR="\"$built_for\"" -DVERSION="${version/none/-1}" -I"$include" -I"$include/../src" \
            -I"$here/../../ggml" -I"$here/../../include" "$here/other_abi.c" -o "$work/abi-$version.so" > "$work/out" 2>&1
        check "a plug-in with functions of version $version" test $? -eq 0
        for command in "eval -m x" "bench -m x" "size -m x" "doctor"; do
            TADA_PLUGIN=$work/abi-$version.so timeout "$patience" "$bin/tada" $command > "$work/out" 2> "$work/err"
            check "... ${command%% *} does not use it" test $? -ne 0
            cat "$work/err" >> "$work/out"
            check "... and says what to do" says "$work/out" "abi-$version.so is of another version: install it again"
        done
    done
fi

# A version that nobody has tried is built, with a warning.
ggml=$work/llama.cpp/ggml
mkdir -p "$ggml/src" "$ggml/include"
touch "$ggml/src/ggml-backend-impl.h"
printf 'set(GGML_VERSION_MAJOR 99)\nset(GGML_VERSION_MINOR 9)\nset(GGML_VERSION_PATCH 9)\n' > "$ggml/CMakeLists.txt"
mkdir -p "$work/llama.cpp/include"
touch "$work/llama.cpp/include/llama.h"
cmake -S "$here/../.." -B "$work/build" -DTADA_LLAMA_DIR="$work/llama.cpp" -DBUILD_TESTING=OFF > "$work/out" 2> "$work/err"
check "an untried version can be configured for" test $? -eq 0
check "... with a warning" bash -c "tr '\n' ' ' < '$work/err' | grep -qE 'ggml 99.9.9 +has +not +been +tried'"
exit $((failures > 0))
