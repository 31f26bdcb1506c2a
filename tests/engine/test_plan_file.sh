#!/usr/bin/env bash
# Plan files: sound ones are followed, all others refused with a reason, on a tiny random model.  test_plan.sh BIN_DIR
. "$(dirname "$0")/check.sh"
make_plan=$bin/../tests/make_plan
needs make_plan
tools=${TADA_LLAMA_BIN:-$bin}

make() { # ARGS...
    timeout "$patience" "$make_plan" "$work" "$@"
}
run() { # ARGS...: tada, in the folder of the plans
    status=0
    (cd "$work" && timeout "$patience" "$bin/tada" "$@") > "$work/out" 2> "$work/err" || status=$?
}
bench() { # CACHE ARGS...
    local cache=$1
    shift
    run bench -m model.gguf -t 2 --depth 640 --decode 2 --prefill 16 --repeat 1 --cache "$cache" "$@"
}
refused() { # NAME WORDS: what was run had status 2, gave the reason and nothing else
    check "$1: refused" test "$status" -eq 2
    check "... with the reason" grep -qF -e "$2" "$work/err"
    check "... and nothing else" test ! -s "$work/out" -a ! -e "$work/x.json"
}

# All norms of the model are ones.
fingerprint=$(python3 -c '
import struct
h = 0xcbf29ce484222325
for byte in struct.pack("<f", 1) * 128:
    h = (h ^ byte) * 0x100000001b3 % 2**64
print("%016x" % h)')
check "plans are written" make 3 128 "$fingerprint"

# Inspecting.
run inspect good.plan --json x.json
check "a plan is shown" test "$status" -eq 0 -a ! -s "$work/err"
check "... with the model's fingerprint" grep -qE "fingerprint $fingerprint" "$work/out"
check "... the measured points" grep -qE '^q4_0 +28\.1 % +0\.01230 \+- 0\.00110' "$work/out"
check "... every layer" test "$(grep -cE '^ +[0-2]  [KV] ' "$work/out")" -eq 6
check "... and the average" grep -qE '^bits on average: K 4\.00, V 3\.00' "$work/out"
check "the JSON agrees" python3 -c "
import json
r = json.load(open('$work/x.json'))
assert r['fingerprint'] == '$fingerprint' and r['model'] == 'random' and r['method'] == 'tada', r
assert [p['bits'] for p in r['planes']] == [3.5, 3, 4, 3, 4.5, 3], r
assert [p['cache'] for p in r['points']] == ['q4_0', 'plan'], r"
rm "$work/x.json"
LC_ALL=C run inspect good.plan
check "without UTF-8 the bars are of '='" bash -c "grep -q '===' '$work/out' && ! LC_ALL=C grep -qP '[^\x00-\x7f]' '$work/out'"
run inspect good.plan --json -
check "--json - prints only the JSON" python3 -c "import json; json.load(open('$work/out'))"

# Where there is no room, also for a part of what is written.
for option in --json --html; do
    for blocks in 0 1; do
        rm -f full "$work/full"
        (ulimit -f $blocks && exec "$bin/tada" inspect "$work/good.plan" "$option" "$work/full" > /dev/null 2>&1)
        check "$option with $blocks KiB of room is no success" test $? -eq 1 -a ! -e "$work/full"
    done
    run inspect good.plan "$option" /dev/full
    check "... nor on a full device" test "$status" -eq 1
    check "... which is said" grep -q "/dev/full could not be written" "$work/err"
done

# Following it: memory as that of the bits it says, 3.5, 4 and 4.5 of K on average 4 as in tada.
bench tada:@good.plan,tada --json x.json
check "a plan is followed" test "$status" -eq 0
check "... with the memory that it says" python3 -c "
import json
kv = {r['cache']: r['kv_bytes'] for r in json.load(open('$work/x.json'))['results']}
assert abs(kv['tada:@good.plan'] / kv['tada'] - 1) < 0.02, kv"
rm -f "$work/x.json"
bench "tada:@$work/good.plan"
check "also by its full path" test "$status" -eq 0

# A path that is as long as paths may be.
deep=$work/$(printf 'deep%.0s' {1..60})/$(printf 'er%.0s' {1..120})
mkdir -p "$deep"
cp "$work/good.plan" "$deep/"
bench "tada:@$deep/good.plan"
check "... which may be long" test "$status" -eq 0

# Texts that would have their way with a terminal.
esc=$'\x1b'
clean() { # NAME FILE...: no control characters but ends of lines, no marks that turn the direction of writing
    local name=$1
    shift
    check "$name" bash -c "cat \"\$@\" | python3 -c '
import sys, unicodedata
text = sys.stdin.buffer.read().decode()
assert text and not [c for c in text if c not in (chr(9), chr(10)) and unicodedata.category(c) in (\"Cc\", \"Cf\")], ascii(text)'" - "$@"
}
run inspect evil.plan --json evil.json --html evil.html
check "a plan of hostile texts is shown" test "$status" -eq 0
clean "... as they are" "$work/out"
check "... which one sees" grep -qF '\x1b]0;title\x07' "$work/out"
clean "... in the page, too" "$work/evil.html"
clean "... and in the JSON" "$work/evil.json"
check "... which has them all" python3 -c "
import json
assert '\x1b]0;title\x07' in json.load(open('$work/evil.json'))['model']"
bench tada:@evil.plan
check "... the plan does not fit" test "$status" -eq 2
clean "... which is told without them" "$work/err"
cp "$work/good.plan" "$work/${esc}[31mred.plan"
bench "tada:@${esc}[31mred.plan" --json red.json
check "a plan of a hostile name is followed" test "$status" -eq 0
clean "... and shown as it is" "$work/out" "$work/red.json"
rm "$work/evil.json" "$work/red.json"

# What is there is not replaced, and may be a stream.
status=0
cat "$work/good.plan" | "$bin/tada" inspect - --html - > "$work/out" 2> "$work/err" || status=$?
check "a plan may come from a pipe, and the page go to one" bash -c "[ $status -eq 0 ] && head -n 1 '$work/out' | grep -q '^<!DOCTYPE'"
check "... and nothing else" bash -c "! grep -q fingerprint\ 0 '$work/out' && [ \$(tail -n 1 '$work/out') = '</body></html>' ]"
echo kept > "$work/kept"
run inspect good.plan --json kept
check "a file that is there is not replaced" bash -c "[ $status -eq 2 ] && [ \$(cat '$work/kept') = kept ]"
chmod 600 "$work/kept"
run inspect good.plan --json kept --force
check "... unless it is given up" bash -c "[ $status -eq 0 ] && grep -q '^{' '$work/kept'"
check "... and is as private as it was" test "$(stat -c %a "$work/kept")" -eq 600
run inspect good.plan --json good.plan --force
check "a plan is not replaced by what it says" bash -c "[ $status -eq 2 ] && cmp '$work/good.plan' '$deep/good.plan'"
run inspect good.plan --json /dev/full
check "a full disk is told" bash -c "[ $status -eq 1 ] && grep -q 'No space left' '$work/err'"

# What does not fit.
for case in "wide.plan|is for a model with other layers" "shallow.plan|is for a model with other layers" "foreign.plan|is for another model" \
    "nan.plan|weights must be numbers" "none.plan|cannot be read" "model.gguf|not a plan" ".|cannot be read"; do
    bench "tada:@${case%%|*}" --json x.json
    refused "bench with ${case%%|*}" "${case#*|}"
done
for command in "inspect none.plan" "inspect nan.plan" "inspect model.gguf" "inspect /dev/zero" "inspect ." "inspect" "inspect a b" \
    "eval -m model.gguf --cache tada:@nan.plan" "run -m model.gguf --cache tada:@none.plan" \
    "serve -m model.gguf --cache tada:@none.plan" "run -m model.gguf --cache tada:@nan.plan" \
    "run -m model.gguf --cache tada:@foreign.plan" "run -m model.gguf --cache tada:@wide.plan" \
    "serve -m model.gguf --cache tada:@wide.plan" "size -m model.gguf --cache tada:@foreign.plan" \
    "size -m model.gguf --cache tada,tada:@shallow.plan" "eval -m model.gguf --cache q8_0,tada:@wide.plan" "bench -m model.gguf --cache tada:@$(printf 'x%.0s' {1..300})"; do
    run $command
    # Wrong usage is told by the name of the command.
    said=$(grep -oxE "tada( ${command%% *})?: .+" "$work/err" | head -n 1)
    refused "$(cut -c 1-60 <<< "$command")" "${said:-tada: }"
done

# Damaged files, through the commands. The unit tests damage a plan at every byte.
size=$(stat -c %s "$work/good.plan")
for length in 0 3 24 100 $((size / 2)) $((size - 40)); do
    head -c "$length" "$work/good.plan" > "$work/cut.plan"
    run inspect cut.plan
    refused "inspect a plan cut at byte $length" "tada: "
    bench tada:@cut.plan --json x.json
    refused "bench with it" "tada: "
done

# A stock tool with the plug-in.
tool() { # PLAN
    status=0
    (cd "$work" && TADA_CACHE=tada:@$1 GGML_BACKEND_PATH=$bin/libggml-tada.so timeout "$patience" "$tools/llama-bench" -m model.gguf \
        -p 16 -n 4 -r 1 -fa 1 -t 2 -v) > "$work/out" 2> "$work/err" || status=$?
}
told() { # N WORDS: so many lines say so
    test "$(grep -c "TADA: $2" "$work/err")" -eq "$1"
}
tool good.plan
check "llama-bench follows a plan" bash -c "[ $status -eq 0 ] && grep -q tg4 '$work/out'"
check "... and there is nothing to say of it" told 0 'the plan'
for plan in foreign.plan wide.plan shallow.plan; do
    tool $plan
    check "llama-bench with $plan goes on with another cache" bash -c "[ $status -eq 0 ] && grep -q tg4 '$work/out'"
    check "... and says so" grep -q "TADA: the plan is for another model: this one has the cache 'tada' where it does not fit" "$work/err"
done
for plan in nan.plan none.plan cut.plan; do
    tool $plan
    check "llama-bench with $plan ends cleanly" test "$status" -gt 0 -a "$status" -lt 124
    check "... with the reason" grep -q 'TADA: .*plan' "$work/err"
done

# A draft model with other layers beside the plan's model has the default cache, and the other way round.
"$bin/../tests/make_model" "$work/draft.gguf" shape gqa-96 || exit 1
speculate() { # TARGET DRAFT
    status=0
    (cd "$work" && TADA_CACHE=tada:@good.plan GGML_BACKEND_PATH=$bin/libggml-tada.so timeout "$patience" "$tools/llama-speculative-simple" \
        -m "$1" -md "$2" --spec-type draft-simple -p "a draft" -n 16 -c 512 --temp 0 -fa on -t 2) > "$work/out" 2> "$work/err" || status=$?
}
speculate model.gguf draft.gguf
check "a plan with a draft model of other layers" test "$status" -eq 0
check "... which is told once" told 1 'the plan is for another model'
speculate draft.gguf model.gguf
check "the plan of the draft model" test "$status" -eq 0
check "... is told once, too" told 1 'the plan is for another model'

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
