#!/usr/bin/env bash
# tada calibrate: the random search on a task set, with the default model.  test_calibrate.sh BIN_DIR
. "$(dirname "$0")/check.sh"
exact=$("$here/../../scripts/get_f16_model.sh" "$bin") || exit 1
cd "$work" || exit 1

# ---- task sets ----

# Some 350 tokens of solved tasks before each, one of every sort.
python3 - << 'END'
import json
shots = "".join(f"Question: Anna has {a} stamps and gets {b} more. How many has she now?\nAnswer: {a} + {b} = {a + b}\n#### {a + b}\n\n"
                for a, b in [(3, 4), (10, 5), (6, 6), (20, 3), (7, 1), (9, 9), (2, 30), (14, 4)])
ask = shots + "Question: Anna has 4 stamps and gets 5 more. How many has she now?\nAnswer:"
tasks = [{"prompt": ask, "answer": " 4 + 5 = 9\n#### 9"},
         {"prompt": ask, "answer": " 4 + 5", "choices": [" 8 + 8", " 4 + 5"]},
         {"prompt": ask, "answer": " 4 + 5 ="}]
with open("tasks.jsonl", "w") as file:
    file.write("\n" + "".join(json.dumps(task) + "\n" for task in tasks))
good = json.dumps(tasks[2])
for name, line in [("json", "{'prompt'"), ("answer", '{"prompt": "a"}'), ("empty", '{"prompt": "a", "answer": ""}'),
                   ("choices", '{"prompt": "a", "answer": "b", "choices": ["c", "d"]}'),
                   ("list", '{"prompt": "a", "answer": "b", "choices": "b"}'),
                   ("number", '{"prompt": "a", "answer": "b", "choices": ["b", 7]}')]:
    open(name + ".jsonl", "w").write(good + "\n\n" + line + "\n")
open("nothing.jsonl", "w").write("\n")
open("short.jsonl", "w").write('{"prompt": "One and one is", "answer": " two"}\n')
open("text", "w").write(shots * 40)
END
paper=(calibrate -m "$exact" -f text -c 1024 --sample 256 -t 2 --budget 95% --method paper --trials 2 --seed 5)
for name in json answer empty choices list number; do
    tada "${paper[@]}" --tasks "$name.jsonl" -o plan.gguf
    check "a line that is no task is refused ($name)" refused "$name.jsonl: line 3 "
done
tada "${paper[@]}" --tasks nothing.jsonl -o plan.gguf
check "a file without tasks is refused" refused "has no tasks"
tada "${paper[@]}" --tasks missing.jsonl -o plan.gguf
check "a file that is not there is refused" refused "missing.jsonl cannot be read"
tada "${paper[@]}" --tasks short.jsonl -o plan.gguf
check "prompts that nothing is compressed of are refused" refused "of which nothing would be compressed"
tada calibrate -m "$exact" -f text --budget 95% --tasks tasks.jsonl -o plan.gguf
check "tasks are for the random search" refused "--tasks goes with --method paper"
check "none of them wrote a plan" test ! -e plan.gguf

tada "${paper[@]}" --tasks tasks.jsonl -o plan.gguf
check "the random search on tasks" test "$status" -eq 0
check "... says how many are right" grep -qE "^Of 3 tasks the plan has [0-3] right, f16 [0-3]; mean log-likelihood" out
check "... where the model knows the answers" grep -qE "f16 [2-3];" out
tada inspect plan.gguf --json plan.json
check "... and writes a plan of the paper's" python3 -c '
import json
r = json.load(open("plan.json"))
assert r["method"] == "paper" and all(x["bits"] in (2, 4, 8) and x["centring"] == "heads16" for x in r["planes"])'
exit $((failures > 0))
