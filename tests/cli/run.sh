#!/usr/bin/env bash
# Checks how the tada command behaves, with stand-ins for the llama.cpp tools.   run.sh TADA_BINARY
set -uo pipefail
if [ $# -ne 1 ] || [ ! -x "$1" ]; then
    echo "usage: run.sh TADA_BINARY" >&2
    exit 2
fi
binary=$(readlink -f "$1")
golden=$(cd "$(dirname "$0")/../golden/plans" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset TADA_CACHE TADA_PLUGIN TADA_LLAMA_BIN TADA_LLAMA_LIB TADA_KERNELS TADA_PLANS GGML_BACKEND_PATH XDG_CACHE_HOME XDG_DATA_HOME
unset "${!LLAMA_ARG_@}"
export HOME=$work/home
export LLAMA_ARG_MODEL=none.gguf # one is named, so that none has to be there

# A copy in a folder of its own: what lies beside the real one must not matter.
mkdir -p "$work/app/bin" "$work/app/lib" "$work/tools" "$HOME"
cp "$binary" "$work/app/bin/tada"
tada=$work/app/bin/tada
cat > "$work/tools/llama-cli" << 'STUB'
#!/bin/sh
echo "tool=$(basename "$0")"
echo "folder=$(dirname "$0")"
echo "plugin=${GGML_BACKEND_PATH-unset}"
echo "cache=${TADA_CACHE-unset}"
echo "rpc=${TADA_RPC-unset}"
echo "sessions=${TADA_SESSIONS-unset}"
echo "prompts=${TADA_PROMPTS-unset}"
echo "inherit=${TADA_SESSIONS_INHERIT-unset}"
echo "kept=${TADA_PROMPT_CACHE-unset},${TADA_PROMPT_CACHE_SIZE-unset}"
echo "preload=${LD_PRELOAD-unset}"
for argument in "$@"; do echo "<$argument>"; done
[ "$1" != "--exit" ] || exit "$2"
[ "$1" != "--version" ] || echo "version: 1.2.3 (stub)" >&2
STUB
chmod +x "$work/tools/llama-cli"
for tool in llama-server llama-completion llama-bench ggml-rpc-server; do cp "$work/tools/llama-cli" "$work/tools/$tool"; done

checks=0 failures=0 status=0 output=
bad() {
    echo "FAIL line ${BASH_LINENO[1]}: $1"
    printf '%s\n' "$output" | sed 's/^/    /'
    failures=$((failures + 1))
}
# call STATUS ARGS...: runs tada, keeps both streams in $output
call() {
    local expected=$1
    shift
    checks=$((checks + 1))
    output=$("$tada" "$@" 2>&1)
    status=$?
    [ "$status" -eq "$expected" ] || bad "'tada $*' exits with $status, not $expected"
}
# has WORDS: they may be on two lines
has() {
    checks=$((checks + 1))
    grep -qF -e "$1" <<< "$output" || grep -qF -e "$1" <<< "$(tr -s ' \n' ' ' <<< "$output")" || bad "no '$1' in the output"
}
# narrow: no line has more than 80 columns, but where a path does not fit
narrow() { checks=$((checks + 1)); ! grep -E '.{81}' <<< "$output" | grep -qv / || bad "a line of more than 80 columns"; }
hasnt() { checks=$((checks + 1)); ! grep -qF -e "$1" <<< "$output" || bad "'$1' in the output"; }
# arguments A B ...: the tool was given exactly these
arguments() {
    local expected actual
    checks=$((checks + 1))
    expected=$([ $# -eq 0 ] || printf '<%s>\n' "$@")
    actual=$(grep '^<' <<< "$output")
    [ "$expected" = "$actual" ] || bad "other arguments than expected: $*"
}

# Help and usage errors.
call 0 --version; has "tada "
call 0 -V
call 0 --help; has "run"; has "serve"; has "doctor"
call 0 -h
call 0 help; has "usage: tada COMMAND"
call 0 help help
call 0 help --help
call 2; has "usage: tada COMMAND"
for command in run serve rpc doctor; do
    call 0 help $command; has "usage: tada $command"
    call 0 $command --help; has "usage: tada $command"
    call 0 $command -h
    checks=$((checks + 1))
    longest=$("$tada" help $command | awk '{ if (length > n) n = length } END { print n + 0 }')
    [ "$longest" -le 110 ] || bad "a help line of $command has $longest columns"
done
call 2 rnu; has "did you mean 'run'"
call 2 xyz; has "is not a tada command"; has "run, serve, rpc, "; has "doctor, help."
call 2 help xyz
call 2 help run serve
call 2 --nonsense; has "--nonsense"
call 2 -z
call 2 run --cache; has "needs a value"
call 2 run --cache tada:99; has "bits"
call 2 run --cache nonsense; has "Unknown cache spec"
call 2 run --cache ""
call 2 run --tool ../evil; has "name of a llama.cpp tool"
call 2 run --tool=
if grep -q '^  eval' <<< "$("$tada" --help)"; then # not in a build without llama.cpp
    call 0 help eval; has "usage: tada eval"
    call 2 xyz; has "inspect"
    call 0 help inspect; has "usage: tada inspect"
    call 0 inspect "$golden/mixed.gguf"; has "model mixed, fingerprint 0123456789abcdef, method tada, 4 layers, 4 sinks"
    has "bits on average: K 5.25, V 3.00" # no llama.cpp is needed
    call 2 inspect "$work/tools/llama-cli"; has "not a plan"
    call 2 inspect; has "one plan file"
    call 2 inspect --nonsense x; has "--nonsense"
    call 0 help size; has "usage: tada size"
    call 2 size --memory 8X; has "takes bytes"
    call 2 size --parallel; has "needs a value"
    call 0 eval -h
    checks=$((checks + 1))
    longest=$("$tada" help eval | awk '{ if (length > n) n = length } END { print n + 0 }')
    [ "$longest" -le 110 ] || bad "a help line of eval has $longest columns"
    call 2 eval; has "No model is given"
    call 2 eval -m x extra; has "'extra' is not expected"
    call 2 eval -m x --nonsense; has "--nonsense"
    call 2 eval -m x -c; has "-c needs a value"
    call 2 eval -m x -c 1000; has "use 1024"
    call 2 eval -m x -c 4096x; has "whole number"
    call 2 eval -m x -c 0; has "whole number"
    call 2 eval -m x -c 99999999999999999999; has "whole number"
    call 2 eval -m x -c 256 --ubatch 129; has "--ubatch 129"
    call 2 eval -m x -c 512 --reserve 256; has "--reserve 256 is too little for windows of 512 tokens"
    call 2 eval -m x --reserve 1000; has "use 1024"
    call 2 eval -m x --ubatch -1; has "--ubatch takes"
    call 2 eval -m x --chunks 0; has "--chunks takes"
    call 2 eval -m x --chunks 1000000; has "use fewer"
    call 2 eval -m x --seed -1; has "--seed takes"
    call 2 eval -m x -t 0; has "-t takes"
    call 2 eval -m x --cache q4_0,nonsense; has "Unknown cache spec 'nonsense'"
    call 2 eval -m x --cache tada:99; has "bits"
    call 2 eval -m x --cache q4_0,; has "cache spec"
    call 2 eval -m x --cache f16,f16/f16; has "name another cache"
    call 2 eval -m x --weights q8_0; has "takes only f16"
    call 2 eval -m x --limit 5; has "--gsm8k"
    call 2 eval -m x --json "$work/none/x.json"; has "No such file"
    call 2 eval -m x --json "$work"; has "it is a folder"
    call 2 eval -m x --json "$work/none/"; has "no file name"
    call 1 eval -m x; has "tada"
    checks=$((checks + 1))
    [ -z "$(find "$work" -maxdepth 1 -name "*json*")" ] || bad "a file is left where the JSON would have been"
fi

# Files that are written: what is there stays unless it is given up, and what is read always.
if "$tada" help eval > /dev/null 2>&1; then
    mkdir "$work/files"
    cd "$work/files" || exit 2 # names without blanks, wherever this is
    there=there none=none read=read
    echo of mine > "$there"
    echo read > "$read"
    for command in "eval -m x --json" "size -m x --json" "bench -m x --json" "inspect x --json" "inspect x --html" \
        "calibrate -m x -o" "calibrate -m x -o $none.plan --report"; do
        failed=1
        [[ $command != inspect* ]] || failed=2 # it goes on without llama.cpp, up to the plan that is not there
        call 2 $command "$there"; has "is there already: add --force to replace it"
        call $failed $command "$there" --force; hasnt "there already"
        call $failed $command "$none"; hasnt "cannot be written"
        for device in - /dev/null /dev/stdout; do
            call $failed $command $device; hasnt "cannot be written"
        done
    done
    for command in "eval -m $read --json" "eval -m x -f $read --json" "eval -m x --gsm8k $read --json" \
        "eval -m x --cache q4_0,tada:@$read --json" "size -m $read --json" "bench -m $read --json" "inspect $read --html" \
        "bench -m x --cache tada:@$read --json" "size -m x --cache tada:@$read --json" \
        "calibrate -m $read -o" "calibrate -m x -f $read -o" "calibrate -m x --from $read -o" \
        "calibrate -m x --method paper --tasks $read -o" "calibrate -m x -o $none --from $read --report"; do
        call 2 $command "$read" --force; has "is a file that is read"
        call 2 $command "$work/files/../files/read"; has "is a file that is read"
    done
    for command in "calibrate -m x -o FILE --report FILE" "inspect x --json FILE --html FILE"; do
        call 2 ${command//FILE/$none}; has "is given for two files"
        call 2 ${command//FILE/-}; has "is given for two files"
    done
    checks=$((checks + 1))
    [ "$(cat "$there" "$read")" = $'of mine\nread' ] && [ "$(ls "$work/files")" = $'read\nthere' ] || bad "files were changed, or made"
    cd "$OLDPWD" || exit 2
fi

# Standard input is named as such.
if grep -q '^  inspect' <<< "$("$tada" --help)"; then
    call 2 inspect - <<< "no plan"; has "standard input is damaged or not a plan"; hasnt /proc
    call 2 inspect - < /dev/null; has "standard input is damaged or not a plan"; hasnt /proc
    checks=$((checks + 1))
    output=$("$tada" inspect - 2>&1 <&-); has "standard input cannot be read (Bad file descriptor)"
    call 0 inspect - < "$golden/mixed.gguf"; has "model mixed"
    mkfifo "$work/pipe"
    for path in "$work/pipe" "$work" /dev/null; do
        call 2 inspect "$path"; has "$path cannot be read (it is not a plain file)"
    done
fi
call 2 doctor extra
call 2 doctor --nonsense; has "--nonsense"
call 2 doctor --json=yes
if [ -w /dev/full ]; then
    checks=$((checks + 1))
    output=$("$tada" --help 2>&1 > /dev/full) && bad "success although the output is lost"
fi

# What measures is there only in a build with the headers of llama.cpp.
if "$tada" help bench > /dev/null 2>&1; then
    call 0 help bench; has "usage: tada bench"
    call 0 bench --help; has "peakMiB"
    call 0 bench -h
    checks=$((checks + 1))
    longest=$("$tada" help bench | awk '{ if (length > n) n = length } END { print n + 0 }')
    [ "$longest" -le 110 ] || bad "a help line of bench has $longest columns"
    call 2 bench; has "No model is given"
    call 2 bench extra; has "extra"
    call 2 bench --nonsense; has "--nonsense"
    call 2 bench --json; has "needs a value"
    call 2 bench -m; has "needs a value"
    for depths in -1 "" 1,,2 "1," 1x 99999999999999999999 "$(seq -s, 40)"; do
        call 2 bench --depth "$depths"; has "--depth takes"
    done
    call 2 bench --cache nonsense; has "Unknown cache spec"
    call 2 bench --cache q8_0,; has "A cache spec is empty"
    call 2 bench --cache tada:99; has "bits"
    call 2 bench --cache "$(seq -s, -f tada:4:window=%.0f 64 64 1280)"; has "at most 16 caches"
    for option in --threads --repeat --decode --prefill; do
        for value in 0 -1 "" 5.5 two 99999999; do
            call 2 bench $option "$value"; has "$option takes a whole number"
        done
    done
    touch "$work/model.gguf"
    call 2 bench -m "$work/model.gguf" --json "$work/none/x.json"; has "No such file"
    call 2 bench -m "$work/model.gguf" --json "$work"; has "it is a folder"
    call 1 bench -m "$work/model.gguf" --json /dev/null; hasnt "cannot be written"
    PATH=$work call 2 bench -m "$work/model.gguf" --plot "$work/x.svg"; has "gnuplot"
fi

# Where things are found.
PATH_BEFORE=$PATH
export PATH=/usr/bin:/bin
call 1 run --tool nowhere-to-be-found; has "llama-nowhere-to-be-found was not found"
export PATH=$work/tools:$PATH_BEFORE
call 1 run; has "libggml-tada.so was not found"; has "--cache f16"
call 0 run --cache f16; has "folder=$work/tools"
mkdir "$work/other"
cp "$work/tools/llama-cli" "$work/other/"
TADA_LLAMA_BIN=$work/other call 0 run --cache f16; has "folder=$work/other"
TADA_LLAMA_BIN=$work/other call 1 serve --cache f16; has "TADA_LLAMA_BIN"
cp "$work/tools/llama-cli" "$work/app/bin/"
call 0 run --cache f16; has "folder=$work/app/bin"
ln -s "$tada" "$work/link"
checks=$((checks + 1))
output=$("$work/link" run --cache f16 2>&1); has "folder=$work/app/bin"
rm "$work/app/bin/llama-cli"

touch "$work/chosen.so"
TADA_PLUGIN=$work/chosen.so call 0 run; has "plugin=$work/chosen.so"
TADA_PLUGIN=$work/none.so call 1 run; has "TADA_PLUGIN"
touch "$work/app/lib/libggml-tada.so"
call 0 run; has "lib/libggml-tada.so"
touch "$work/app/bin/libggml-tada.so"
call 0 run; has "plugin=$work/app/bin/libggml-tada.so"

# Where a stream is closed, no file comes to lie that something is then said into.
cat > "$work/tools/llama-streams" << 'STUB'
#!/bin/sh
for stream in 0 1 2; do [ ! -e /proc/$$/fd/$stream ] || echo "stream $stream"; done > "$STREAMS"
STUB
chmod +x "$work/tools/llama-streams"
STREAMS=$work/streams "$tada" run --tool streams <&- >&- 2>&-
output=$(cat "$work/streams"); has "stream 0"; has "stream 1"; has "stream 2"
checks=$((checks + 1))
output=$("$tada" --help 2>&1 >&-) && bad "success although standard output is closed"

# The cache spec.
call 0 run; has "cache=tada"; has "tool=llama-cli"; arguments
TADA_CACHE=tada:3 call 0 run; has "cache=tada:3"
TADA_CACHE=tada:3 call 0 run --cache tada:4/2; has "cache=tada:4/2"
call 0 run --cache=tada:paper; has "cache=tada:paper"
TADA_CACHE=rubbish call 2 run; has "TADA_CACHE"
call 0 run --cache q8_0/q4_0 -p x; arguments -ctk q8_0 -ctv q4_0 -p x; has "plugin=unset"; has "cache=unset"
TADA_CACHE=q8_0 call 0 run; arguments -ctk q8_0 -ctv q8_0; has "plugin=unset"
GGML_BACKEND_PATH=/x/libggml-tada.so call 0 run --cache f16; has "plugin=unset"
GGML_BACKEND_PATH=/x/other.so call 0 run --cache f16; has "plugin=/x/other.so"
GGML_BACKEND_PATH=/x/other.so call 0 run; has "plugin=$work/app/bin/libggml-tada.so"; has "is replaced"
GGML_BACKEND_PATH=/x/libggml-tada.so call 0 run; hasnt "is replaced"

# Arguments pass unchanged, wherever ours stand.
call 0 run -m "a b.gguf" --cache tada:4 -p $'two\ttabs "quoted" $HOME *' -- --cache q4_0 --help -- x
arguments -m "a b.gguf" -p $'two\ttabs "quoted" $HOME *' --cache q4_0 --help -- x; has "cache=tada:4"
call 0 run --cache-type-k f16 --cache-reuse 5; arguments --cache-type-k f16 --cache-reuse 5
call 0 run -p ""; arguments -p ""
call 7 run --exit 7
call 0 serve --port 8081; has "tool=llama-server"; arguments --port 8081
call 0 serve --tool x; has "tool=llama-server"; arguments --tool x

# The RPC server: the CPU by name, a port that is one, no model, no type of llama.cpp.
call 0 rpc --cache tada:4 -p 7 -- --help; has "tool=ggml-rpc-server"; has "cache=tada:4"; has "rpc=1"
arguments -d CPU -p 7 --help
for port in abc "" 0 -1 7x 65536 99999999 99999999999999999999; do
    call 2 rpc -p "$port"; has "--port takes a whole number from 1 to 65535, not '$port'"; hasnt "tool="
    call 2 rpc --cache tada:4 -- --port "$port"; hasnt "tool="
done
call 0 rpc --port 65535; arguments -d CPU --port 65535
call 0 run; has "rpc=unset"
call 2 rpc --cache q8_0; has "start ggml-rpc-server itself"
call 0 run --tool completion; has "tool=llama-completion"
call 0 run --tool=llama-bench; has "tool=llama-bench"
call 0 run -no-cnv -p x; has "tool=llama-completion"; arguments -no-cnv -p x
call 0 run --tool cli -no-cnv; has "tool=llama-cli"

# What is misspelt goes on to llama.cpp, which has options of similar names, and is told.
call 0 run --cach q8_0; has "tada: --cach is no option of tada, and goes to llama.cpp as it is; did you mean --cache?"
arguments --cach q8_0
call 0 run --cahce=q8_0; has "tada: --cahce is no option of tada"; has "did you mean --cache?"; arguments --cahce=q8_0
call 0 run --toll bench; has "did you mean --tool?"
call 0 serve --plan x; has "did you mean --plans?"
call 0 serve --promt-cache x; has "did you mean --prompt-cache?"; arguments --promt-cache x
call 0 rpc --cach x; has "did you mean --cache?"
call 0 run -- --cach q8_0; hasnt "mean"
call 0 run -cach q8_0 cach --zzzzzzzz; hasnt "mean"
for option in --cache-ram --cache-type-k --cache-reuse --cache-prompt --prompt-cache-all --prompt-cache-ro --prompt --tools --poll --poll=5; do
    call 0 run $option 1; hasnt "mean"; call 0 serve $option 1; hasnt "mean"
done

# serve: a summary, what cannot be had, sessions.
call 0 serve -c 1000 -np 2; has "tada: cache tada, context 512 each for 2 slots (split cache)"
arguments -c 1000 -np 2
call 0 serve -c 1000 -np 3; has "tada: cache tada, context 512 each for 3 slots"
call 0 serve -c 1000; has "tada: cache tada, context 1024, shared by 4 slots (unified cache)"
call 0 serve --ctx_size 1000 --parallel 1; has "tada: cache tada, context 1024, 1 slot"; arguments --ctx_size 1000 --parallel 1
LLAMA_ARG_CTX_SIZE=2048 LLAMA_ARG_N_PARALLEL=2 LLAMA_ARG_KV_UNIFIED=1 call 0 serve
has "context 2048, shared by 2 slots"
LLAMA_ARG_KV_UNIFIED=1 LLAMA_ARG_NO_KV_UNIFIED=1 call 0 serve -c 2048 -np 2; has "1024 each for 2 slots (split"
call 0 serve --kv-unified-per-slot 512 -np 3 -kvu; has "context 1536, shared by 3 slots"
call 0 serve; has "context as the model says, 4 slots"
call 0 serve --models-dir "$work"; has "a router, which starts a server for each model"
call 0 serve -fa off; has "0 % of the KV cache is compressed: only caches that flash attention reads are"; arguments -fa off
LLAMA_ARG_FLASH_ATTN=0 call 0 serve; has "0 % of the KV cache is compressed"
LLAMA_ARG_FLASH_ATTN=0 call 0 serve -fa auto; hasnt "compressed"; arguments -fa auto
call 0 serve -fa off --cache f16; hasnt "compressed"; has "tool=llama-server"
for options in "-ngl 0" "-ngl 1" "-ngl 2" "-ngl all" "--gpu-layers 0" "-nkvo" "--no_kv_offload" "-dev none" "-ctk f16"; do
    call 0 serve $options; hasnt "compressed"; arguments $options
done
LLAMA_ARG_NO_KV_OFFLOAD=1 call 0 serve; hasnt "compressed"
for options in "-ctk q8_0" "-ctv q8_0" "-ctk q8_0 --cache-type-v bf16"; do
    call 0 serve $options; has "0 % of the KV cache is compressed: only caches whose keys and values are both of type f16"; arguments $options
    call 0 serve $options --cache f16; hasnt "compressed"
done
touch "$work/plan.gguf"
call 0 serve -md draft.gguf; arguments -md draft.gguf
call 2 serve --models-dir "$work" --cache "tada:@$work/plan.gguf"; has "router"
call 2 serve --plans "$work/nowhere"; has "is not a folder"
call 2 serve --plans; has "needs a value, such as --plans plans"
call 2 serve --budget 2; has "percents"
call 0 serve --plans "$work" --budget 27%; arguments
mkdir "$work/slots"
call 0 serve --slot-save-path "$work/slots"; has "libtada-sessions.so was not found"; has "sessions=unset"
arguments --slot-save-path "$work/slots"
call 0 serve --cache f16 --slot-save-path "$work/nowhere"; hasnt "sessions.so"
cp "$(dirname "$binary")/libtada-sessions.so" "$work/app/lib/" || bad "there is no libtada-sessions.so"
call 0 serve --slot-save-path "$work/../$(basename "$work")/slots/"; has "sessions=$work/slots"; has "inherit=unset"
# The loader takes no path with blanks.
[[ $work == *[\ :]* ]] || has "preload=$work/app/lib/libtada-sessions.so"
mkdir "$work/a b"
cp -r "$work/app" "$work/a b/"
output=$("$work/a b/app/bin/tada" serve --slot-save-path "$work/slots" 2>&1)
has "preload=/proc/self/fd/"; has "sessions=$work/slots"; hasnt "not packed"
call 0 serve --slot-save-path "$work/slots" --models-dir "$work"; has "inherit=1"
call 0 serve --slot-save-path "$work/slots" --cache f16; has "sessions=$work/slots"; has "cache=unset"
call 0 serve; has "sessions=unset"; has "prompts=1"; hasnt "preload=unset"
call 0 serve --cache f16; has "sessions=unset"; has "prompts=unset"; has "preload=unset"
# Prompts that are kept in a folder, which is made for its owner alone.
call 0 serve; has "kept=unset,unset"
call 1 serve --prompt-cache "$work/kept"; has "Prompts cannot be stored: libtada-prompts.so was not found"; hasnt "tool="
# Without llama.cpp there is none; here it only has to be found.
cp "$(dirname "$binary")/libtada-prompts.so" "$work/app/lib/" 2> /dev/null || cp "$work/app/lib/libtada-sessions.so" "$work/app/lib/libtada-prompts.so"
call 0 serve --prompt-cache "$work/kept"; has "kept=$work/kept,8589934592"; arguments; hasnt "libtada-sessions.so"
[ "$(stat -c %a "$work/kept")" = 700 ] || bad "the folder of prompts has a wrong mode"
mkdir "$work/a,b"; call 0 serve --prompt-cache "$work/a,b/../kept,1.5G" -c 1024; has "kept=$work/kept,1610612736"; arguments -c 1024
call 0 serve --prompt-cache "$work/./kept,20M" --models-dir "$work"; has "kept=$work/kept,20971520"; has "inherit=1"
call 2 serve --prompt-cache "$work/kept,large"; has "--prompt-cache takes bytes, such as 8G, 1.5G or 800M, not 'large'."
call 2 serve --prompt-cache "$work/kept,"; has "takes bytes"
call 2 serve --prompt-cache "$work/kept,0"; has "takes bytes"
call 2 serve --prompt-cache ,8G; has "takes a folder, such as --prompt-cache prompts,8G."
call 2 serve --prompt-cache; has "needs a value, such as --prompt-cache prompts,8G"
call 1 serve --prompt-cache "$work/nowhere/kept"; has "cannot be made (No such file or directory): give another one with --prompt-cache."
call 1 serve --prompt-cache "$work/plan.gguf"; has "is no folder: give another one with --prompt-cache."
call 2 serve --cache f16 --prompt-cache "$work/none"; has "--prompt-cache is for caches of TaDA, and f16 is llama.cpp's own: leave one of the two out."
[ ! -e "$work/none" ] || bad "a folder of prompts is made in vain"
chmod go+w "$work/kept"
call 1 serve --prompt-cache "$work/kept"; has "Others can write to the folder $work/kept"; has "(chmod go-w)."
call 0 run --slot-save-path "$work/slots"; has "sessions=unset"

# The default model.
unset LLAMA_ARG_MODEL
for command in run "run --tool completion" "serve -np 2" "serve --cache f16" "serve -ngl 0"; do
    call 2 $command; has "tada ${command%% *}: No model is given: name a GGUF file with -m"; hasnt "tool="
done
call 2 serve; has "--models-dir"
for option in --version --list-devices -cl "-- --help"; do
    call 0 run $option; call 0 serve $option; has "tool=llama-server"
done
call 0 run --tool bench; has "tool=llama-bench"
call 0 rpc; has "tool=ggml-rpc-server"
call 0 serve --models-dir "$work"; has "a router"
model=$HOME/.cache/tada/smollm2-135m-instruct-q4_1.gguf
mkdir -p "$(dirname "$model")"
touch "$model"
call 0 run -p x; arguments -m "$model" -p x
XDG_CACHE_HOME=$work/nothing call 2 run; has "No model is given"
XDG_CACHE_HOME=relative call 0 run; arguments -m "$model"
for option in -m --model -hf --hf-repo -mu --models-dir; do
    call 0 serve $option y; arguments $option y
done
call 0 run --gpt-oss-20b-default; arguments --gpt-oss-20b-default
call 0 run --spec-default; arguments -m "$model" --spec-default
LLAMA_ARG_MODEL=y call 0 run; arguments

# Doctor: the stand-ins have no libraries, so there are problems to tell.
call 1 doctor; has "1.2.3 (stub)"; has "problem"; has "-> "; has "llama-server"; narrow
TADA_CACHE=rubbish call 1 doctor; has "Correct or unset TADA_CACHE"; narrow
TADA_KERNELS=nonsense call 1 doctor; has "TADA_KERNELS=nonsense"; narrow
TADA_LLAMA_BIN=$work/other call 1 doctor; has "llama-server is not in TADA_LLAMA_BIN"; narrow
TADA_PLUGIN=$'/none/"quoted"\\\n\xff.so' call 1 doctor --json; has '"ok": false'
checks=$((checks + 1))
python3 -c '
import json, sys
report = json.loads(sys.stdin.buffer.read().decode("utf-8"))
names = [check["name"] for check in report["checks"]]
wanted = "cpu kernels memory cache llama-cli llama-server plug-in llama.cpp".split()
assert set(wanted) <= set(names), names
for check in report["checks"]:
    assert check["status"] in ("ok", "warning", "problem"), check
    assert (check["status"] == "ok") == (check["fix"] is None), check
plugin = report["checks"][names.index("plug-in")]
assert "/none/\"quoted\"\\\n\ufffd.so" in plugin["fix"], plugin
' <<< "$output" || bad "the JSON of doctor is not what it should be"

# Doctor with libraries that fit and that do not, where there is a compiler.
compiler=$(command -v "${CC:-cc}" || true)
if [ -n "$compiler" ]; then
    library() { "$compiler" -shared -fPIC -x c -o "$1" - <<< "$2"; }
    library "$work/tools/libggml-base.so" 'const char *ggml_version(void) { return "9.9.9"; }
                                           const char *ggml_commit(void) { return "abc"; }'
    library "$work/tools/libggml.so" 'int unused_by_tada;'
    for built_for in "9.9.9 (abc):0" "9.9.9 (unknown):0" "9.9.9 (def):1" "9.9.8 (abc):1"; do
        library "$work/app/bin/libggml-tada.so" \
            "extern const char *ggml_version(void); const char *(*needs)(void) = ggml_version;
             const char *tada_plugin_built_for(void) { return \"ggml ${built_for%:*}\"; }"
        call "${built_for##*:}" doctor; has "ggml 9.9.9 (abc)"; has "ggml ${built_for%:*}"; narrow
        if [ "${built_for##*:}" -eq 0 ]; then
            has "the plug-in fits this llama.cpp"; hasnt "problem "
        else
            has "TADA_LLAMA_DIR"
        fi
    done
    # A server that would go on without compression is not started.
    library "$work/app/bin/libggml-tada.so" 'const char *tada_plugin_built_for(void) { return "ggml 9.9.8 (abc)"; }'
    call 1 rpc; has "the plug-in was built for ggml 9.9.8 (abc)"; hasnt "tool="
    library "$work/app/bin/libggml-tada.so" 'extern int not_there(void); int (*needs)(void) = not_there;'
    call 1 doctor; has "not_there"; has "does not load"

    # A llama.cpp that has a GPU; with a plug-in that it does not load.
    if "$tada" help eval > /dev/null 2>&1; then
        library "$work/tools/libggml.so" '
            #include <stddef.h>
            #define NOTHING(name) void *name(void) { return NULL; }
            NOTHING(ggml_backend_load) NOTHING(ggml_backend_load_all_from_path) NOTHING(ggml_backend_dev_by_type)
            NOTHING(ggml_backend_dev_buffer_type) NOTHING(ggml_backend_alloc_ctx_tensors_from_buft)
            NOTHING(ggml_backend_buffer_name) NOTHING(ggml_backend_buffer_free) NOTHING(ggml_init) NOTHING(ggml_free)
            NOTHING(ggml_tensor_overhead) NOTHING(ggml_new_tensor_3d) NOTHING(ggml_set_name) NOTHING(ggml_log_set)
            NOTHING(ggml_backend_reg_get_proc_address)
            size_t ggml_backend_dev_count(void) { return 3; }
            void *ggml_backend_dev_get(size_t i) { static char devices[3]; return devices + i; }
            static size_t number(void *device) { return (char *)device - (char *)ggml_backend_dev_get(0); }
            int ggml_backend_dev_type(void *device) { return (int)number(device); } /* CPU, GPU, integrated GPU */
            const char *ggml_backend_dev_name(void *device) { return number(device) == 1 ? "CUDA0" : "Vulkan0"; }'
        library "$work/app/bin/libggml-tada.so" 'const char *tada_plugin_built_for(void) { return "ggml 9.9.9 (abc)"; }'
        uncompressed="layers that llama.cpp puts on CUDA0, Vulkan0 keep an uncompressed cache there; -nkvo keeps it in RAM"
        call 0 serve -c 1024; has "$uncompressed"; has "tool=llama-server"
        call 0 serve -c 1024 -nkvo; hasnt "uncompressed"
        LLAMA_ARG_NO_KV_OFFLOAD=1 call 0 serve -c 1024; hasnt "uncompressed"
        call 0 serve -c 1024 --cache q8_0; hasnt "uncompressed"
        call 1 doctor; has "CUDA0, Vulkan0: layers that llama.cpp puts there keep an uncompressed cache"
        has "a cache is not compressed"; has "libggml-tada.so does not load"; narrow
    fi
fi

echo "$checks checks, $failures failures"
[ "$failures" -eq 0 ]
