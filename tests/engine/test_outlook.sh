#!/usr/bin/env bash
# What run, serve, size, doctor and calibrate say of models whose KV cache is not or not wholly compressed; a GPU's
# layers; plans of models with further caches.   test_outlook.sh BIN_DIR
. "$(dirname "$0")/check.sh"
needs make_model
tools=${TADA_LLAMA_BIN:-$(dirname "$(readlink -f "$bin/llama-cli")")} # with the libraries
export HOME=$work OMP_WAIT_POLICY=passive

make_shape() { # NAME
    "$bin/../tests/architectures/make_shape" "$tools" "$here/../architectures/models.txt" "$1" "$work/$1.gguf" \
        > "$work/out" 2> "$work/err"
    check "a model: $1" test -s "$work/$1.gguf"
}
each_says() { # MODEL WORDS: all four commands
    tada size -m "$work/$1.gguf" -c 1024 -np 1 --cache q8_0,tada,tada:4
    check "size: $1" says "$work/out" "tada: $2"
    tada serve -m "$work/$1.gguf" -c 1024 -np 1 --version
    check "serve: $1" grep -qF -e "tada: $2" "$work/err"
    tada run --tool completion -m "$work/$1.gguf" -c 1024 --version
    check "run: $1" grep -qF -e "tada: $2" "$work/err"
    tada doctor -m "$work/$1.gguf"
    check "doctor: $1" says "$work/out" "$1.gguf: $2"
}

for name in mamba gemma-embedding grok minimax-m3 deepseek32 llama; do
    make_shape $name
done
"$bin/../tests/make_model" "$work/widths.gguf" head_dim 36

each_says mamba "0 % is compressed: this model has no KV cache, only recurrent states."
each_says gemma-embedding "0 % is compressed: this model has no KV cache, as it reads a text as a whole."
each_says grok "0 % of the KV cache is compressed: this model is computed without flash attention, which a compressed cache needs."
each_says widths "0 % of the KV cache is compressed: its rows have widths that are no multiples of 16, and stay in f16."
each_says minimax-m3 "42 % of the KV cache is compressed: flash attention does not read the rest, which stays in f16."
each_says deepseek32 "82 % of the KV cache is compressed: flash attention does not read the rest, which stays in f16."
tada doctor -m "$work/llama.gguf"
check "doctor: llama" says "$work/out" "llama.gguf: 100 % of the KV cache is compressed."
for command in "serve -np 1" "run --tool completion"; do
    # shellcheck disable=SC2086
    tada $command -m "$work/llama.gguf" -c 1024 --version
    check "$command: llama" bash -c "! grep -q 'is compressed' '$work/err'"
done
tada doctor -m "$work/nowhere.gguf"
check "doctor: a model that is not there" grep -qF "nowhere.gguf: unknown" "$work/out"
check "... does not end with nothing wrong" grep -qxF "No problem, but 1 warning: see the lines with '->'." "$work/out"

# Nothing is saved of no cache, and nothing is no number.
for command in "size -c 1024" "bench -d 0 -r 1 --decode 1 --prefill 64"; do
    # shellcheck disable=SC2086
    tada $command -m "$work/mamba.gguf" -t 1 --cache tada
    check "${command%% *}: a share of mamba" bash -c "[ $status -eq 0 ] && ! grep -qi nan '$work/out'"
    # shellcheck disable=SC2086
    tada $command -m "$work/mamba.gguf" -t 1 --cache tada --json "$work/shares.json" --force
    check "... and in JSON" python3 -c "
import json
assert [r['memory_ratio'] for r in json.load(open('$work/shares.json'))['results']] == [1, 1]"
done

# Models at which llama.cpp ends its process.
for name in plm rwkv6qwen2; do
    make_shape $name
    tada size -m "$work/$name.gguf" -c 1024
    check "size says that llama.cpp gives up: $name" test $status -eq 1
    check "... in one sentence" grep -qE '^tada: llama.cpp gives up \([a-z0-9.-]+:[0-9]+: GGML_ASSERT\(.*\) failed\): the model is damaged' "$work/err"
    check "... and no more" test "$(wc -l < "$work/err")" -eq 1
    tada doctor -m "$work/$name.gguf"
    check "doctor: $name" grep -qF "$name.gguf: unknown" "$work/out"
