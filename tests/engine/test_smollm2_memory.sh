#!/usr/bin/env bash
# 65536 cells of the default model take next to no memory while they are empty, and little while few are filled.
#     test_smollm2_memory.sh BIN_DIR [FILL]    (FILL: cells to fill, 1024)
set -uo pipefail
bin=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
program=$bin/../tests/engine_memory
if [ ! -x "$program" ]; then
    echo "skipped: there is no engine_memory, as llama.cpp's libraries were not there when this was built"
    exit 77
fi
model=$("$here/../../scripts/get_model.sh") || exit 1
exec "$program" "$(dirname "$(realpath "$bin/llama-cli")")" "$bin/libggml-tada.so" "$model" 140 "${2:-1024}"
