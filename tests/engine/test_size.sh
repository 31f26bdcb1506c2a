#!/usr/bin/env bash
# tada size: what it says against what real contexts take, and the largest context in a budget.  test_size.sh BIN_DIR
. "$(dirname "$0")/check.sh"
needs context_sizes
model=$("$here/../../scripts/get_model.sh") || exit 1
tools=${TADA_LLAMA_BIN:-$(dirname "$(readlink -f "$bin/llama-cli")")} # with the libraries
export OMP_WAIT_POLICY=passive

size() { # ARGS...
    status=0
    timeout "$patience" "$bin/tada" size --force "$@" > "$work/out" 2> "$work/err" || status=$?
}
refused() { # NAME WORDS ARGS...: status 2, the words on standard error, nothing else anywhere
    local name=$1 words=$2
    shift 2
    size --json "$work/refused.json" "$@"
    check "$name" bash -c "[ $status -eq 2 ] && grep -qF -e '$words' '$work/err' && [ ! -s '$work/out' ] &&
        [ ! -e '$work/refused.json' ]"
}

"$bin/../tests/make_model" "$work/llama.gguf" 3 0
for shape in window-64 mla conv; do
    "$bin/../tests/make_model" "$work/$shape.gguf" shape $shape
done
"$bin/../tests/make_plan" "$work" 3 96 0 > "$work/out" 2>&1

# Against llama.cpp's log of a real context, and the scratch that the plug-in has when the context is full.
cat > "$work/compare.py" << 'PYTHON'
import json, os, subprocess, sys
bin, tools, model, spec, ctx, parallel, unified, ubatch, threads, tokens = sys.argv[1:]
size = [bin + "/tada", "size", "-m", model, "-c", ctx, "--parallel", parallel, "--ubatch", ubatch, "-t", threads,
        "--kv-unified" if unified == "1" else "--no-kv-unified", "--cache", spec, "--json", "-"]
said = json.loads(subprocess.run(size, check=True, stdout=subprocess.PIPE).stdout)["results"][-1]
assert said["cache"] == spec, said
ours = spec.startswith("tada")
k, v = ("f16", "f16") if ours else (spec.split("/") * 2)[:2]
real = subprocess.run([bin + "/../tests/context_sizes", tools, bin + "/libggml-tada.so" if ours else "-", model, k, v,
                       ctx, parallel, unified, ubatch, threads, tokens],
                      env=dict(os.environ, TADA_CACHE=spec if ours else "tada"), check=True, stdout=subprocess.PIPE)
weights, kv, states, compute, output, scratch, lines = map(int, real.stdout.split())
print(said, real.stdout)
rounding = 0.005 * 1048576 * lines  # its log has hundredths of a MiB
def near(name, a, b, more=0):
    assert abs(a - b) <= 0.01 * b + more, (name, a, b)
buffers = weights + kv + states + compute + output
near("weights", said["weights_bytes"] + said["mapped_bytes"], weights, rounding)
near("cache", said["kv_bytes"], kv, 0.0051 * 1048576 * (2 if "window-64" in os.path.basename(model) else 1))
near("states", said["recurrent_bytes"], states, 0.0051 * 1048576)
near("compute", said["compute_bytes"], compute, 0.0101 * 1048576)
near("output", said["output_bytes"], output, 0.0051 * 1048576)
near("buffers", said["total_bytes"] - said["scratch_bytes"], buffers, 0)
assert sum(said["kv"].values()) == said["kv_bytes"] and (said["kv"]["codes_bytes"] > 0) == ours, said
# Of the scratch, the most that can be: real once all cells are full, but for batches of several streams.
full = int(tokens) == int(ctx)
assert scratch <= said["scratch_bytes"] and (not full or scratch > 0.7 * said["scratch_bytes"]), (scratch, said)
assert ours or said["scratch_bytes"] == 0, said
if "smollm2" in os.path.basename(model):
    near("total", said["total_bytes"], buffers + scratch)
