#!/usr/bin/env bash
# Options of all commands: what they take, what they refuse and how, help, completion.   options.sh TADA_BINARY
set -uo pipefail
if [ $# -ne 1 ] || [ ! -x "$1" ]; then
    echo "usage: options.sh TADA_BINARY" >&2
    exit 2
fi
binary=$(readlink -f "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset TADA_CACHE TADA_PLUGIN TADA_LLAMA_BIN TADA_LLAMA_LIB TADA_PLANS GGML_BACKEND_PATH XDG_CACHE_HOME XDG_DATA_HOME
unset "${!LLAMA_ARG_@}"
export HOME=$work/home
# A copy in a folder of its own: beside the real one are real servers.
mkdir -p "$HOME" "$work/tools" "$work/app"
cp "$binary" "$work/app/tada"
tada=$work/app/tada
printf '#!/bin/sh\necho "tool=$(basename "$0") $*"\n' > "$work/tools/ggml-rpc-server"
chmod +x "$work/tools/ggml-rpc-server"
cp "$work/tools/ggml-rpc-server" "$work/tools/llama-server"

checks=0 failures=0 output="" within=()
bad() {
    echo "FAIL line ${BASH_LINENO[1]}: $1"
    printf '%s\n' "$output" | sed 's/^/    /'
    failures=$((failures + 1))
}
# call STATUS ARGS...: runs tada, keeps both streams in $output
call() {
    local expected=$1 status
    shift
    checks=$((checks + 1))
    output=$("${within[@]}" "$tada" "$@" 2>&1)
    status=$?
    [ "$status" -eq "$expected" ] || bad "'tada $*' exits with $status, not $expected"
}
has() { checks=$((checks + 1)); grep -qF -e "$1" <<< "$output" || bad "no '$1' in the output"; }
hasnt() { checks=$((checks + 1)); ! grep -qF -e "$1" <<< "$output" || bad "'$1' in the output"; }

commands=$("$tada" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | grep -v help)
measuring=$(grep -xE 'calibrate|eval|verdict|bench|size' <<< "$commands" || true)

# Help: within 80 columns, by both ways the same, every option with its name.
call 0 --help
for command in "" $commands; do
    for way in "help $command" "$command --help"; do
        call 0 $way
        checks=$((checks + 1))
        widest=$(awk '{ if (length > n) n = length } END { print n + 0 }' <<< "$output")
        [ "$widest" -le 80 ] || bad "the help of '$command' has a line of $widest columns"
    done
done

# What is not known: the nearest, by the name of the command.
while read -r wrong right; do
    command=${wrong%%:*}
    grep -qx "$command" <<< "$commands" || continue
    call 2 "$command" "${wrong#*:}" 1; has "tada $command: unknown option ${wrong#*:}; did you mean $right?"
done << 'LIST'
eval:--chunk --chunks
eval:--chunsk --chunks
eval:-chunks --chunks
eval:--Seed --seed
eval:--thread --threads
bench:--repaet --repeat
bench:--prefil --prefill
size:--mem --memory
size:--paralell --parallel
calibrate:--buget --budget
calibrate:--max-kl --max-kld
inspect:--htm --html
pack:--out --output
unpack:--jsn --json
doctor:--jason --json
LIST
call 2 doctor --zzzzzzzz; has "tada doctor: unknown option --zzzzzzzz."; hasnt "mean"
call 2 unpack x -t4; has "tada unpack: unknown option -t4."
call 2 pack x -t4; has "did you mean -t?"
call 2 dotcor; has "did you mean 'doctor'"
call 2 doctor --json=yes; has "tada doctor: --json takes no value"

# What is empty, as of a variable that is not set, and values that are given in another way.
call 2 pack ""; has "tada pack: Give one file."
call 2 pack x -o ""; has "tada pack: -o needs a value, not ''."
call 2 pack x --output=; has "tada pack: --output needs a value, not ''."
call 2 pack x -o=y; has "tada pack: write -o and its value apart"
call 2 run --tool ""; has "tada run: --tool needs a value"
call 2 rpc --host ""; has "tada rpc: --host needs a value"; hasnt "tool="
call 2 serve --plans ""; has "tada serve: --plans needs a value"; hasnt "tool="
for command in $measuring; do
    call 2 "$command" -m ""; has "tada $command: -m needs a value, not ''."
    call 2 "$command" -m=x; has "tada $command: write -m and its value apart"
    call 2 "$command" -m x --json=; has "tada $command: "
done

for command in $measuring; do
    # -t4 is not -t 4, as -ctk is not -c tk.
    call 2 "$command" -t4; has "tada $command: unknown option -t4; did you mean -t 4?"
    # Those of llama.cpp: taken, or told what to do instead.
    for option in -ngl -fa -ctk -ctv -hf -nkvo -dev -tb --flash-attn --cache-type-k --n-gpu-layers --hf-repo --cache_type_v; do
        if [ "$command" = size ] && grep -qxE -e '-ngl|-nkvo|--n-gpu-layers' <<< "$option"; then
            continue # where the layers are decides what is compressed
        fi
        call 2 "$command" $option 1; has "tada $command: $option is not an option here: "; hasnt "usage:"; hasnt "unknown"
    done
    for option in -np -ub -b -kvu -no-kvu -t -c -m -f -d -n -p -r -o -s; do
        call 2 "$command" $option; hasnt "unknown"; has "tada $command: "
        checks=$((checks + 1))
        grep -qE -e "$option (is not an option here: .|needs a value)|No model is given" <<< "$output" || bad "$option of '$command' is not known"
    done
    call 2 "$command" --threads 0; has "tada $command: --threads takes a whole number"
    # Numbers are digits.
    for value in 0x4 4e0 " 4" +4 "4 " 4. ٤ 1,000 ""; do
        call 2 "$command" -t "$value"; has "-t takes a whole number from 1 to 512, not '$value'"
    done
    call 2 "$command" --ctx_size 1x
    call 2 "$command" extra; has "'extra' is not expected"
    call 2 "$command" -- --threads; has "'--threads' is not expected"
done

if grep -qx size <<< "$commands"; then
    call 2 size -np 4 -kvu -ub 64 -b 2048; has "tada size: -b is not an option here: "
    call 2 size -np 4 -no-kvu -ub 64; has "No model is given"
    call 2 size --parallel=4 --kv-unified --ubatch-size=64; has "No model is given"
    for bytes in 1e3 0x10 +8G " 8G" 8,5G 8GG .5G 0; do
        call 2 size --memory "$bytes"; has "--memory takes bytes, such as 8G, 1.5G or 800M, not '$bytes'"
    done
    call 2 size --memory 1.5G; has "No model is given"
    call 2 bench -d 0,128 -n 8 -p 64 -r 2 -t 1; has "No model is given"
    call 2 bench -d 0x10; has "-d takes whole numbers"
    call 2 bench --n-depth 0 --n-gen 1 --n-prompt 1 --repetitions 1; has "No model is given"
    call 2 eval -c 1000; has "use 1024"
    call 2 eval -ub 1x; has "-ub takes a whole number"
    call 2 calibrate --budget 2e1; has "takes percents"
    call 2 calibrate --budget 25,5; has "takes percents"
    call 2 calibrate --budget 25.5%; has "No model is given"
    call 2 calibrate --max-kld 3e-3; has "takes a number of nats"
    call 2 calibrate --max-kld 0.003; has "No model is given"
    call 2 calibrate -c 768; has "from 1024"
    call 2 calibrate -c 1100; has "use 1280"
    call 0 calibrate --help; has "a multiple of 256 from"
    call 2 calibrate --method gptq; has "--method takes tada or paper, not 'gptq'"
    call 2 eval --weights q8_0; has "--weights takes only f16, not 'q8_0'"
    call 2 eval --cache; has "--cache needs a value"
    # Cache specs: the nearest.
    while read -r wrong right; do
        for command in "eval --cache" "bench --cache q4_0," "size --cache"; do
            set -- $command
            call 2 "$1" "$2" "${3-}$wrong"; has "tada $1: "; has " Did you mean $right?"
        done
        call 2 run --cache "$wrong"; has "tada run: "; has " Did you mean $right?"
        TADA_CACHE=$wrong call 2 serve; has "TADA_CACHE: "; has " Did you mean $right?"
    done << 'LIST'
tadda tada
TADA tada
Tada:High tada:high
tada:hihg tada:high
q8 q8_0
q8_0/q4 q8_0/q4_0
Q8_0 q8_0
kiwi:2 kivi:2
tadda:window=64 tada:window=64
TADA:4/3 tada:4/3
LIST
    for wrong in nonsense tada:99 tada:@ "" tada:4/33; do
        call 2 eval --cache "$wrong"; hasnt "Did you mean"
    done
fi

# Before a server is started: what it would die of.
touch "$work/libggml-tada.so"
export PATH=$work/tools:$PATH TADA_PLUGIN=$work/libggml-tada.so
for value in abc 0 -1 0x10 99999999 ""; do
    call 2 rpc -t "$value"; has "tada rpc: --threads takes a whole number"; hasnt "tool="
    call 2 rpc -p "$value"; has "tada rpc: --port takes a whole number"; hasnt "tool="
done
call 2 rpc -p; has "-p needs a value, such as --port 50052"; hasnt "tool="
call 0 rpc -H 127.0.0.1 -p 7 -t 2; has "tool=ggml-rpc-server -d CPU -H 127.0.0.1 -p 7 -t 2"

# A locale with a decimal comma changes nothing.
german=(env "LOCPATH=$work" LC_ALL=de_DE.UTF-8)
if localedef -i de_DE -f UTF-8 "$work/de_DE.UTF-8" 2> "$work/log" && [ "$("${german[@]}" locale decimal_point)" = , ]; then
    within=("${german[@]}")
    call 0 rpc --cache tada:3.5/3; has "tool="
    call 2 rpc --cache tada:3,5/3
    if grep -qx size <<< "$commands"; then
        call 2 size --memory 1.5G; has "No model is given"
        call 2 size --memory 1,5G; has "takes bytes"
    fi
    within=()
else
    echo "no locale with a decimal comma: not tried"
fi

# Completion: of each shell that is here, as the shell does it.
for shell in bash zsh fish; do
    call 0 --completion $shell; has "doctor"
    "$tada" --completion $shell > "$work/completion.$shell"
    ! command -v $shell > "$work/log" || $shell -n "$work/completion.$shell" || bad "the completion for $shell is no script"
done
call 2 --completion csh; has "bash, zsh and fish"
# complete LINE: what bash proposes at the end of the line
complete_line() {
    checks=$((checks + 1))
    output=$(cd "$work/tools" && bash --norc -c '
        compopt() { :; }
        source "$1"
        COMP_LINE=$2 COMP_POINT=${#2}
        _tada
        printf "%s\n" "${COMPREPLY[@]}"' bash "$work/completion.bash" "$1" 2>&1)
}
complete_line "tada "; has "serve"; has "--version"
complete_line "tada ser"; has "serve"; hasnt "rpc"
complete_line "tada help p"; has "pack"
complete_line "tada pack --"; has "--output"; hasnt "--threads"
complete_line "tada pack ggml"; has "ggml-rpc-server"
complete_line "tada run --cache tada:h"; has "high"; hasnt "tada:high"; hasnt "compact"
complete_line "tada run --cache q"; has "q8_0"; hasnt "kivi"
complete_line "tada run --cache=q"; has "q8_0"
complete_line "tada run --cache tada:@ggml"; has "ggml-rpc-server"
complete_line "tada doctor --j"; has "--json"
if grep -qx eval <<< "$commands"; then
    complete_line "tada eval --ch"; has "--chunks"; hasnt "--cache"
    complete_line "tada eval -m ggml"; has "ggml-rpc-server"
    complete_line "tada eval --cache q8_0,ta"; has "q8_0,tada"
    complete_line "tada eval --weights "; has "f16"
    complete_line "tada calibrate --method p"; has "paper"
    complete_line "tada eval --no"; hasnt "--"
fi
if command -v fish > "$work/log"; then
    output=$(HOME=$work fish -N -c 'source $argv[1]; complete -C "tada doctor --j"; complete -C "tada rp"' "$work/completion.fish" 2>&1)
    has "--json"; has "rpc"
fi
# Every spec that is proposed exists, and those of the help are among them.
proposed=$(sed -n "s/^    local caches='\\(.*\\)'/\\1/p" "$work/completion.bash")
for spec in $proposed; do
    output=$("$tada" rpc --cache "$spec" 2>&1); hasnt "Unknown cache spec"
done
output=$(tr ' ' '\n' <<< "$proposed")
for spec in $("$tada" help run | grep -oE '\b(tada|kivi):[a-z0-9]+(\.[0-9]+)?' | grep -vE '^tada:([0-9]|window)' | sort -u); do
    has "$spec"
done
# No option that the help has is missing, in any shell.
for command in $commands; do
    for option in $("$tada" help "$command" | sed -nE 's/^  (-[^ ]*(, -[^ ]+)*).*/\1/p' | tr -d ','); do
        [ "$option" != -- ] || continue
        complete_line "tada $command $option"; has "$option"
        output=$(cat "$work/completion.zsh"); has "$option"
        output=$(grep "from $command'" "$work/completion.fish"); name=${option#-}; has " ${name#-} "
    done
done

echo "$checks checks, $failures failures"
[ "$failures" -eq 0 ]
