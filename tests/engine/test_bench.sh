#!/usr/bin/env bash
# tada bench, on the default model at small depths: that its results are whole and consistent, not how fast it is.
#   test_bench.sh BIN_DIR
. "$(dirname "$0")/check.sh"
model=$("$here/../../scripts/get_model.sh") || exit 1

bench() { # ARGS...: a short run
    status=0
    timeout "$patience" "$bin/tada" bench -m "$model" -t 2 --decode 4 --prefill 80 "$@" > "$work/out" 2> "$work/err" || status=$?
}
refused() { # NAME WORDS ARGS...: status 2, the words on standard error, nothing else anywhere
    local name=$1 words=$2
    shift 2
    mkdir "$work/refused"
    bench "$@"
    check "$name" bash -c "[ $status -eq 2 ] && grep -qF -e '$words' '$work/err' && [ ! -s '$work/out' ] &&
        [ -z \"\$(ls -A '$work/refused')\" ]"
    rmdir "$work/refused"
}

# Everything at once; depths in any order, caches given twice count once.
options=(--depth 256,0,256 --cache tada,f16 --cache q8_0/q4_0,tada,f16/f16 --repeat 2)
plot=()
if command -v gnuplot > /dev/null; then
    plot=(--plot "$work/it's \"speed\".svg")
else
    echo "skipped the plot: there is no gnuplot"
fi
# Times of single tokens: a stream of more than a tile has a slowest place.
bench --depth 64 --decode 66 --cache tada --repeat 2 --latency --json "$work/latency.json"
check "a table of latencies" test "$(grep -cE '^(f16|tada) +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9]+ x +[0-9.]+$' "$work/out")" -eq 2
check "the latencies are consistent" python3 - "$work/latency.json" << 'PYTHON'
import json, sys
for r in json.load(open(sys.argv[1]))["results"]:
    l = r["latency"]
    assert 0 < l["median_ms"] <= l["p99_ms"] <= l["max_ms"] and 0 <= l["place"] < 64 and l["place_ratio"] > 0, l
PYTHON
rm "$work/latency.json"
bench "${options[@]}" --json "$work/report.json" ${plot[@]+"${plot[@]}"}
check "the run ends well" test "$status" -eq 0
only_progress() { ! grep -qvE '^bench: +[0-9]+ %, [0-9]+:[0-9]{2} left' "$work/err"; }
check "nothing on standard error but how far it is" only_progress
check "a block for each depth" test "$(grep -c '^depth ' "$work/out")" -eq 2
check "a row for each cache and depth" test "$(grep -cE '^(f16|tada|q8_0/q4_0) ' "$work/out")" -eq 6
check "the JSON is whole and consistent" python3 - "$work/report.json" << 'PYTHON'
import json, sys
report = json.load(open(sys.argv[1]))
assert report["complete"] is True and report["threads"] == 2 and report["repeat"] == 2, report
assert report["model"].endswith(".gguf") and report["version"] and report["n_ctx"] == 512, report
results = report["results"]
assert [(r["depth"], r["cache"]) for r in results] == [
    (depth, cache) for depth in (0, 256) for cache in ("f16", "tada", "q8_0/q4_0")], results
for r in results:
    base = next(b for b in results if b["depth"] == r["depth"] and b["cache"] == "f16")
    assert r["repetitions"] == 2 and abs(r["memory_ratio"] * base["kv_bytes"] - r["kv_bytes"]) < 1, r
    assert r["peak_bytes"] is None or r["peak_bytes"] > r["kv_bytes"], r
    for test, tokens in ("decode", 4), ("prefill", 80):
        s = r[test]
        assert s["tokens"] == tokens and 0 < s["min"] <= s["median"] <= s["max"] and s["ratio"] > 0, r
        assert r is not base or s["ratio"] == 1, r
    assert "place" not in r["latency"] and r["latency"]["max_ms"] > 0, r
# 30 layers, 3 heads of 64 values, keys and values, of 2 bytes each; 8.5 and 4.5 bits a value.
f16, tada, stock = results[3:]
assert f16["kv_bytes"] == 512 * 30 * 3 * 64 * 2 * 2, f16
assert abs(stock["memory_ratio"] - (8.5 + 4.5) / 32) < 0.002, stock
assert tada["memory_ratio"] < 1, tada
PYTHON
if [ ${#plot[@]} -gt 0 ]; then
    check "the plot is an SVG with a line for each cache" python3 - "${plot[1]}" << 'PYTHON'
import sys
import xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
assert root.tag == "{http://www.w3.org/2000/svg}svg", root.tag
texts = ["".join(t.itertext()).strip() for t in root.iter("{http://www.w3.org/2000/svg}text")]
for name in "f16", "tada", "q8_0/q4_0":
    assert texts.count(name) == 2, texts
PYTHON
fi
check "no other file is left" test -z "$(find "$work" -mindepth 1 -maxdepth 1 ! -name out ! -name err ! -name report.json ! -name '*svg')"

# JSON on standard output, alone; one depth; a plot of points.
bench --depth 64 --cache q4_0 --repeat 1 --json - --force ${plot[@]+"${plot[@]}"}
check "JSON in place of the table" python3 -c "
import json
results = json.load(open('$work/out'))['results']
assert [r['cache'] for r in results] == ['f16', 'q4_0'], results"
check "nothing else on standard error there" test "$status" -eq 0
check "... but how far it is" only_progress

# Beyond what the model was trained on: measured all the same. Too slow to wait for; a warning comes first.
"$bin/tada" bench -m "$model" -t 2 --depth 9000 --cache tada > "$work/out" 2> "$work/err" &
pid=$!
while kill -0 $pid 2> /dev/null && ! grep -q "was trained on" "$work/err"; do
    sleep 0.1
done
kill -TERM $pid
wait $pid
status=$?
check "a depth beyond the training context: a warning" grep -q "was trained on" "$work/err"
check "interrupted before anything was measured: status 130, no table" test "$status" -eq 130 -a ! -s "$work/out"

# Interrupted later: what was done is shown. When the first repetitions are done depends on the computer.
for ((seconds = 2; seconds < patience; seconds *= 2)); do
    "$bin/tada" bench -m "$model" -t 2 --depth 0 --cache q8_0 --decode 1 --prefill 1 --repeat 1000 \
        --json "$work/report.json" --force > "$work/out" 2> "$work/err" &
    pid=$!
    sleep $seconds
    kill -TERM $pid
    wait $pid
    status=$?
    grep -q "before a first repetition" "$work/err" || break
done
check "interrupted: status 130" test "$status" -eq 130
check "... with the repetitions until then in the table" grep -qE '^depth 0, [0-9]+ repetitions? \(interrupted\)' "$work/out"
check "... and in the JSON" python3 -c "
import json
report = json.load(open('$work/report.json'))
assert report['complete'] is False and len(report['results']) == 2, report
assert all(0 < r['repetitions'] < 1000 for r in report['results']), report"

# What cannot be.
files=(--json "$work/refused/x.json")
head -c 1000000 "$model" > "$work/short.gguf"
refused "an unknown spec" "Unknown cache spec" --cache tada,tadaa "${files[@]}"
refused "a negative depth" "whole number" --depth 0,-5 "${files[@]}"
refused "a truncated model" "does not load" -m "$work/short.gguf" "${files[@]}"
refused "a model that is not there" "cannot be read" -m "$work/none.gguf" "${files[@]}"
refused "JSON into a folder that is not there" "No such file" --json "$work/none/x.json"
if [ ${#plot[@]} -gt 0 ]; then
    "$bin/tada" bench -m "$model" -t 2 --depth 0 --decode 2 --prefill 16 --repeat 1 --cache q4_0 --plot - > /dev/full 2> "$work/err"
    check "a plot without room is no success" test $? -eq 1
    check "... which is said" grep -q "could not be written" "$work/err"
    refused "a plot into a folder that is not there" "No such file" --plot "$work/none/x.svg" "${files[@]}"
fi

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
