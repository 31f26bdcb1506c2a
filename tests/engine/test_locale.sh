#!/usr/bin/env bash
# Where numbers have a comma (a German locale): specs are read, and files are written, with a point.  test_locale.sh BIN_DIR
# llama-completion calls setlocale, and with it its plug-ins live in that locale.
. "$(dirname "$0")/check.sh"
make_plan=$bin/../tests/make_plan
tools=${TADA_LLAMA_BIN:-$bin}
needs make_plan
if ! localedef -i de_DE -f UTF-8 "$work/de_DE.UTF-8" > "$work/out" 2>&1; then
    echo "skipped: localedef cannot make a German locale: $(head -n 1 "$work/out")"
    exit 77
fi

german() { # COMMAND...
    LOCPATH=$work LC_ALL=de_DE.UTF-8 timeout "$patience" "$@"
}
check "the locale has a comma" test "$(german bash -c 'printf %.1f 2,5')" = 2,5
check "a plan is made" timeout "$patience" "$make_plan" "$work" 3 128 0123456789abcdef

# What tada writes is the same as elsewhere.
plain() { # COMMAND...
    timeout "$patience" "$@"
}
inspect() { # WAY
    $1 "$bin/tada" inspect "$work/good.plan" --html "$work/$1.html" > "$work/$1.text" &&
        $1 "$bin/tada" inspect "$work/good.plan" --json "$work/$1.json" > "$work/out"
}
size() { # WAY
    $1 "$bin/tada" size -m "$work/model.gguf" -c 1024 -t 2 --cache tada:3.5/3,q8_0 --memory 1.5G --json "$work/$1.size" \
        > "$work/$1.table"
}
for way in plain german; do
    check "$way: a plan is shown" inspect $way
    check "$way: sizes are told" size $way
done
# The bars of a table follow the characters that a locale has, not its numbers.
for file in json html table size; do
    check "the same $file" cmp "$work/plain.$file" "$work/german.$file"
done
check "the same numbers in a table" test "$(tr -dc '0-9.,\n' < "$work/german.text")" = "$(tr -dc '0-9.,\n' < "$work/plain.text")"
check "the JSON has its points" python3 -c "
import json
assert [p['bits'] for p in json.load(open('$work/german.json'))['planes']][:3] == [3.5, 3, 4]"

# What a host that calls setlocale has: the cache, and metrics.
complete() { # SPEC
    status=0
    TADA_CACHE=$1 TADA_METRICS=$work/metrics GGML_BACKEND_PATH=$bin/libggml-tada.so german "$tools/llama-completion" -m "$work/model.gguf" \
        -p "ein Text" -n 8 -c 512 --temp 0 -fa on -t 2 -no-cnv -v > "$work/out" 2> "$work/err" < /dev/null || status=$?
}
complete tada:3.5/3
check "tada:3.5/3 is followed" test "$status" -eq 0
check "... and compresses" grep -q 'TADA: .*planes compressed' "$work/err"
check "... in that locale" grep -qE 'TADA: .* [0-9]+,[0-9]+ MiB' "$work/err"
check "metrics are written" grep -qE '^tada_attention_seconds_total [0-9]+\.[0-9]+$' "$work/metrics"
check "... without a comma" bash -c "! grep -qE '^[^#{]*(\{.*\})? [0-9]*,[0-9]' '$work/metrics'"
complete tada:3,5/3
check "tada:3,5/3 is refused" grep -q "TADA: .*3,5/3" "$work/err"

[ "$failures" -eq 0 ] || { echo "$failures checks failed"; exit 1; }
