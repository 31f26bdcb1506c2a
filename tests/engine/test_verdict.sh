#!/usr/bin/env bash
# tada verdict and tada eval --copy with tiny models.  test_verdict.sh BIN_DIR
. "$(dirname "$0")/check.sh"
needs make_model
cd "$work" || exit 1
json() { # FILE PYTHON...: lines of assertions about the JSON `r`, its results `c` by cache
    python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
c = {row["cache"]: row for row in r["results"]} if "results" in r else {}
exec(sys.argv[2])' "$1" "$2" 2> err
}
for i in {1..120}; do echo "Line $i of a text that nobody has to read: $((i * 7919 % 1000)) and $((i * 104729 % 777))."; done > text
"$bin/../tests/make_model" model.gguf 3 0

# ---- a verdict ----

for seed in 1 2; do
    tada verdict -m model.gguf -f text -c 1024 --minutes 0.2 -t 2 -s $seed --cache tada:8,tada:4/2:refine=off --json $seed.json --html $seed.html
    check "a verdict, seed $seed" test "$status" -eq 0
    check "... with a row and a reason for each cache" test "$(grep -cE '^(tada:8|tada:4/2:refine=off|q8_0)(:| )' out)" -eq 6
    check "... each in a line" bash -c "[ \$(grep -cE '^  .*\(safe up to' out) -ge 3 ] && ! grep -q 'safe up to.*safe up to' out"
    check "... in 100 columns, with the minutes that it took" bash -c "grep -q 'measured in [0-9]*\.[0-9] minutes' out && ! grep -qE '.{101}' out"
    check "... and all of it in the JSON" json $seed.json "
assert r['complete'] is True and r['n_ctx'] == 1024 and r['seed'] == $seed and r['minutes'] == 0.2 and r['text'] == 'text'
assert list(c) == ['tada:8', 'tada:4/2:refine=off', 'q8_0', 'floor'], list(c)
assert r['objects'] >= 3 and r['tokens'] >= 511
for row in c.values():
    assert row['kv_bytes'] > 0 and row['memory_ratio'] > 0
    of = {m['measure']: m for m in row['measures']}
    assert {'kld', 'kld_p99', 'other_top'} <= set(of), of.keys()
    assert all(m['samples'] > 0 and (row['cache'] == 'floor' or m['grade'] in ('safe', 'careful', 'no')) for m in of.values())
    assert row['cache'] == 'floor' or row['because'] in of
"
    check "... a V of 2 bits is told" json $seed.json "
bad = c['tada:4/2:refine=off']
assert bad['verdict'] == 'no' and bad['next_better'] in ('q8_0', 'tada:8', 'f16'), bad
assert c['q8_0']['verdict'] == 'safe' and c['q8_0']['next_better'] is None, c['q8_0']
"
    check "... and a page" bash -c "grep -q '<b>no</b>' $seed.html && grep -qF '</html>' $seed.html"
done
check "two seeds agree" json 1.json "
other = {row['cache']: row for row in json.load(open('2.json'))['results']}
assert all(row.get('verdict') == other[name].get('verdict') for name, row in c.items())
"

# A cache that the model cannot have is a row that says why; without q8_0 the floor is what is left to compare with.
"$bin/../tests/make_model" odd.gguf head_dim 40
tada verdict -m odd.gguf -f text -c 1024 --minutes 0.2 -t 2 --json -
cp out odd.json
check "a model that cannot have q8_0" test "$status" -eq 0
check "... is judged without it" json odd.json "
assert {x['cache'] for x in r['impossible']} == {'q8_0', 'q4_0'} and 'tada' in c and 'q8_0' not in c"

# Of a model that computes no numbers, no cache is at the floor, near or safe.
python3 - << 'PYTHON'
import struct
model = bytearray(open("model.gguf", "rb").read())
model[-4096:] = struct.pack("<f", float("nan")) * 1024
open("nan.gguf", "wb").write(model)
PYTHON
for arguments in "verdict -f text -c 1024 --minutes 0.1" "verdict -c 1024 --minutes 0.1" "eval -f text -c 256 --chunks 1" "eval -c 256 --chunks 1" \
    "eval -f text -c 512 --generate 4" "eval -c 1024 --chunks 1 --copy" "calibrate -f text -c 1024 -o nan.plan --budget 60"; do
    # shellcheck disable=SC2086
    tada $arguments -m nan.gguf
    check "${arguments%% -o*}: a model that computes no numbers" bash -c "[ $status -eq 2 ] && [ ! -s out ] &&
        grep -q 'nan.gguf computes what is no number (NaN) with the cache' err"