PYTHON
compare() { timeout "$patience" python3 "$@" > "$work/out" 2> "$work/err"; }
agrees() { # MODEL SPEC CONTEXT PARALLEL UNIFIED UBATCH THREADS TOKENS
    check "what a real context takes: $(basename "$1" .gguf), $2, context $3, $4 sequences$([ "$5" = 1 ] && echo ', unified'), ubatch $6, $7 threads" \
        compare "$work/compare.py" "$bin" "$tools" "$@"
}
agrees "$work/llama.gguf" tada 2048 1 0 512 2 2048
agrees "$work/llama.gguf" tada:4/3:window=0:sinks=0 2048 4 1 128 2 2048
agrees "$work/llama.gguf" tada:paper 4096 2 0 512 1 4096
agrees "$work/llama.gguf" "tada:@$work/good.plan" 2048 2 1 256 1 2048
agrees "$work/llama.gguf" tada:high 256 1 1 512 2 0
agrees "$work/llama.gguf" tada 131072 4 1 512 2 1024
agrees "$work/llama.gguf" q8_0/q4_0 131072 1 0 512 1 0
agrees "$work/window-64.gguf" tada:compact 2048 1 0 512 2 2048
agrees "$work/window-64.gguf" q8_0 2000 3 0 64 1 300
agrees "$work/mla.gguf" tada 2048 1 0 512 1 2048
agrees "$work/conv.gguf" tada 2048 4 0 512 2 2048
agrees "$work/conv.gguf" q4_0 2048 64 1 512 1 0
ln -s "$model" "$work/smollm2.gguf"
agrees "$work/smollm2.gguf" tada 8192 4 1 512 2 96
agrees "$work/smollm2.gguf" q8_0/q4_0 256 1 0 512 2 32
agrees "$work/smollm2.gguf" tada 131072 2 0 512 2 0

# A model without flash attention: all of its cache stays f16, and that is what is told and measured.
"$bin/../tests/architectures/make_shape" "$tools" "$here/../architectures/models.txt" grok "$work/grok.gguf" > "$work/out" 2> "$work/err"
check "a model without flash attention" test $? -eq 0
size -m "$work/grok.gguf" -c 1024 --cache tada,f16 --json "$work/size.json"
check "... takes what f16 takes" python3 -c "
import json
f16, tada = json.load(open('$work/size.json'))['results']
of_ours = (tada.pop('compressed_ratio'), tada.pop('plain'))
assert of_ours[0] == 0 and 'without flash attention' in of_ours[1], of_ours
assert {**tada, 'cache': 'f16'} == f16 and f16['kv']['rows_bytes'] == f16['kv_bytes'] > 0, (f16, tada)"
"$bin/tada" bench -m "$work/grok.gguf" -t 2 --depth 600 --decode 2 --prefill 16 --repeat 1 --cache tada,tada:8 --json "$work/bench.json" \
    > "$work/out" 2> "$work/err"
check "... and so it is measured" python3 -c "
import json
assert [r['memory_ratio'] for r in json.load(open('$work/bench.json'))['results']] == [1, 1, 1], open('$work/bench.json').read()"

# The memory column of tada eval: the cache and its scratch. It has no small batches, so less scratch than there can be.
"$bin/tada" eval -m "$model" -c 512 --chunks 1 --ubatch 32 -t 2 --cache tada --json "$work/eval.json" > "$work/out" 2> "$work/err"
size -m "$model" -c 512 --parallel 1 --ubatch 32 -t 2 --cache tada --json "$work/size.json"
check "the same as tada eval measures" python3 - "$work" << 'PYTHON'
import json, sys
said = {r["cache"]: r for r in json.load(open(sys.argv[1] + "/size.json"))["results"]}
real = {r["cache"]: r["kv_bytes"] for r in json.load(open(sys.argv[1] + "/eval.json"))["results"]}
assert said["f16"]["kv_bytes"] == real["f16"], (said, real)
more = said["tada"]["kv_bytes"] + said["tada"]["scratch_bytes"] - real["tada"]
assert 0 <= more < 0.01 * said["tada"]["total_bytes"] and said["tada"]["kv_bytes"] < real["tada"], (said, real)
PYTHON

