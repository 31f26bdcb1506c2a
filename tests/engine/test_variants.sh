#!/usr/bin/env bash
# llama.cpp built as its releases for Linux are: one folder of tools and libraries, with a library of the CPU for each kind
# of CPU. A plug-in that knows only the source of that release works in it, as doc/guide/install.md says.
#   TADA_VARIANTS=DIR test_variants.sh BIN_DIR    DIR made by scripts/get_llama.sh --variants DIR
. "$(dirname "$0")/check.sh"
[ -n "${TADA_VARIANTS:-}" ] || {
    echo "skipped: no such llama.cpp. Make one, scripts/get_llama.sh --variants build-variants, and set TADA_VARIANTS=build-variants"
    exit 77
}
model=$("$here/../../scripts/get_f16_model.sh" "$bin") || exit 1
prompt="Once upon a time there was a little girl who lived in a house near the forest. Every day she walked to the river and"

# As it is unpacked, anywhere.
release="$work/llama b1"
cp -a "$TADA_VARIANTS/llama/bin" "$release"
check "there are libraries for several kinds of CPU" test "$(find "$release" -name 'libggml-cpu-*.so' | wc -l)" -gt 1

cmake -S "$here/../.." -B "$work/build" -DBUILD_TESTING=OFF -DTADA_LLAMA_DIR="$TADA_VARIANTS/llama.cpp" > "$work/out" 2> "$work/err"
check "TaDA is configured for the source alone" test $? -eq 0
cmake --build "$work/build" --parallel 2 > "$work/out" 2> "$work/err"
check "... and builds" test $? -eq 0
bin=$work/build/bin plugin=$work/build/bin/libggml-tada.so
export TADA_LLAMA_BIN=$release

tada doctor -m "$model"
check "tada doctor finds nothing wrong" test "$status" -eq 0
check "... finds the tools" grep -qF "$release/llama-cli" "$work/out"
check "... and hooks that work" grep -qE '^ok +hooks ' "$work/out"

write() { # OUT COMMAND...: the text that it writes; what it says is in $work/err
    local out=$1
    shift
    timeout "$patience" "$@" -m "$model" -p "$prompt" -n 60 -c 1024 --temp 0 -no-cnv -lv 4 > "$out" 2> "$work/err" < /dev/null
}
check "llama-completion runs" write "$work/stock" "$release/llama-completion"
f16=$(buffer CPU)
check "... with one of the libraries of the CPU" grep -aqE 'loaded CPU backend from .*libggml-cpu-[a-z0-9.]+[.]so' "$work/err"
check "tada run starts it" write "$work/ours" "$bin/tada" run --cache tada:8:window=0
ours=$(buffer TADA)
check "... the cache is smaller ($ours of $f16 MiB)" smaller "$ours" "$f16"
check "... the text is the same with 8 bits" cmp -s "$work/ours" "$work/stock"
check "it runs by GGML_BACKEND_PATH alone" write "$work/named" env GGML_BACKEND_PATH="$plugin" TADA_CACHE=tada:8:window=0 \
    "$release/llama-completion"
check "... and writes the same" cmp -s "$work/named" "$work/ours"

GGML_BACKEND_PATH=$plugin TADA_CACHE=tada TADA_LOG=2 timeout "$patience" "$release/llama-bench" -m "$model" -p 64 -n 4 -d 256 -r 1 \
    -t 2 -fa 1 --no-warmup -v > "$work/out" 2> "$work/err"
check "llama-bench runs" test $? -eq 0
check "... with compressed planes" grep -aq 'planes compressed in' "$work/err"
tada eval -m "$model" -f "$here/../../README.md" -c 256 --chunks 1 -t 2 --cache tada:8 --json "$work/eval.json"
check "tada eval loads its libraries" test "$status" -eq 0
tada serve -m "$model" -c 1024 -np 1 --version
check "tada serve starts its server" test "$status" -eq 0
check "... and tells what is saved" grep -q 'MiB instead of' "$work/err"
exit $((failures > 0))
