#!/usr/bin/env bash
# The tasks of tada eval, on the default model with f16 weights: --generate, --passkey, --gsm8k.  test_eval_tasks.sh BIN_DIR
. "$(dirname "$0")/check.sh"
model=$("$here/../../scripts/get_f16_model.sh" "$bin") || exit 1
status=0

evaluate() { # ARGS...: a run of tada eval, without any JSON of the one before
    rm -f "$work/json"
    status=0
    timeout "$patience" "$bin/tada" eval -m "$model" -t 2 --force "$@" > "$work/out" 2> "$work/err" || status=$?
}
json() { # PYTHON...: lines of assertions about the JSON, called `report`
    python3 -c 'import json, sys
report = json.load(open(sys.argv[1]))
exec(sys.argv[2])' "$work/json" "$1" 2> "$work/err"
}
refuses() { # NAME WORD: status 2, a message with the word, nothing on stdout, no JSON
    check "$1 is refused" test "$status" -eq 2
    check "... with a message" grep -qF -e "$2" "$work/err"
    check "... and nothing else" bash -c "[ ! -s '$work/out' ] && [ ! -e '$work/json' ]"
}

# Text and questions are made here, the same every time.
python3 - "$work" << 'MAKE'
import json, random, sys
work, seed = sys.argv[1], 5
print("seed", seed)
dice = random.Random(seed)
people = ["Anna", "Ben", "Carla", "David", "Emma", "Felix"]
things = ["apples", "stamps", "marbles", "books", "pencils"]
with open(work + "/text", "w") as file:
    for _ in range(400):
        file.write("%s took %d %s to the %s and came home %s. " % (dice.choice(people), dice.randint(2, 99),
                   dice.choice(things), dice.choice(["market", "school", "river"]), dice.choice(["late", "early", "tired"])))
with open(work + "/problems", "w") as file:
    for i in range(12):
        who, what, a, b = dice.choice(people), dice.choice(things), dice.randint(2, 50), dice.randint(2, 50)
        file.write(json.dumps({
            "question": "%s has %d %s and gets %d more. How many %s does %s have now?" % (who, a, what, b, what, who),
            "answer": "%s has %d + %d = <<%d+%d=%d>>%d %s.\n#### %d" % (who, a, b, a, b, a + b, a + b, what, a + b),
        }) + "\n")
MAKE

caches=(--cache tada:16,q4_0)
evaluate -f "$work/text" "${caches[@]}" -c 256 --generate 16 --json "$work/json"
check "generate runs" test "$status" -eq 0
check "... and prints a table" grep -qE '^tada:16 .* (never|[0-9]+)' "$work/out"
check "... and has all of it in the JSON" json '
part = report["generate"]
assert part["complete"] is True and part["tokens"] == 16 and part["prompts"] >= 1
rows = {row["cache"]: row for row in part["results"]}
assert set(rows) == {"floor", "tada:16", "q4_0"}, rows.keys()
for row in rows.values():
    assert row["kv_bytes"] > 0 and row["memory_ratio"] > 0 and 0 <= row["top1"] <= 1
    assert 0 <= row["kld_median"] <= row["kld_p99"] and row["kld_mean"] >= 0 and row["kld_mean_se"] >= 0
    assert len(row["leaves_at"]) == part["prompts"]
    for place in row["leaves_at"]:
        assert place is None or 1 <= place <= 16
    assert (row["top1"] == 1) == (set(row["leaves_at"]) == {None})
assert rows["floor"]["memory_ratio"] == 1
assert 0.25 < rows["q4_0"]["memory_ratio"] < 0.30
assert rows["tada:16"]["kld_mean"] < 0.001 < rows["q4_0"]["kld_mean"]
'
evaluate -f "$work/text" "${caches[@]}" -c 256 --generate 200 --json "$work/json"
refuses "a text to generate that leaves no prompt" "--generate"

# Two tasks in one run.
evaluate --cache tada:16 -c 512 --passkey --gsm8k "$work/problems" --limit 2 --ubatch 128 --json "$work/json" -f "$work/text"
check "passkey runs" test "$status" -eq 0
check "... and prints a table" grep -qE '^tada:16 .* [0-9]+/15' "$work/out"
check "... and has all of it in the JSON" json '
part = report["passkey"]
assert part["complete"] is True
assert part["lengths"] == [128, 256, 512] and part["depths"] == [10, 30, 50, 70, 90]
rows = {row["cache"]: row for row in part["results"]}
assert set(rows) == {"f16", "tada:16"}, rows.keys()
for row in rows.values():
    assert row["kv_bytes"] > 0 and row["memory_ratio"] > 0 and row["total"] == len(row["cells"]) == 15
    assert row["found"] == sum(cell["found"] for cell in row["cells"])
    pairs = zip(rows["f16"]["cells"], row["cells"])
    assert row["missed_of_f16"] == sum(a["found"] and not b["found"] for a, b in pairs)
assert rows["f16"]["found"] >= 8, rows["f16"]
'
check "... and tada:16 finds what f16 finds" json '
assert [row["missed_of_f16"] for row in report["passkey"]["results"] if row["cache"] == "tada:16"] == [0]
'
check "gsm8k runs" test "$status" -eq 0
check "... and prints a table" grep -qE '^tada:16 .* [0-9]+/2' "$work/out"
check "... and has all of it in the JSON" json '
part = report["gsm8k"]
assert part["complete"] is True and part["questions"] == 2 and part["shots"] == 8
rows = {row["cache"]: row for row in part["results"]}
assert set(rows) == {"f16", "tada:16"}, rows.keys()
for row in rows.values():
    assert row["kv_bytes"] > 0 and row["memory_ratio"] > 0 and row["accuracy"] == row["correct"] / 2
    assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    assert row["same_answer_as_f16"] in (0, 0.5, 1)
assert rows["f16"]["same_answer_as_f16"] == rows["tada:16"]["same_answer_as_f16"] == 1
assert rows["f16"]["correct"] >= 1, rows["f16"]
'

# Wrong input of one task, beside others: found before any of them runs.
evaluate "${caches[@]}" -c 512 --generate 500 --passkey --json "$work/json" -f "$work/text"
refuses "a text to generate that leaves no prompt, after pass keys" "--generate"
evaluate "${caches[@]}" -c 512 --generate 16 --passkey --chunks 100 --json "$work/json" -f "$work/text"
refuses "too short a text to generate from, after pass keys" "are needed"
evaluate "${caches[@]}" -c 256 --passkey --generate 16 --json "$work/json" -f "$work/text"
refuses "a context without room for pass keys" "-c of at least 512"
gsm8k() { evaluate "${caches[@]}" -c 512 --passkey --generate 16 --gsm8k "$1" --limit 1 --json "$work/json" -f "$work/text"; }
head -n 5 "$work/problems" > "$work/few"
gsm8k "$work/few"
refuses "a file with 5 entries" "5 entries"
gsm8k "$work/none"
refuses "a file that is not there" "cannot be read"
{ head -n 9 "$work/problems"; echo; echo '{"question": "How many?"'; } > "$work/cut"
gsm8k "$work/cut"
refuses "a line that is cut" "line 11"
sed '3s/answer/reply/' "$work/problems" > "$work/nameless"
gsm8k "$work/nameless"
refuses "an entry without an answer" "line 3"
sed '12s/####/=/' "$work/problems" > "$work/unmarked"
gsm8k "$work/unmarked"
refuses "an answer without its number" "line 12"

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
