#!/usr/bin/env bash
# What options say with real models: caches that a model cannot have, files of the wrong kind, and what calibrate
# tells while it works and at its end.   test_options.sh BIN_DIR
. "$(dirname "$0")/check.sh"
needs make_model
cd "$work" || exit 1

# ---- options of llama.cpp ----

# None of them is taken for a misspelt one of ours.
for tool in llama-cli llama-completion llama-server; do
    "$bin/$tool" --completion-bash 2> /dev/null | sed -n 's/^ *opts="\(.*\)"$/\1/p' | tr ' ' '\n' | grep -E '^--..' |
        grep -vxE -- '--(version|help|usage|license|list-devices|cache-list|completion-bash)' > "$tool.txt"
    check "the options of $tool" bash -c "[ \$(wc -l < $tool.txt) -gt 100 ]"
    for command in run serve; do
        mapfile -t all < "$tool.txt"
        mkdir -p stubs
        for stub in llama-cli llama-server; do printf '#!/bin/sh\n' > "stubs/$stub"; chmod +x "stubs/$stub"; done
        TADA_LLAMA_BIN=$work/stubs TADA_CACHE=f16 tada $command "${all[@]}"
        check "... are none of 'tada $command'" bash -c "! grep 'did you mean' err"
    done
done

# ---- caches that a model cannot have ----

why="K cache type q8_0 with block size 32 does not divide n_embd_head_k="
for dim in 8 40 80; do
    "$bin/../tests/make_model" "heads.gguf" head_dim $dim
    tada size -m heads.gguf -c 512
    check "size goes on without q8_0 for heads of $dim" test "$status" -eq 0
    check "... and says why" says out "q8_0 this model cannot have it: $why$dim"
    check "... and has the others" grep -qE "^cache +f16 +tada$" out
done
tada size -m heads.gguf -c 512 --json -
check "... also in JSON" python3 -c '
import json
r = json.load(open("out"))
assert [c["cache"] for c in r["results"]] == ["f16", "tada"]
assert [c["cache"] for c in r["impossible"]] == ["q8_0", "q4_0"] and all("block size 32" in c["why"] for c in r["impossible"])'
tada bench -m heads.gguf -d 0 -n 2 -p 8 -r 1 -t 1
check "bench goes on" test "$status" -eq 0
check "... with a row for each" test "$(grep -cE '^(f16|tada) +[0-9]|^q[48]_0 +this model cannot have it' out)" -eq 4
tada eval -m heads.gguf -c 256 --chunks 1 -t 1 --json eval.json
check "eval goes on" test "$status" -eq 0
check "... with a row for each" test "$(grep -cE '^(f16|tada|floor) +[0-9]|^q[48]_0 +this model cannot have it' out)" -eq 5
check "... also in JSON" python3 -c '
import json
r = json.load(open("eval.json"))
assert len(r["results"]) == 3 and len(r["impossible"]) == 2'
tada eval -m heads.gguf -c 256 --chunks 1 -t 1 --cache q8_0
check "so does eval with none that is possible" test "$status" -eq 0

# ---- files of the wrong kind ----

if command -v gnuplot > /dev/null; then
    for kind in svg png; do
        tada bench -m heads.gguf -d 0 -n 2 -p 8 -r 1 -t 1 --cache tada --plot plot.$kind
        check "a plot is what its name says ($kind)" bash -c "head -c 400 plot.$kind | LC_ALL=C grep -qaE '^<svg|^.PNG' && LC_ALL=C grep -qai $kind plot.$kind"
    done
fi
for file in plot.pdf plot plot.svgz .svg; do
    tada bench -m heads.gguf --plot "$file"
    check "a plot $file is refused" refused "--plot draws FILE.svg or FILE.png, not '$file'"
done
head -c 3000 heads.gguf > binary
printf 'caf\xe9 au lait\n' > latin
for file in heads.gguf binary latin; do
    tada eval -m heads.gguf -f $file
    check "eval takes no text from $file" refused "$file is not a text in UTF-8 (byte"
    tada calibrate -m heads.gguf -f $file -o plan.gguf
    check "... and calibrate neither" refused "$file is not a text in UTF-8 (byte"
