#!/usr/bin/env bash
# The plug-in in the stock tools, on the default model.  test_smollm2.sh BIN_DIR
. "$(dirname "$0")/check.sh"
model=$("$here/../../scripts/get_model.sh") || exit 1
exact=$("$here/../../scripts/get_f16_model.sh" "$bin") || exit 1

# In a shell of their own, so that they run functions, too.
plugin() { (export GGML_BACKEND_PATH="$bin/libggml-tada.so"; "$@"); }
stock() { (unset GGML_BACKEND_PATH TADA_CACHE; "$@"); }
complete() { timeout "$patience" "$bin/llama-completion" -m "$model" --temp 0 -no-cnv -t 2 -lv 4 "$@" < /dev/null; }
says() { grep -aqE "$1" "$work/err" "$work/out"; }
below() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a != "" && a <= b) }'; }

run() { # SPEC ARGS...: llama-completion with the plug-in
    local spec=$1
    shift
    status=0
    TADA_CACHE=$spec GGML_BACKEND_PATH="$bin/libggml-tada.so" complete "$@" > "$work/out" 2> "$work/err" || status=$?
}

prompt="The capital of France is"

# Memory as llama.cpp itself reports it, and sensible text.
stock complete -p "$prompt" -n 16 -c 8192 > "$work/out" 2> "$work/err"
f16=$(buffer CPU)
cp "$work/out" "$work/stock"
plugin complete -p "$prompt" -n 16 -c 8192 > "$work/out" 2> "$work/err"
ours=$(buffer TADA)
check "text goes on with Paris" grep -q Paris "$work/out"
"$bin/tada" run -m "$model" -p "$prompt" -n 16 -c 8192 --temp 0 -no-cnv > "$work/out" 2> "$work/said" < /dev/null
check "the first command of the README goes on with Paris" grep -q Paris "$work/out"
check "... and says what is saved" grep -qE \
    '^tada: cache tada, context 8192: [0-9.]+ MiB instead of 180.0 MiB in f16, 7[0-9] % saved$' "$work/said"
check "the cache is at most 30 % of f16 ($ours of $f16 MiB)" below "$(awk -v a="$ours" -v b="$f16" 'BEGIN { print a / b }')" 0.30

# Text, with f16 weights: quantised ones amplify every rounding, so that the stock cache does not even agree with itself
# when flash attention is on and off.
story="Once upon a time there was a little girl who lived in a house near the forest. Every day she walked to the river and"
quantised=$model model=$exact
stock complete -p "$story" -n 32 -c 1024 > "$work/stock" 2> "$work/err"
run tada:16 -p "$story" -n 32 -c 1024
check "with nothing compressed the text is that of the stock cache" cmp -s "$work/out" "$work/stock"
run tada:8:window=0:sinks=0 -p "$story" -n 32 -c 1024
check "with 8 bits, too" cmp -s "$work/out" "$work/stock"
speculate() {
    TADA_CACHE=tada:8:window=0:sinks=0 plugin timeout "$patience" "$bin/llama-speculative-simple" -m "$exact" -md "$quantised" \
        --spec-type draft-simple --spec-draft-n-max 8 -p "$1" -n 64 --temp 0 -c 1024 -fa on -t 2 > "$work/out" 2> "$work/err"
}
# Of a story, some CPUs have every draft right; of numbers and names none does.
: > "$work/drafts"
for text in "1, 1, 2, 3, 5, 8, 13," "SELECT name FROM" "$story"; do
    speculate "$text"
    cat "$work/err" "$work/out" >> "$work/drafts"
done
check "speculative decoding accepts drafts and rejects some" \
    awk '/n_drafted/ { d += $NF } /n_accept/ { a += $NF } END { exit !(a > 0 && a < d) }' "$work/drafts"
check "... and writes the same text" bash -c "grep -aqF \"\$(tail -c 80 '$work/stock' | head -c 60 | tail -n 1)\" '$work/out'"
model=$quantised

run q8_0 -p "$prompt" -n 8 -c 1024
check "a stock type leaves llama.cpp alone" bash -c "[ $status -eq 0 ] && ! grep -aq 'TADA: .*planes compressed' '$work/err'"

run quux -p "$prompt" -n 4 -c 512
check "an unknown spec is refused" test "$status" -eq 1
check "... with a message" says "TADA: Unknown cache spec 'quux'"

