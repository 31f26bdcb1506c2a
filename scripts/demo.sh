#!/usr/bin/env bash
# Answers one question twice, with the f16 cache and with TaDA, and compares memory, speed and text.
#   demo.sh BIN_DIR MODEL [SPEC]     SPEC: cache spec (default: $TADA_CACHE, else tada)
set -euo pipefail

fail() { echo "demo.sh: $1" >&2; exit "${2:-1}"; }

[ $# -eq 2 ] || [ $# -eq 3 ] || fail "usage: demo.sh BIN_DIR MODEL [SPEC]" 2
bin=$1 model=$2 spec=${3:-${TADA_CACHE:-tada}}
tool=$bin/llama-completion
[ -x "$tool" ] || fail "$tool is missing: give the folder with the llama.cpp tools, such as build/bin"
[ -r "$model" ] || fail "the model $model cannot be read: give the path of a GGUF file"
plugin=
for candidate in "${TADA_PLUGIN:-}" "$bin"/{,../lib/,../lib64/}libggml-tada.so; do
    if [ -n "$candidate" ] && [ -f "$candidate" ]; then
        plugin=$(readlink -f "$candidate")
        break
    fi
done
[ -n "$plugin" ] ||
    fail "the plug-in libggml-tada.so is not in $bin: build TaDA first, or set TADA_PLUGIN to its path"

question="Write a short story about a lighthouse keeper and a lost whale."
prompt="<|im_start|>user
$question<|im_end|>
<|im_start|>assistant
"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# answer NAME [VARIABLE=VALUE...]: streams the answer, keeps it in NAME.txt and the log in NAME.log.
# -lv 4 is the level at which llama.cpp tells the size of the cache.
answer() {
    local name=$1
    shift
    env -u GGML_BACKEND_PATH -u TADA_CACHE "$@" "$tool" -m "$model" -p "$prompt" -n 200 -c 8192 -t 2 \
        --temp 0 --seed 1 -no-cnv --no-display-prompt -lv 4 --log-colors off \
        < /dev/null 2> "$work/$name.log" | tee "$work/$name.txt" ||
        {
            tail -n 20 "$work/$name.log" >&2
            fail "llama-completion failed with the $name cache: see its last lines above"
        }
    printf '\n\n'
}

bold='' plain=''
if [ -t 1 ]; then
    bold=$'\e[1m' plain=$'\e[0m'
fi
printf '%sQuestion:%s %s\n\n' "$bold" "$plain" "$question"
printf '%sAnswer with the f16 cache:%s\n' "$bold" "$plain"
answer f16
printf '%sAnswer with the %s cache:%s\n' "$bold" "$spec" "$plain"
# TADA_LOG: the plug-in tells the size of its scratch, which is memory too.
answer tada GGML_BACKEND_PATH="$plugin" TADA_CACHE="$spec" TADA_LOG=1
# Without this, a plug-in that llama.cpp turned down would be shown as one that changes nothing.
grep -q "TADA KV buffer size" "$work/tada.log" ||
    { grep TADA "$work/tada.log" >&2 || true
      fail "llama.cpp did not use the TaDA cache: run '$bin/tada doctor' to see why"; }

python3 - "$work" "$spec" << 'PYTHON'
import os
import re
import sys

work, spec = sys.argv[1:]


def load(name):
    with open(f"{work}/{name}.log", encoding="utf-8", errors="replace") as file:
        log = file.read()
    with open(f"{work}/{name}.txt", encoding="utf-8", errors="replace") as file:
        text = file.read().removesuffix("\n").removesuffix(" [end of text]").strip()
    caches = [float(size) for size in re.findall(r"KV buffer size = +([0-9.]+) MiB", log)]
    scratch = [float(size) for size in re.findall(r"TADA: scratch = +([0-9.]+) MiB", log)]
    speeds = re.findall(r"(?<!prompt )eval time = .*?([0-9.]+) tokens per second", log)
    if not caches or not speeds:
        sys.exit(f"demo.sh: the log of llama-completion with the {name} cache lacks the size or the speed: "
                 "use the llama.cpp that TaDA was built for")
    # A model can have several caches; the scratch only grows, and the last line counts.
    return sum(caches), (scratch or [0.0])[-1], float(speeds[-1]), text


plain, ours = load("f16"), load("tada")
name = spec if len(spec) <= 24 else spec[:21] + "..."
width = max(len(name), 5)
print(f"{'cache':<{width}}  {'memory, MiB':>11}  {'of f16':>7}  {'tokens/s':>8}")
for label, (cache, scratch, speed, _) in (("f16", plain), (name, ours)):
    total = cache + scratch
    print(f"{label:<{width}}  {total:>11.2f}  {total / plain[0]:>7.1%}  {speed:>8.1f}")
if ours[1]:
    print(f"The memory of {name} includes {ours[1]:.2f} MiB of scratch.")

one, two = plain[3], ours[3]
if one == two:
    print(f"The two answers are identical ({len(one)} characters, {len(one.split())} words).")
else:
    same = len(os.path.commonprefix([one, two]))
    words, others = one.split(), two.split()
    same_words = next((i for i, pair in enumerate(zip(words, others)) if pair[0] != pair[1]),
                      min(len(words), len(others)))
    print(f"The two answers agree for the first {same} of {len(one)} characters ({same_words} of "
          f"{len(words)} words), then differ.")
    print("A small model with 4-bit weights has near ties that any rounding decides, even another instruction set's; "
          "how close the caches are is measured with KL divergence, see the README.")
PYTHON
