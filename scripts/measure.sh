#!/usr/bin/env bash
# Measures everything that the README and doc/results.md say, step by step, and writes them anew (scripts/results.py).
#   TEXT=wiki.txt measure.sh [STEP...]      (default: all; "list" names them)
# A step whose result is there for the same state of the code is not run again: after Ctrl-C, start it again. Results are
# in BUILD/measure, with command, commit, CPU and date of each. Steps that measure time want an idle computer.
# In the environment: TEXT, a long text, such as the validation text of WikiText-2; QWEN, a GGUF file with f16 weights of
# Qwen2.5-Coder-0.5B-Instruct (without it, its steps are left out); BUILD (build); THREADS (2); PAIRS (4), of speed.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${BUILD:-build}")
bin=$build/bin threads=${THREADS:-2} pairs=${PAIRS:-4} out=$build/measure
steps=(sizes quality-smollm2 quality-qwen generate-smollm2 generate-qwen plan-smollm2 plan-qwen speed decode-8064 prefill-7168
    attention servers session demo)
fail() { echo "measure.sh: $1" >&2; exit 1; }
case ${1:-} in
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"; exit ;;
    list) printf '%s\n' "${steps[@]}"; exit ;;
esac
[ -x "$bin/tada" ] || fail "$bin/tada is missing: run 'make' first"
code=(src ggml include common threads session scripts/get_llama.sh)
git diff --quiet HEAD -- "${code[@]}" || fail "the code differs from the commit: commit it first"
state=$(for part in "${code[@]}"; do git rev-parse "HEAD:$part"; done | sha256sum | cut -c 1-16)
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TADA_LLAMA_BIN=$bin

text() { [ -r "${TEXT:-}" ] || fail "set TEXT to the path of a long text, such as the validation text of WikiText-2"; }
exact() { # the model NAME with f16 weights
    case $1 in
        smollm2) scripts/get_f16_model.sh "$bin" ;;
        qwen) [ -r "${QWEN:-}" ] && echo "$QWEN" ;;
    esac
}
stock() { env -u GGML_BACKEND_PATH -u TADA_CACHE "$@"; }
with() { env GGML_BACKEND_PATH="$bin/libggml-tada.so" TADA_CACHE="$1" "${@:2}"; }

# run COMMAND...: the first one is what a reader types; paths of this computer are names there.
run() {
    local word typed=''
    for word; do
        case $word in
            "$bin"/* | "$work"/* | "$out"/* | "$build"/llama/bin/*) word=${word##*/} ;;
            "$bin") word=build/bin ;;
            stock | --force) continue ;;
            "${TEXT:-/}") word=TEXT ;;
            "${model:-/}") word=MODEL ;;
        esac
        typed+="$word "
    done
    [ -s "$work/command" ] || echo "${typed% }" > "$work/command"
    "$@"
}

# Each step writes JSON to standard output. In a step errors do not end the script: they are looked for.
sizes() {
    for context in "-c 4096" "-c 32768" "--memory 512M"; do
        # shellcheck disable=SC2086 # two words
        run "$bin/tada" size -m "$model" -np 1 -t "$threads" $context --cache q8_0,q4_0,tada:high,tada,tada:compact --json -
    done | python3 -c 'import json, sys
decoder, text, found = json.JSONDecoder(), sys.stdin.read().strip(), []
while text:
    value, end = decoder.raw_decode(text)
    found.append(value)
    text = text[end:].strip()
print(json.dumps(found))'
}
# Of the larger model those that the README shows.
quality() {
    local caches=q8_0,q4_0,tada:high,tada,tada:compact
    [ "$1" = qwen ] || caches+=,kivi:4,tada:refine=off
    run "$bin/tada" eval -m "$model" -f "$TEXT" -c 4096 --chunks 1 --cache "$caches" --json -
}
generate() { run "$bin/tada" eval -m "$model" -f "$TEXT" -c 2048 --chunks 1 --generate 512 \
    --cache q8_0,q4_0,kivi:4,tada:high,tada,tada:compact --json -; }