# Weights are not loaded.
check "a big model does not have to fit" python3 - "$bin/tada" "$model" << 'PYTHON'
import resource, subprocess, sys
subprocess.run([sys.argv[1], "size", "-m", sys.argv[2], "-c", "131072", "--cache", "tada,f16"], check=True, stdout=subprocess.DEVNULL)
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(most, file=sys.stderr)
assert most < 150e6, most  # the f16 cache alone would be 3 GB, the weights are 97 MB
PYTHON

# The largest context: it fits, and the next one does not.
largest() { # NAME STEP ARGS...
    local name=$1 step=$2
    shift 2
    size -m "$work/llama.gguf" --json "$work/a.json" "$@"
    check "$name" python3 - "$bin/tada" "$work/llama.gguf" "$work/a.json" "$step" "$@" << 'PYTHON'
import json, subprocess, sys
tada, model, path, step, *args = sys.argv[1:]
report = json.load(open(path))
at = args.index("--memory")
del args[at:at + 2]
def total(n_ctx, cache):
    run = [tada, "size", "-m", model, *args, "-c", str(n_ctx), "--json", "-"]
    rows = json.loads(subprocess.run(run, check=True, stdout=subprocess.PIPE).stdout)
    assert rows["n_ctx"] == n_ctx, rows
    return next(r["total_bytes"] for r in rows["results"] if r["cache"] == cache)
assert len(report["results"]) > 1
for row in report["results"]:
    n_ctx, budget = row["largest"]["n_ctx"], report["memory_bytes"]
    assert n_ctx % int(step) == 0 and total(n_ctx, row["cache"]) == row["largest"]["total_bytes"] <= budget, row
    assert total(n_ctx + int(step), row["cache"]) > budget, row
PYTHON
}
largest "the largest context in 40M" 256 --memory 40M --cache q4_0,tada
largest "... of a server with streams" 768 --memory 0.0625G --parallel 3 --cache tada:paper
check "... which is beyond what the model was trained on" grep -q "trained on contexts of 8192" "$work/out"
size -m "$work/llama.gguf" -c 1000 --memory 1G --cache tada --json "$work/a.json"
check "not above what was asked for" python3 -c "
import json
report = json.load(open('$work/a.json'))
assert report['n_ctx'] == 1024 and report['n_ctx_train'] == 8192 and report['parallel'] == 4 and report['kv_unified'] is True
assert [r['largest']['n_ctx'] for r in report['results']] == [1024, 1024], report"
size -m "$work/llama.gguf" --memory 18M --cache tada --json "$work/a.json"
check "a budget that some caches fit in with less" python3 -c "
import json
f16, tada = json.load(open('$work/a.json'))['results']
assert f16['largest']['n_ctx'] < 8192 < tada['largest']['n_ctx'], (f16, tada)"

# Output.
size -m "$model" --cache tada --json -
check "JSON in place of the table" python3 -c "import json; assert len(json.load(open('$work/out'))['results']) == 2"
size -m "$model" --cache f16
check "f16 alone" bash -c "[ $status -eq 0 ] && grep -qE '^KV cache +180.00\$' '$work/out' && [ ! -s '$work/err' ]"
size -m "$work/conv.gguf"
check "the usual caches, and states of a hybrid model" bash -c "
    grep -qE '^cache +f16 +q8_0 +q4_0 +tada\$' '$work/out' && grep -q '^recurrent states' '$work/out'"

long=tada:4:k.rotate=hadamard:window=0:refine=off
size -m "$model" -c 32768 -np 4 --memory 2G --cache "tada:3.5/3:window=128:sinks=4,$long,q8_0,q5_1,q5_0,tada:compact,q4_0"
check "caches with long names, and many of them, fit in 80 columns" bash -c "[ $status -eq 0 ] && [ -s '$work/out' ] && ! grep -E '.{81}' '$work/out'"
check "... each in a column" bash -c "grep -qxF '(1) tada:3.5/3:window=128:sinks=4' '$work/out' && grep -qxF '(2) $long' '$work/out' &&
    grep -qE '^cache +f16 +\\(1\\) +\\(2\\) +q8_0 +q5_1\$' '$work/out' && grep -qE '^cache +q5_0 +tada:compact +q4_0\$' '$work/out'"