stock complete -p "$prompt" -n 8 -c 512 -fa off > "$work/stock" 2> "$work/err"
run tada -p "$prompt" -n 8 -c 512 -fa off
check "with flash attention off the text is that of the stock cache" bash -c "[ $status -eq 0 ] && cmp -s '$work/out' '$work/stock'"
check "... and one line says that nothing is compressed" test "$(grep -ac 'TADA: the KV cache stays in f16' "$work/err")" -eq 1

# Nothing depends on what the tool is told of devices.
for options in "-ngl 0" "-ngl 1" "-nkvo" "-dev none"; do
    run tada -p "$prompt" -n 16 -c 8192 $options
    check "the same cache with $options" test "$(buffer TADA)" = "$ours"
    check "... compressed" says "TADA: layers 0 to 29: 60 planes compressed"
done

run tada -p "Once upon a time" -n 400 -c 256 --context-shift
check "context shift" bash -c "[ $status -eq 0 ] && [ \$(wc -c < '$work/out') -gt 800 ]"

for spec in tada tada:8 tada:paper tada:4/2 tada:3:axis=channel tada:window=0:sinks=0; do
    run "$spec" -p "$prompt" -n 120 -c 1024
    check "$spec generates" test "$status" -eq 0
done

# A saved prompt goes on as if it had not been interrupted; a damaged one is refused, and the run goes on or ends cleanly.
# With f16 weights, as above: the last token comes alone in one run and within a batch in the other, which sums in another order.
model=$exact
run tada -p "$story" -n 1 -c 1024 --prompt-cache "$work/state"
check "a state file is written" test -s "$work/state"
run tada -p "$story" -n 24 -c 1024 --prompt-cache "$work/state" --prompt-cache-ro
cp "$work/out" "$work/restored"
run tada -p "$story" -n 24 -c 1024
check "a restored state goes on with the same text" cmp -s "$work/out" "$work/restored"
head -c 100000 "$work/state" > "$work/short"
run tada -p "$story" -n 8 -c 1024 --prompt-cache "$work/short" --prompt-cache-ro
check "a truncated state file ends cleanly" test "$status" -lt 128
model=$quantised

# A plug-in that was built for another version of ggml steps aside, with a line that says so.
other=$bin/../tests/libggml-tada-other.so
GGML_BACKEND_PATH=$other complete -p "$prompt" -n 8 -c 512 > "$work/out" 2> "$work/err"
check "another version of ggml: the run goes on without the plug-in" test $? -eq 0
check "... with one line that says what to rebuild" test "$(grep -c 'TADA: .*rebuild the plug-in' "$work/err")" -eq 1
check "... in the stock cache" bash -c "! grep -aq 'TADA: .*planes compressed' '$work/err'"
stock "$bin/llama-bench" --list-devices > "$work/out" 2> "$work/err"
# The paths in the log may have any name.
check "without the variable there is no trace of the plug-in" test "$(cat "$work/out" "$work/err" | grep -acE '^ *TADA|libggml-tada')" -eq 0

# KL divergence on text of the model's own, with f16 weights: their floor here is 0.0003.
stock complete -p 'The history of Europe began' -n 1300 -c 2048 --ignore-eos --temp 1 --seed 1 > "$work/text" 2> "$work/err"
kld=(-m "$exact" -f "$work/text" -c 512 -b 512 -ub 32 --chunks 2 -t 2 -fa on --kl-divergence-base "$work/base")
stock timeout "$patience" "$bin/llama-perplexity" "${kld[@]}" > "$work/out" 2> "$work/err"
mean_kld() {
    TADA_CACHE=$1 GGML_BACKEND_PATH="$bin/libggml-tada.so" timeout "$patience" "$bin/llama-perplexity" "${kld[@]}" --kl-divergence \
        > "$work/out" 2> "$work/err"
    grep -ahE 'Mean +KLD' "$work/out" "$work/err" | grep -oE '[0-9]+\.[0-9]+' | head -n 1
}
kld_below() { # SPEC BOUND
    local mean
    mean=$(mean_kld "$1")
    check "KL divergence of $1: $mean" below "$mean" "$2"
}
kld_below tada:16 0.0006
kld_below tada:8:window=0:sinks=0 0.001
kld_below tada 0.01

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