done

# What is told is what happens.
planes_of() { # MODEL: the share of f16's bytes that planes stand for, by the log of llama.cpp and of the plug-in
    GGML_BACKEND_PATH=$bin/libggml-tada.so TADA_CACHE=tada TADA_LOG=2 timeout "$patience" "$tools/llama-bench" \
        -m "$work/$1.gguf" -p 64 -n 0 -d 960 -r 1 -t 1 -fa 1 --no-warmup -v 2>&1 | python3 -c '
import re, sys
log = sys.stdin.read()
planes = sum(map(float, set(re.findall(r"planes compressed in [0-9.]+ MiB instead of ([0-9.]+) MiB", log))))
print(planes / sum(map(float, re.findall(r"llama_kv_cache: size = +([0-9.]+) MiB", log))))'
}
for model in minimax-m3 deepseek32 llama; do
    tada size -m "$work/$model.gguf" -c 1024 -np 1 --cache tada --json "$work/$model.json"
    check "what is told of $model is so" python3 - "$work/$model.json" "$(planes_of $model)" << 'PYTHON'
import json, sys
said = json.load(open(sys.argv[1]))["results"][1]["compressed_ratio"]
assert abs(said - float(sys.argv[2])) < 0.01, (said, sys.argv[2])
PYTHON
done

# A GPU: libraries by that name are loaded from beside the tools.
mkdir "$work/gpu"
cp "$tools"/*.so* "$tools/llama-server" "$tools/llama-completion" "$tools/llama-bench" "$work/gpu"
cp "$bin/../tests/libggml-fake-gpu.so" "$work/gpu/libggml-cuda.so"
export TADA_LLAMA_BIN=$work/gpu
on_gpu="of the KV cache is compressed: layers on FAKE0 keep theirs there as it is; -nkvo keeps it in RAM, compressed."
each_says llama "0 % $on_gpu"
for options in "-ngl 2" "-ngl 2 -nkvo" "-ngl 0"; do
    # shellcheck disable=SC2086
    tada serve -m "$work/llama.gguf" -c 1024 -np 1 $options --version
    cp "$work/err" "$work/said"
    # shellcheck disable=SC2086
    tada size -m "$work/llama.gguf" -c 1024 -np 1 $options --cache tada
    if [ "$options" = "-ngl 2" ]; then # the output layer is one of the two
        check "half of the layers on a GPU" grep -qF "tada: 50 % $on_gpu" "$work/said"
        check "... says size" says "$work/out" "tada: 50 % $on_gpu"
    else
        check "with $options all is compressed" bash -c "! grep -q 'is compressed:' '$work/said' '$work/out'"
    fi
done
unset TADA_LLAMA_BIN

# ---- calibration ----

for model in grok mamba; do
    tada calibrate -m "$work/$model.gguf" --budget 90% -c 1024 --sample 256 -t 1 -o "$work/none.plan"
    check "calibrate says the same of $model" refused "$model.gguf: 0 % "
done
# Two caches have a layer of the same number: one is attended to, the other chooses tokens.
for model in minimax-m3 deepseek32; do
    tada calibrate -m "$work/$model.gguf" --budget 96% -c 1024 --sample 256 -t 2 -o "$work/$model.plan"
    check "a plan for $model" test "$status" -eq 0
    tada size -m "$work/$model.gguf" -c 1024 --cache "tada:@$work/$model.plan"
    check "... which is for this model" test "$status" -eq 0
    GGML_BACKEND_PATH=$bin/libggml-tada.so TADA_CACHE=tada:@$work/$model.plan TADA_LOG=2 timeout "$patience" \
        "$tools/llama-bench" -m "$work/$model.gguf" -p 64 -n 2 -r 1 -t 1 -fa 1 --no-warmup -v > "$work/out" 2> "$work/err"
    check "... and the plug-in takes it" bash -c "cat '$work/out' '$work/err' > '$work/log' &&
        grep -q 'TADA KV buffer size' '$work/log' && ! grep -q 'another model' '$work/log'"
done
exit $((failures > 0))