done
{ seq 1000; printf 'caf\xc3'; } > cut.txt
tada eval -m heads.gguf -f cut.txt -c 256 --chunks 1 -t 1 --cache tada
check "a text may be cut within a character" test "$status" -eq 0

# ---- serve ----

"$bin/../tests/make_model" odd.gguf head_dim 10
for options in "-c 1024" "-ngl 0" "-c 256 -np 1"; do
    tada serve -m odd.gguf $options --version
    check "serve $options says that nothing is saved" grep -q "MiB, nothing saved$" err
    check "... and no percents" bash -c "! grep -q '% saved' err"
    tada serve -m heads.gguf $options --version
    check "... and where something is, how much" grep -qE ": .* MiB instead of .* [1-9][0-9]? % saved" err
done

for command in "serve" "run --tool completion"; do
    for options in "-fa off" "-ctk q8_0 -ctv q8_0"; do
        # shellcheck disable=SC2086
        tada $command -m heads.gguf -c 1024 $options --version
        check "$command $options says that nothing is compressed" grep -q "^tada: 0 % of the KV cache is compressed" err
        check "... and not that something is saved" bash -c "! grep -q saved err"
    done
done

# ---- calibrate ----

seq 20000 > text
printf 'no plan' > no.plan
tada calibrate -m missing.gguf --from no.plan -o plan.gguf
check "--from is read before the model" refused "no.plan is damaged or not a plan"
tada calibrate -m missing.gguf --from missing.plan -o plan.gguf
check "... and has to be there" refused "missing.plan"
tada calibrate -m missing.gguf -o none/plan.gguf
check "the place of the plan is looked at before the model" refused "none/plan.gguf"
seq 9 > short
tada calibrate -m heads.gguf -f short -o plan.gguf
check "a text has to be long enough" refused "give a longer text or a smaller context (-c)."
check "no plan is left" test ! -e plan.gguf

# At a terminal, for the progress.
cat > terminal.py << 'END'
import os, pty, re, sys
said = b""
def read(terminal):
    global said
    data = os.read(terminal, 65536)
    said += data
    return data
status = os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:], read))
shares = [int(share) for share in re.findall(rb"calibrate: *(\d+) %", said)]
assert shares, "no progress was shown"
assert shares == sorted(shares), shares
assert shares[-1] <= 100, shares
sys.exit(status)
END
"$bin/../tests/make_model" even.gguf 8 0
for options in "" "--method paper --trials 4 --budget 60"; do
    python3 terminal.py "$bin/tada" calibrate -m even.gguf -f text --budget 40 -c 1024 --sample 512 -t 1 -o plan.gguf --force $options \
        < /dev/null > out 2> err
    status=$?
    check "progress goes forward up to 100 % (${options:-usual})" test "$status" -eq 0
done
tada calibrate -m even.gguf -f text --budget 40 -c 1024 --sample 256 -t 1 -o plan.gguf --force
check "a calibration" test "$status" -eq 0
check "... whose end names a row" python3 -c '
import re
text = open("out").read()
best = re.search("The plan that was best is \"(.*)\"", text) or re.search("the same as (.*)\\.", text)
rows = [line.split("  ")[0] for line in text.splitlines() if " +- " in line]
assert best.group(1) in rows, (best.group(1), rows)
assert "tada" in rows and "q8_0" in rows, rows
assert len(rows) == len(set(rows)), rows'
tada inspect plan.gguf --json plan.json
check "... and whose plan knows its own point" python3 -c '
import json
assert [p["cache"] for p in json.load(open("plan.json"))["points"]].count("plan") == 1'
"$bin/../tests/make_model" heads.gguf head_dim 40
tada calibrate -m heads.gguf -f text --budget 60 -c 1024 --sample 256 -t 1 -o other.gguf
check "a model that cannot have q8_0 is calibrated" test "$status" -eq 0
exit $((failures > 0))
