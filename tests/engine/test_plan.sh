#!/usr/bin/env bash
# tada calibrate and tada inspect with the default model, and its plans in the plug-in.  test_plan.sh BIN_DIR
. "$(dirname "$0")/check.sh"
quantised=$("$here/../../scripts/get_model.sh") || exit 1
exact=$("$here/../../scripts/get_f16_model.sh" "$bin") || exit 1
cd "$work" || exit 1

# Wrong usage.
TADA_PLANS=/dev/null/plans tada calibrate -m "$exact"
check "no folder for plans" refused "give a file with -o"
tada calibrate -m "$exact" -o plan.gguf --budget 3
check "a budget out of range" refused "from 5 to 100"
tada calibrate -m "$exact" -o plan.gguf --budget 30 --max-kld 0.1
check "two goals" refused "exclude each other"
tada calibrate -m "$exact" -o missing/plan.gguf
check "a folder that is not there" test "$status" -eq 2
tada inspect
check "inspect without a file" refused "one plan file"

# Any text does.
for _ in 1 2 3; do cat "$here"/../../doc/*/*.md; done > text

# Interrupted after the first planes, and gone on with.
settings=(-m "$exact" -f text -c 1024 --sample 256 -t 2)
timeout "$patience" "$bin/tada" calibrate "${settings[@]}" --budget 30% -o plan.gguf > out 2> err &
process=$!
while [ ! -e plan.gguf.partial ] && kill -0 "$process" 2> /dev/null; do sleep 0.1; done
kill -INT "$process"
wait "$process"
check "an interrupted calibration says so" test "$?" -eq 130
check "... and leaves no plan" test ! -e plan.gguf
tada calibrate "${settings[@]}" --budget 30% -o plan.gguf
check "calibrate succeeds" test "$status" -eq 0
check "... and went on with what was measured" grep -qE "going on with ([8-9]|[1-5][0-9]) planes" err
check "... and cleaned up" test ! -e plan.gguf.partial
tada inspect plan.gguf --json plan.json
check "inspect succeeds" test "$status" -eq 0
check "... with a line for each plane" test "$(grep -cE '^ +[0-9]+  [KV] ' out)" -eq 60
check "the plan keeps its budget, and has measured what it names" python3 -c '
import json
r = json.load(open("plan.json"))
p = {x["cache"]: x for x in r["points"]}
bits = {x["bits"] for x in r["planes"] if x["kind"] == "v"}
assert 0.25 < p["plan"]["memory_ratio"] <= 0.3001, p
assert p["q4_0"]["kld_mean"] > p["plan"]["kld_mean"] > 0 and {"q8_0", "plan", "q4_0"} <= set(p)
assert len(bits) > 1 and all(x["sensitivity"] > 0 for x in r["planes"]) and len(r["planes"]) == 60'
tada calibrate "${settings[@]}" --budget 40% --from plan.gguf -o larger.gguf --report report.html
check "another budget from the same measurements" grep -q "going on with 60 planes" err
check "the report is one page with a sound picture" python3 -c '
import re, xml.dom.minidom
page = open("report.html").read()
picture = xml.dom.minidom.parseString(re.search("<svg.*?</svg>", page, re.S).group(0))
assert len(picture.getElementsByTagName("circle")) >= 4 and page.count("<tr>") >= 60
assert "http" not in page and "<script" not in page'
# In use.
tada eval -m "$exact" -f text -c 1024 --chunks 1 -t 2 --cache q4_0,tada:@plan.gguf,tada:@larger.gguf --json eval.json
check "eval with plans" test "$status" -eq 0
check "... in the memory that they promise, and better with more" python3 -c '
import json
c = {x["cache"]: x for x in json.load(open("eval.json"))["results"]}
plan, larger = c["tada:@plan.gguf"], c["tada:@larger.gguf"]
assert plan["memory_ratio"] < 0.303 and larger["memory_ratio"] < 0.404, (plan, larger)
assert larger["kld_mean"] < plan["kld_mean"] < c["q4_0"]["kld_mean"]'
tada run --cache tada:@plan.gguf -- -m "$quantised" -p "Once upon a time" -n 8 -no-cnv -st --temp 0 -c 1024
check "a plan fits the quantised model, too" test "$status" -eq 0

# Files that are no plans, or of other models.
"$bin/tada" inspect plan.gguf > /dev/null
head -c 1000 plan.gguf > short.gguf
head -c $(($(stat -c %s plan.gguf) - 40)) plan.gguf > cut.gguf
echo "GGUF" > tiny.gguf
for file in text short.gguf cut.gguf tiny.gguf missing.gguf . "$exact"; do
    tada inspect "$file"
    check "inspect refuses $(basename "$file")" refused "plan"
done
tada eval -m "$exact" -f text -c 1024 --chunks 1 --cache tada:@short.gguf --json bad.json
check "eval refuses a damaged plan" refused "damaged"
check "... and writes nothing" test ! -e bad.json
python3 - << 'END'
import struct
b = open("plan.gguf", "rb").read()
key = b"tada.plan.fingerprint"
at = b.index(key) + len(key) + 4
open("other.gguf", "wb").write(b[:at] + struct.pack("<Q", 12345) + b[at + 8:])
END
tada eval -m "$exact" -f text -c 1024 --chunks 1 --cache tada:@other.gguf
check "a plan for another model is refused" refused "is for another model"
TADA_CACHE=tada:@other.gguf GGML_BACKEND_PATH=$bin/libggml-tada.so timeout "$patience" "$bin/llama-bench" -m "$exact" -p 8 -n 0 -r 1 -fa 1 -v > out 2> err
check "... but a tool goes on with another cache" test $? -eq 0
check "... and says so" grep -q "TADA: the plan is for another model: this one has the cache 'tada'" err

# Bytes changed at random: never a crash.
seed=${TADA_SEED:-1}
echo "seed $seed"
crashes=0
for i in $(seq 1 60); do
    python3 - "$seed" "$i" << 'END'
import random, sys
r = random.Random(int(sys.argv[1]) * 1000 + int(sys.argv[2]))
b = bytearray(open("plan.gguf", "rb").read())
for _ in range(r.choice([1, 3, 20])):
    b[r.randrange(min(len(b), 8192))] = r.randrange(256)
open("flipped.gguf", "wb").write(b)
END
    tada inspect flipped.gguf
    if [ "$status" -ne 0 ] && [ "$status" -ne 2 ]; then
        crashes=$((crashes + 1))
        echo "status $status at $i"
    fi
done
check "damaged plans never crash" test "$crashes" -eq 0
exit $((failures > 0))