done
check "... and no plan is left" test ! -e nan.plan

# ---- Ctrl-C ----

# Recurrent layers cannot take back tokens: answers read the prompt again.
"$bin/../tests/make_model" conv.gguf shape conv
for model in model conv; do
    # The signal comes when all tasks but the last have had their first turns.
    interrupt "pass keys" verdict -c 1024 --minutes 60 -t 2 -m $model.gguf -f text --cache tada:8 --json cut-$model.json
    check "Ctrl-C, $model: status 130" test "$status" -eq 130
    check "... prints the verdict of what is done" grep -qE '^tada:8: (safe|careful|no)' out
    check "... marked" grep -q 'INCOMPLETE' out
    check "... also in the JSON" json cut-$model.json "
assert r['complete'] is False and r['objects'] >= 3 and r['tokens'] >= 511 and r['answers'] >= 1"
done

# ---- what is refused ----

tada verdict -m none.gguf -f text
check "no model: refused" refused "cannot be read"
tada verdict -m model.gguf -f text -c 512
check "a short context: refused" refused "1024"
tada verdict -m model.gguf -f text --minutes 0
check "no time: refused" refused "--minutes takes minutes from 0.1"
head -n 5 text > short
tada verdict -m model.gguf -f short -c 1024 --minutes 0.2
check "a short text: refused" refused "tokens, but 1024 are needed: give a longer text or a smaller context (-c)."
tada verdict -m model.gguf -f text --json same --html same
check "one file for two: refused" refused "two files"
tada verdict -m model.gguf --json model.gguf --force
check "a file that is read: not replaced" test "$status" -eq 2

# ---- copying alone ----

tada eval -m model.gguf -c 1024 --chunks 2 -t 2 --copy --cache tada:16,tada:2:refine=off --json copy.json
check "eval --copy" test "$status" -eq 0
check "... prints a table" grep -qE '^tada:16 .* [0-9]+/[0-9]+' out
check "... and one of margins" grep -qE '^tada:16  +[0-9.-]+  +[0-9.-]+  +[0-9.-]+ \+- [0-9.]+$' out
check "... in lines that fit" bash -c "! grep -E '.{86}' out" # the name of a cache has 17 columns
check "... and has all of it in the JSON" json copy.json "
part = r['copy']
assert part['complete'] is True and part['documents'] == 2
rows = {row['cache']: row for row in part['results']}
assert list(rows) == ['f16', 'tada:16', 'tada:2:refine=off', 'floor'], list(rows)
for row in rows.values():
    assert row['cases'] == sum(d['cases'] for d in row['depths']) >= 6
    assert row['exact'] == sum(d['exact'] for d in row['depths'])
    assert row['exact'] - rows['f16']['exact'] == row['won_over_f16'] - row['lost_of_f16']
    back = [d['tokens_back'] for d in row['depths']]
    assert 256 < back[0] < back[1] < back[2] < 1024, back
assert rows['f16']['margin_lost'] == 0
assert abs(rows['tada:16']['margin_lost']) < 0.05, rows['tada:16']
assert rows['tada:2:refine=off']['margin'] != rows['f16']['margin']
"
tada eval -m model.gguf -c 256 --copy --cache tada
check "eval --copy with a short context: refused" refused "-c of at least 512"
interrupt "  1 %" eval -m model.gguf -c 1024 --chunks 2000 -t 2 --copy --cache tada:8 --json cut-copy.json
check "eval --copy, Ctrl-C: status 130" test "$status" -eq 130
check "... prints what is done so far" grep -qE '^tada:8 .* [0-9]+/[1-9][0-9]*' out
check "... marked" grep -qE '^Interrupted after [1-9][0-9]* of 2000 documents' out
check "... also in the JSON" json cut-copy.json "
part = r['copy']
assert part['complete'] is False and part['documents'] >= 1 and part['results'][1]['cases'] >= 3"

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
