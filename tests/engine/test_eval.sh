#!/usr/bin/env bash
# tada eval on the default model, with small contexts.  test_eval.sh BIN_DIR
. "$(dirname "$0")/check.sh"
quantised=$("$here/../../scripts/get_model.sh") || exit 1
exact=$("$here/../../scripts/get_f16_model.sh" "$bin") || exit 1
export TMPDIR=$work/tmp
mkdir "$TMPDIR"

json() { # FILE EXPRESSION: true in Python, with the report as r and its results by cache as c
    python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
c = {row["cache"]: row for row in r.get("results", [])}
sys.exit(not eval(sys.argv[2]))' "$1" "$2"
}
run() { # ARGS...
    status=0
    timeout "$patience" "$bin/tada" eval -t 2 "$@" > "$work/out" 2> "$work/err" || status=$?
}

# Any text does.
"$bin/tada" help eval > "$work/text"
"$bin/tada" help run >> "$work/text"
cat "$work/text" "$here/../../doc/reference/format.md" > "$work/long"

# Stock types and ours, in one run.
run -m "$exact" -f "$work/long" -c 256 --chunks 2 --cache f16,q8_0,q4_0 --cache tada:16,tada:4:window=0:sinks=0 --json "$work/a.json"
check "eval succeeds" test "$status" -eq 0
check "the JSON is complete" json "$work/a.json" 'r["complete"] is True and r["n_ctx"] == 256 and r["chunks"] == 2 and r["n_ubatch"] == 32'
check "... in the order of the table" json "$work/a.json" 'list(c) == ["f16", "floor", "q8_0", "q4_0", "tada:16", "tada:4:window=0:sinks=0"]'
check "... with all fields" json "$work/a.json" 'all(set("""cache kv_bytes memory_ratio ppl ppl_base ppl_ratio kld_mean kld_mean_se
    kld_median kld_p99 kld_p999 top1 top1_se tokens n_ctx n_ubatch at_floor""".split()) <= set(row) for row in r["results"])'
check "the second half is scored" json "$work/a.json" 'all(row["tokens"] == 2 * (256 - 1 - 128) for row in r["results"])'
check "memory of stock types is that of llama.cpp" json "$work/a.json" \
    'c["floor"]["memory_ratio"] == 1 and abs(c["q8_0"]["memory_ratio"] - 8.5 / 16) < 0.002 and abs(c["q4_0"]["memory_ratio"] - 4.5 / 16) < 0.002'
check "perplexities belong together" json "$work/a.json" \
    'all(row["ppl_base"] == c["f16"]["ppl"] and abs(row["ppl"] / row["ppl_base"] - row["ppl_ratio"]) < 1e-9 for row in r["results"])'
check "q4_0 is worse than q8_0" json "$work/a.json" 'c["q4_0"]["kld_mean"] > 10 * c["q8_0"]["kld_mean"] > 0'
check "q4_0 is above the floor" json "$work/a.json" 'not c["q4_0"]["at_floor"] and c["floor"]["at_floor"]'
check "tada:16 is close to the floor" json "$work/a.json" 'c["tada:16"]["kld_mean"] < 0.0005'
check "tada:4 is better than q4_0" json "$work/a.json" 'c["tada:4:window=0:sinks=0"]["kld_mean"] < c["q4_0"]["kld_mean"]'
check "quantiles are in order" json "$work/a.json" \
    'all(row["kld_median"] <= row["kld_p99"] <= row["kld_p999"] for row in r["results"])'
check "the table has a row for each cache" test "$(grep -cE '^(f16|floor|q8_0|q4_0|tada:16|tada:4:window=0:sinks=0) ' "$work/out")" -eq 6

# A single cache among others and alone, and the model from its file and converted from the quantised one, which has
# the same weights: the same numbers.
run -m "$quantised" -f "$work/long" -c 256 --chunks 2 --cache tada:4:window=0:sinks=0 --weights f16 --json -
cp "$work/out" "$work/b.json"
check "--json - prints only the JSON" json "$work/b.json" 'list(c) == ["f16", "floor", "tada:4:window=0:sinks=0"]'
check "--weights f16" json "$work/b.json" 'r["weights"] == "f16"'
check "the result does not depend on the other caches" test \
    "$(grep kld_ "$work/b.json" | tail -n 5)" = "$(grep kld_ "$work/a.json" | tail -n 5)"

# A cache of which a half is used costs what is reserved, and is better than a full one: it stays refined.
run -m "$exact" -f "$work/long" -c 256 --chunks 2 --cache tada:sinks=0 --json "$work/full.json"
run -m "$exact" -f "$work/long" -c 256 --reserve 512 --chunks 2 --cache tada:sinks=0 --json "$work/half.json"
check "--reserve" json "$work/half.json" 'r["n_ctx"] == 256 and r["n_cells"] == 512 and c["tada:sinks=0"]["n_cells"] == 512'
check "... is in the table" grep -q "; 512 cells" "$work/out"
value() { # FILE ROW FIELD
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["results"][int(sys.argv[2])][sys.argv[3]])' "$@"
}
# What is exact in the cache of ours does not grow: that is most of so small a one.
check "... makes all caches larger" json "$work/half.json" \
    "c['f16']['kv_bytes'] > 1.9 * $(value "$work/full.json" 0 kv_bytes) and c['tada:sinks=0']['kv_bytes'] > 1.2 * $(value "$work/full.json" -1 kv_bytes)"
check "... and ours better" json "$work/half.json" "c['tada:sinks=0']['kld_mean'] < $(value "$work/full.json" -1 kld_mean)"
check "... a full one says nothing of cells" json "$work/full.json" 'r["n_cells"] == 256'

# Text that the model writes: the same for the same seed (1).
run -m "$quantised" -c 256 --seed 1 --cache q8_0 --json "$work/e.json"
run -m "$quantised" -c 256 --seed 1 --cache q8_0 --json "$work/f.json"
run -m "$quantised" -c 256 --seed 2 --cache q8_0 --json "$work/g.json"
check "quantised weights: a note on the floor" grep -q -- '--weights f16' "$work/out"
check "a table of at most 100 columns" awk 'length($0) > 100 { exit 1 }' "$work/out"
check "a verdict for each cache" grep -qE '^q8_0 .*  (at the floor|near)$' "$work/out"
check "... in the JSON, too" json "$work/g.json" 'c["q8_0"]["verdict"] in ("at the floor", "near") and c["floor"]["verdict"] == ""'
run -m "$quantised" -c 256 --cache kivi:2,tada --json "$work/verdict.json"
check "a cache of 2 bits is far" json "$work/verdict.json" 'c["kivi:2"]["verdict"] in ("visible", "broken")'
check "why a short context takes more" grep -q 'kept exact weigh much' "$work/out"
check "its own text is the same for the same seed" cmp -s "$work/e.json" "$work/f.json"
check "... and one window" json "$work/e.json" 'r["chunks"] == 1 and r["text"] is None and c["f16"]["tokens"] == 127'
check "... another one for another seed" json "$work/g.json" "c['f16']['ppl'] != $(python3 -c \
    'import json, sys; print(json.load(open(sys.argv[1]))["results"][0]["ppl"])' "$work/e.json")"

# Wrong input: status 2, one reason, nothing on standard output and no JSON.
refuses() { # NAME PATTERN ARGS...
    local name=$1 pattern=$2
    shift 2
    run "$@" --json "$work/wrong.json"
    check "$name: refused" test "$status" -eq 2
    check "... with the reason" grep -qE -- "$pattern" "$work/err"
    check "... and nothing else" bash -c "[ ! -s '$work/out' ] && ! ls '$work' | grep -q wrong"
}
head -c 50000000 "$quantised" > "$work/short.gguf"
refuses "a truncated model" "does not load" -m "$work/short.gguf" -f "$work/long" -c 256
refuses "a truncated model to convert" "does not load" -m "$work/short.gguf" -f "$work/long" -c 256 --weights f16
refuses "no model" "cannot be read" -m "$work/none.gguf"
refuses "no text" "cannot be read" -m "$quantised" -f "$work/none.txt" -c 256
refuses "a folder as text" "cannot be read" -m "$quantised" -f "$work" -c 256
refuses "a window larger than the text" "has [0-9]+ tokens, but 4096 are needed: give a longer text or a smaller context \(-c\)\." -m "$quantised" -f "$work/text" -c 4096 --chunks 1
refuses "too many windows" "tokens, but 25600 are needed: .* or fewer chunks \(--chunks\)\." -m "$quantised" -f "$work/text" -c 256 --chunks 100
refuses "an unknown spec" "Unknown cache spec 'quux'" -m "$quantised" -f "$work/long" --cache q8_0,quux
refuses "caches larger than memory" "use a smaller context" -m "$quantised" -f "$work/long" -c 16777216 --chunks 1

# Ctrl-C: what is done is shown.
for _ in {1..20}; do cat "$work/long"; done > "$work/longer"
interrupt "chunk 2" eval -t 2 -m "$exact" -f "$work/longer" -c 256 --chunks 100 --cache q4_0 --json "$work/h.json"
check "Ctrl-C: status 130" test "$status" -eq 130
check "... an incomplete JSON" json "$work/h.json" 'r["complete"] is False and 127 <= c["q4_0"]["tokens"] < 127 * 100'
check "... the same for all caches" json "$work/h.json" 'len({row["tokens"] for row in r["results"]}) == 1'
check "... the table" grep -q '^q4_0 ' "$work/out"
check "... and how far it came" grep -qE 'Interrupted after [0-9]+ of 12700 tokens' "$work/out"
interrupt "writing" eval -t 2 -m "$exact" -c 1024 --cache q4_0 --json "$work/i.json"
check "Ctrl-C before there is a result: status 130" test "$status" -eq 130
check "... an empty JSON" json "$work/i.json" 'r["complete"] is False and r["results"] == []'
check "... no table" test ! -s "$work/out"
check "... and a line that says so" grep -q 'interrupted before' "$work/err"
interrupt "converting" eval -t 2 -m "$quantised" -f "$work/long" -c 256 --cache q4_0 --weights f16 --json "$work/j.json"
check "Ctrl-C while converting: status 130" test "$status" -eq 130
check "no temporary file is left" test -z "$(ls "$TMPDIR")"

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