check "... with all rows" bash -c "[ \$(grep -c '^total  ' '$work/out') -eq 2 ] && [ \$(grep -cE '^tokens in 2048 MiB  +[0-9]+' '$work/out') -eq 2 ]"

# What llama-server keeps beside the cache.
size -m "$model" -c 32768 -np 4 --cache-ram 4096 -md "$model" --cache tada
check "prompts of full slots, in f16 and in codes, and a draft model" bash -c "
    grep -qE '^prompts in 4 GiB +11 +4[0-9]\$' '$work/out' && grep -qE '^draft model +8[0-9]{2}[.]' '$work/out' &&
        ! grep -qE 'a checkpoint|.{81}' '$work/out'"
size -m "$model" -c 32768 -np 4 -cram 1G -md "$model" --cache tada --json -
check "... in JSON" python3 -c "
import json
said = json.load(open('$work/out'))
for one in said['results']:
    draft = one['total_bytes'] - sum(one[name + '_bytes'] for name in ('weights', 'mapped', 'kv', 'recurrent', 'compute', 'output', 'scratch'))
    assert draft == one['draft_bytes'] == one['total_bytes'] / 2 and one['prompt_bytes'] == one['kv_bytes'] * 2 // 4, one
    assert one['prompts_in_ram'] == said['cache_ram_bytes'] // one['prompt_bytes'] and said['cache_ram_bytes'] == 2**30, said"
size -m "$work/window-64.gguf" -c 8192 -np 1 --cache tada --json -
check "checkpoints of a window" python3 -c "
import json
f16, tada = json.load(open('$work/out'))['results']
assert 0 < tada['checkpoint_bytes'] < f16['checkpoint_bytes'] < f16['kv_bytes'] / 4, (f16, tada)"
size -m "$model" -c 8192 --cache-ram 0
check "no prompts are kept" bash -c "[ $status -eq 0 ] && ! grep -q 'prompts in' '$work/out'"

# What cannot be.
head -c 1000000 "$model" > "$work/short.gguf"
head -c 3000 /dev/urandom > "$work/noise.gguf"
python3 - "$work/llama.gguf" "$work/huge.gguf" << 'PYTHON'
import sys
model = open(sys.argv[1], "rb").read()
at = model.index(b"llama.context_length") + len("llama.context_length") + 4
open(sys.argv[2], "wb").write(model[:at] + (2**31 - 1).to_bytes(4, "little") + model[at + 4:])
PYTHON
refused "a model that claims an endless context" "give a smaller one with -c" -m "$work/huge.gguf"
refused "an unknown spec" "Unknown cache spec" -m "$model" --cache tada,tadaa
refused "a plan that is not there" "cannot be read" -m "$model" --cache "tada:@$work/none.plan"
refused "a plan for another model" "other layers" -m "$model" --cache "tada:@$work/good.plan"
refused "a truncated model" "does not load" -m "$work/short.gguf"
refused "a model of noise" "does not load" -m "$work/noise.gguf"
mkfifo "$work/pipe.gguf"
refused "a pipe as a model" "cannot be read" -m "$work/pipe.gguf"
refused "a pipe as a plan" "cannot be read" -m "$model" --cache "tada:@$work/pipe.gguf"
refused "a model that is not there" "cannot be read" -m "$work/none.gguf"
refused "too little memory" "Not even a context of 256 tokens fits in 64 MiB" -m "$model" --memory 64M
for memory in 0 -1 8X x 1e30G "" nan 8GB3; do
    refused "a memory of '$memory'" "takes bytes" -m "$model" --memory "$memory"
done
refused "a context of 0" "whole number" -m "$model" -c 0
refused "too many sequences" "whole number" -m "$model" --parallel 257
refused "a file that is not expected" "not expected" -m "$model" more

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
