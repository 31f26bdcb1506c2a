#!/usr/bin/env bash
# symbols.sh BUILD: what the libraries show to others are names of ours, and of nobody else's.
set -euo pipefail
build=$1
failed=0

# Names that a file shows and that do not match a pattern are wrong; so is a file without any.
check() {
    local file=$1 pattern=$2 names strange
    shift 2
    if [ ! -e "$file" ]; then
        echo "skipped: $file has not been built"
        return
    fi
    names=$(nm "$@" --defined-only "$file" | awk 'NF == 3 && $2 ~ /[A-Z]/ { print $3 }' | sort -u)
    strange=$(grep -vE "^($pattern)\$" <<< "$names" || true)
    if [ -z "$names" ] || [ -n "$strange" ]; then
        echo "FAILED  $file shows: ${strange:-nothing}"
        failed=1
    else
        echo "ok      $file: $(wc -l <<< "$names") names"
    fi
}

# What coverage and sanitizers add is not ours.
tools='__asan_.*|__ubsan_.*|__tsan_.*|__odr_asan.*|__gcov_.*|__llvm_.*|mangle_path|___asan.*'
check "$build/libtada.a" "tada_[a-z0-9_]+|$tools" --extern-only
check "$build/libtada_session.a" "(session|grid|crc|source|target|llama_state)_[a-z0-9_]+|$tools" --extern-only
check "$build/bin/libggml-tada.so" "tada_[a-z0-9_]+|ggml_backend_(init|score)|$tools" --dynamic
check "$build/bin/libtada-sessions.so" "fopen|fopen64|fclose|llama_state_seq_(get_size|get_data|set_data)_ext|$tools" --dynamic
# Functions that it stands before, two of them of C++.
before='fopen|fopen64|fclose|llama_(batch_ext|memory|state_seq|get|set|model_load_from)_[a-z_]+|llama_(process|decode|free|backend_free|init_from_model)'
before+='|_Z26llama_set_embeddings_nextnP13llama_contextbb|_Z30llama_set_embeddings_layer_inpP13llama_contextjb'
check "$build/bin/libtada-prompts.so" "$before|$tools" --dynamic
exit $failed