# Learnt from the second half of the text, measured on the first.
plan() {
    tail -c "$(($(wc -c < "$TEXT") / 2))" "$TEXT" | iconv -c -f utf-8 -t utf-8 > "$work/other.txt"
    run "$bin/tada" calibrate -m "$model" -f "$work/other.txt" --budget 27% -o "$out/$1.gguf" --force >&2 || return
    run "$bin/tada" eval -m "$model" -f "$TEXT" -c 4096 --chunks 1 --cache "tada:@$out/$1.gguf" --json - |
        sed "s|tada:@[^\"]*|plan of 27 %|"
}
speed() { run "$bin/tada" bench -m "$model" -d 0,2048,8064 --cache q8_0,tada -t "$threads" -r 3 --json -; }
# Pairs of llama-bench in turns: what two programs say that know nothing of each other.
bench_pairs() {
    for ((i = 0; i < pairs; i++)); do
        run stock "$bin/llama-bench" -m "$model" -t "$threads" -fa 1 -r 1 --no-warmup "$@" -o jsonl | sed 's/^{/{"cache": "f16", /'
        run with tada "$bin/llama-bench" -m "$model" -t "$threads" -fa 1 -r 1 --no-warmup "$@" -o jsonl | sed 's/^{/{"cache": "tada", /'
    done | grep '^{' | python3 -c 'import json, sys
print(json.dumps([{"cache": r["cache"], "speed": r["avg_ts"]} for r in map(json.loads, sys.stdin)]))'
}
attention() { run "$bin/bench_attention" --dim 64,128 --group 1,4 --json; }
servers() {
    local sizes=(-c 33280 -b 2048 -ub 512 -npp 4096 -ntg 32 -npl 8 -t "$threads" -fa on --output-format jsonl)
    cmake --build "$build/llama" --target llama-batched-bench >&2
    for cells in -no-kvu -kvu; do
        run stock "$build/llama/bin/llama-batched-bench" -m "$model" "${sizes[@]}" "$cells" | sed -n "s/^{/{\"cache\": \"f16\", \"cells\": \"$cells\", /p"
        run with tada "$build/llama/bin/llama-batched-bench" -m "$model" "${sizes[@]}" "$cells" | sed -n "s/^{/{\"cache\": \"tada\", \"cells\": \"$cells\", /p"
    done | python3 -c 'import json, sys
print(json.dumps([{"cache": r["cache"], "cells": r["cells"], "decode": r["speed_tg"], "prefill": r["speed_pp"]}
                  for r in map(json.loads, sys.stdin)]))'
}
session() {
    head -c 30000 "$TEXT" > "$work/prompt.txt"
    run "$bin/tada" run --tool completion -- -m "$model" -f "$work/prompt.txt" -c 8192 -n 1 -no-cnv -fit off \
        --prompt-cache "$work/session.bin" -t "$threads" > /dev/null &&
        "$bin/tada" pack "$work/session.bin" -o "$work/session.tada" > /dev/null &&
        "$bin/tada" unpack "$work/session.tada" -o "$work/again.bin" > /dev/null &&
        cmp "$work/session.bin" "$work/again.bin" >&2 || return
    printf '{"plain_bytes": %d, "packed_bytes": %d, "same": true}\n' \
        "$(wc -c < "$work/session.bin")" "$(wc -c < "$work/session.tada")"
}

demo() {
    run scripts/demo.py "$bin" "$model" > "$work/screen" &&
        sed '1,/^====/d' "$work/screen" | python3 -c 'import json, sys; print(json.dumps(sys.stdin.read().splitlines()))'
}

# record STEP: the result with what belongs to it.
record() {
    python3 - "$1" "$work" "$state" "$(git rev-parse --short HEAD)" "$threads" "$out/$1.json" << 'PYTHON'
import datetime, json, os, sys
step, work, state, commit, threads, path = sys.argv[1:]
cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
result = json.load(open(f"{work}/result"))
record = {"step": step, "command": open(f"{work}/command").read().strip(), "commit": commit, "state": state, "cpu": cpu,
          "threads": int(threads), "date": datetime.date.today().isoformat(), "result": result}
with open(path + ".part", "w") as file:
    json.dump(record, file, indent=1)
os.replace(path + ".part", path)
PYTHON
}

[ $# -gt 0 ] || set -- "${steps[@]}"
for step; do
    [[ " ${steps[*]} " == *" $step "* ]] || fail "there is no step '$step': 'measure.sh list' names them"
    if grep -qs "\"state\": \"$state\"" "$out/$step.json"; then
        printf '%-18s there already\n' "$step"
        continue
    fi
    case $step in
        *-smollm2 | *-qwen)
            text
            model=$(exact "${step#*-}") || { printf '%-18s left out: set QWEN to a GGUF file\n' "$step"; continue; } ;;
        session) text; model=$(scripts/get_model.sh) ;;
        *) model=$(scripts/get_model.sh) ;;
    esac
    printf '%-18s ' "$step"
    rm -f "$work/command"
    start=$SECONDS
    case $step in
        quality-* | generate-*) "${step%-*}" "${step#*-}" ;;
        plan-*) plan "$step" ;;
        decode-8064) bench_pairs -p 0 -n 32 -d 8064 ;;
        prefill-7168) bench_pairs -p 512 -n 0 -d 7168 ;;
        *) "$step" ;;
    esac > "$work/result" 2> "$out/$step.log" < /dev/null || fail "step $step failed: its log is $out/$step.log"
    record "$step"
    printf '%d min %d s\n' $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60))
done
scripts/results.py "$out"
