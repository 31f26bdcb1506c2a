#!/usr/bin/env bash
# Other releases of llama.cpp: the plug-in as it is steps aside in them; built for one that is supported, it works there.
#   TADA_OTHER_LLAMA=DIR[:DIR...] test_other_host.sh BIN_DIR    each DIR made by scripts/get_llama.sh --release VERSION DIR
. "$(dirname "$0")/check.sh"
[ -n "${TADA_OTHER_LLAMA:-}" ] || {
    echo "skipped: no other llama.cpp. Make one, scripts/get_llama.sh --release 0.3.35 build-other, and set TADA_OTHER_LLAMA=build-other"
    exit 77
}
model=$("$here/../../scripts/get_f16_model.sh" "$bin") || exit 1
prompt="Once upon a time there was a little girl who lived in a house near the forest. Every day she walked to the river and"

text() { # HOST PLUGIN SPEC OUT: text of the host's own tool; its log is $work/err
    local variables=(-u GGML_BACKEND_PATH)
    [ -z "$2" ] || variables=("GGML_BACKEND_PATH=$2" "TADA_CACHE=$3")
    env "${variables[@]}" timeout "$patience" "$1/llama/bin/llama-simple" -m "$model" -n 150 "$prompt" \
        > "$4" 2> "$work/err" < /dev/null
}
steps_aside() { # one line that says what to rebuild, and a cache of the host's
    [ "$(grep -c 'TADA: .*rebuild the plug-in' "$work/err")" -eq 1 ] && ! grep -aq 'TADA: .*planes compressed' "$work/err"
}

IFS=: read -ra hosts <<< "$TADA_OTHER_LLAMA"
for host in "${hosts[@]}"; do
    host=$(cd "$host" && pwd) && [ -x "$host/llama/bin/llama-simple" ] ||
        { echo "test_other_host.sh: no llama-simple in $host: make it with scripts/get_llama.sh --release" >&2; exit 1; }
    cmake -S "$here/../.." -B "$work/build" -DBUILD_TESTING=OFF -DTADA_LLAMA_DIR="$host/llama.cpp" -DTADA_LLAMA_BUILD="$host/llama" \
        > "$work/out" 2> "$work/err"
    untried=$(tr '\n' ' ' < "$work/err" | grep -cE "has +not +been +tried")
    version=$(sed -nE 's/.*plug-in for ggml ([^ ]+).*/\1/p' "$work/out")
    check "ggml $version: its tool runs without the plug-in" text "$host" "" "" "$work/stock"
    f16=$(buffer CPU)

    text "$host" "$bin/libggml-tada.so" tada "$work/aside"
    check "ggml $version: its tool runs with a plug-in for another version" test $? -eq 0
    check "... which steps aside and says so" steps_aside
    check "... the text is the same" cmp -s "$work/aside" "$work/stock"

    if [ "$untried" -gt 0 ]; then
        echo "        ggml $version is not among those that are supported: no plug-in is built for it"
        rm -rf "$work/build"
        continue
    fi
    cmake --build "$work/build" --parallel 2 --target ggml-tada > "$work/out" 2> "$work/err"
    check "ggml $version: the plug-in builds" test $? -eq 0
    plugin=$work/build/bin/libggml-tada.so
    check "... and works" text "$host" "$plugin" tada:8:window=0 "$work/ours"
    ours=$(buffer TADA)
    check "... the cache is smaller ($ours of $f16 MiB)" smaller "$ours" "$f16"
    check "... the text is the same with 8 bits" cmp -s "$work/ours" "$work/stock"

    GGML_BACKEND_PATH=$plugin timeout "$patience" "$bin/llama-completion" -m "$model" -p "$prompt" -n 8 -c 512 --temp 0 -no-cnv -lv 4 \
        > "$work/out" 2> "$work/err" < /dev/null
    check "... the llama.cpp of this build runs with it" test $? -eq 0
    check "... and it steps aside there and says so" steps_aside
    rm -rf "$work/build"
done
exit $((failures > 0))
