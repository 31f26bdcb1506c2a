#!/usr/bin/env bash
# The default model with f16 weights, made once from the quantised one, for measuring quality: quantised weights amplify
# every rounding.  get_f16_model.sh BIN_DIR  ->  its path
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: get_f16_model.sh BIN_DIR" >&2; exit 2; }
source=$("$(dirname "$0")/get_model.sh")
model=${source%-q4_1.gguf}-f16.gguf
if [ ! -s "$model" ]; then
    # Others may make it at the same time.
    part=$(mktemp "$model.XXXXXX")
    trap 'rm -f "$part"' EXIT
    log=$(env -u GGML_BACKEND_PATH "$1/llama-quantize" --allow-requantize "$source" "$part" F16 2>&1) ||
        { echo "$log" | tail -n 5 >&2
          echo "get_f16_model.sh: the model could not be converted: is there room for 300 MB in ${model%/*}?" >&2; exit 1; }
    chmod a+r "$part"
    mv "$part" "$model"
fi
echo "$model"
