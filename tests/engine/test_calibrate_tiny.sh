#!/usr/bin/env bash
# tada calibrate with tiny models: goals, centring, recipes by plane, planes with windows of their own.
#   test_calibrate_tiny.sh BIN_DIR
. "$(dirname "$0")/check.sh"
needs make_model
cd "$work" || exit 1

# ---- goals and centring ----

# Many heads that have much in common: their mean pays. A few of their own: it does not.
for heads in 32 3; do
    "$bin/../tests/make_model" "heads$heads.gguf" "$heads" "$([ "$heads" = 32 ] && echo 0.95 || echo 0)"
    tada calibrate -m "heads$heads.gguf" --budget "$([ "$heads" = 32 ] && echo 30% || echo 60%)" -c 1024 --sample 256 -t 2 \
        -o "heads$heads.plan"
    check "a model of $heads heads, without a vocabulary" test "$status" -eq 0
    tada inspect "heads$heads.plan" --json "heads$heads.json"
done
check "calibration takes the mean over heads where it pays" python3 -c '
import json
many, few = (json.load(open(f"heads{n}.json"))["planes"] for n in (32, 3))
assert all(x["centring"] == "heads8" for x in many) and all(x["centring"] == "none" for x in few)'

# Where the plan goes to a stream, nothing is kept beside it.
timeout -s INT 2 "$bin/tada" calibrate -m heads3.gguf --budget 60% -c 1024 -t 1 -o - > out 2> err
check "an interrupted calibration promises only what it can keep" bash -c "! grep -q 'goes on from here' err"
tada calibrate -m heads3.gguf --from heads3.plan --max-kld 0.02 -c 1024 --sample 256 -t 2 -o small.plan
check "the smallest cache of a quality" test "$status" -eq 0
HOME=$work tada calibrate -m heads3.gguf --from heads3.plan --budget 61.5 -c 1024 --sample 256 -t 2
check "a plan without a place goes where tada serve looks for it" \
    test "$status" -eq 0 -a -s .local/share/tada/plans/heads3-61.5.gguf
HOME=$work tada serve -m heads3.gguf --version
check "... and finds it" grep -qF "tada: cache of the plan $work/.local/share/tada/plans/heads3-61.5.gguf (KL divergence" err
tada inspect small.plan --json small.json
check "... keeps it, and needs less" python3 -c '
import json
small, large = (next(p for p in json.load(open(f))["points"] if p["cache"] == "plan") for f in ("small.json", "heads3.json"))
assert small["kld_mean"] <= 0.02 and small["memory_ratio"] < large["memory_ratio"]'
tada calibrate -m heads32.gguf --method paper --trials 4 --budget 60% -c 1024 --sample 256 -t 2 -o paper.gguf
check "the paper's search" test "$status" -eq 0
tada inspect paper.gguf --json paper.json
check "... has its bits and its centring" python3 -c '
import json
r = json.load(open("paper.json"))
assert r["method"] == "paper" and all(x["bits"] in (2, 4, 8) and x["centring"] == "heads16" for x in r["planes"])'

HOME=$work tada calibrate -m heads3.gguf --budget 6% -c 1024 --sample 256 -t 2
check "a budget that nothing comes to" refused "No cache of this model comes to 6.0 % at a context of 1024: give "
check "... is told before planes are measured" bash -c "! ls .local/share/tada/plans | grep -q partial"

# ---- recipes by plane ----

# Two channels of each head of K are large: a rotation would smear them over the others.
"$bin/../tests/make_model" large.gguf 8 0 12
tada calibrate -m large.gguf --budget 40% -c 1024 --sample 256 -t 2 -o large.plan
check "a model with large channels" test "$status" -eq 0
check "... and the plug-in has nothing to say" bash -c "! grep -q '^TADA:' err"
check "... says which recipes fit better" grep -qE "^(Planes that another recipe fits better|No plane is fit better)" out
check "... but no rotation of K" test "$(grep -cE '[0-9] K (rotated|by token)' out)" -eq 0
tada inspect large.plan --json large.json
check "... and its plan has none" python3 -c '
import json
assert all(x["rotation"] == "none" and x["axis"] == "channel" for x in json.load(open("large.json"))["planes"] if x["kind"] == "k")'

# ---- planes with windows of their own ----

python3 - << 'END'
import struct
b = open("large.plan", "rb").read()
key = b"tada.plan.window"
at = b.index(key) + len(key) + 4 + 4 + 8  # type of the value and of its items, their number
n = struct.unpack("<Q", b[at - 8:at])[0]
for name, windows in [("none", (0, 0, 0, 0)), ("mixed", (0, 192, 128, 0)), ("all", (192, 192, 192, 192))]:
    open(name + ".plan", "wb").write(b[:at] + struct.pack(f"<{n}i", *(windows[i % 4] for i in range(n))) + b[at + 4 * n:])
END
tada eval -m large.gguf -c 1024 --chunks 1 -t 2 --cache tada:@none.plan,tada:@mixed.plan,tada:@all.plan --json eval.json
check "K and V of a layer with different windows" test "$status" -eq 0
check "... are in error and memory between those with the same" python3 -c '
import json
c = {x["cache"]: x for x in json.load(open("eval.json"))["results"]}
none, mixed, every = (c[f"tada:@{name}.plan"] for name in ("none", "mixed", "all"))
assert none["kld_mean"] > mixed["kld_mean"] > every["kld_mean"] > 0, (none, mixed, every)
assert none["kv_bytes"] < mixed["kv_bytes"] < every["kv_bytes"]'
exit $((failures > 0))
