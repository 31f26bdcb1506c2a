#!/usr/bin/env bash
# A model split over two RPC servers, each of which keeps its part of the cache compressed: two hosts (network
# namespaces) where this user may make them, else two ports.  test_rpc.sh BIN_DIR
set -uo pipefail
bin=$(cd "$1" && pwd)
tools=${TADA_LLAMA_BIN:-$bin}
here=$(cd "$(dirname "$0")" && pwd)
operations=${TADA_GGML_H:-$bin/../llama.cpp/ggml/include/ggml.h} # for their numbers
if [ ! -x "$tools/ggml-rpc-server" ]; then
    echo "skipped: this llama.cpp was built without its RPC server (scripts/get_llama.sh builds it)"
    exit 77
fi
# A network of our own, where nobody else listens.
if [ -z "${TADA_TEST_NETWORK:-}" ]; then
    model=$("$here/../../scripts/get_f16_model.sh" "$bin") || exit 1
    export model TADA_TEST_NETWORK=ports
    hosts='ip link set lo up && ip link add tada1 type veth peer name far1 && ip link del tada1 && unshare -n true'
    if unshare --user --map-root-user --net bash -c "$hosts" 2> /dev/null; then
        TADA_TEST_NETWORK=hosts exec unshare --user --map-root-user --net bash "$0" "$@"
    fi
fi
echo "two $TADA_TEST_NETWORK"
. "$here/check.sh"
pids=()
finish() {
    kill "${pids[@]}" 2> /dev/null
    wait
    rm -rf "$work"
}
trap finish EXIT
unset TADA_CACHE TADA_PLUGIN TADA_RPC GGML_BACKEND_PATH
export GGML_NO_BACKTRACE=1
cd "$work" || exit 1

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# The address of host 1 or 2, and what runs a command there.
declare -a address on
for i in 1 2; do
    if [ "$TADA_TEST_NETWORK" = hosts ]; then
        [ "$i" = 1 ] && ip link set lo up
        mine=$(readlink /proc/self/ns/net)
        unshare --net sleep infinity &
        host=$!
        pids+=("$host")
        while [ "$(readlink "/proc/$host/ns/net")" = "$mine" ]; do sleep 0.05; done
        ip link add "tada$i" type veth peer name "far$i"
        ip link set "far$i" netns "$host"
        nsenter --target "$host" --net ip addr add "10.77.$i.2/24" dev "far$i"
        nsenter --target "$host" --net ip link set "far$i" up
        ip addr add "10.77.$i.1/24" dev "tada$i"
        ip link set "tada$i" up
        address[i]=10.77.$i.2
        on[i]="nsenter --target $host --net"
    else
        address[i]=127.0.0.1
        on[i]=
    fi
done

declare -a server port
start() { # I COMMAND...: a server on host I
    local i=$1
    shift
    port[i]=$([ "$TADA_TEST_NETWORK" = hosts ] && echo 50052 || free_port)
    # shellcheck disable=SC2086
    ${on[i]} "$@" -H "${address[i]}" -p "${port[i]}" -t 1 > "server$i" 2>&1 &
    server[i]=$!
    pids+=("${server[i]}")
    # Until it listens, or has ended.
    while kill -0 "${server[i]}" 2> /dev/null; do
        python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)' \
            "${address[i]}" "${port[i]}" 2> /dev/null && return
        sleep 0.1
    done
}
stop() {
    for i in 1 2; do
        kill "${server[i]}" 2> /dev/null
        wait "${server[i]}" 2> /dev/null
    done
}
both() { echo "${address[1]}:${port[1]},${address[2]}:${port[2]}"; }
alive() { kill -0 "${server[1]}" 2> /dev/null && kill -0 "${server[2]}" 2> /dev/null; }
logs() { grep -aqE "$1" server1 && grep -aqE "$1" server2; }
peak() { awk '/^VmHWM/ { print $2 }' "/proc/${server[$1]}/status"; }

story=$(for day in 1 2 3 4 5 6 7 8 9 10; do
    printf 'On day %d the keeper of the lighthouse wrote the weather and the name of every ship into his book. ' "$day"
done)
spec=tada:4/3:window=64
n=24
complete() { # ARGS...: a text, greedily
    status=0
    timeout "$patience" "$bin/tada" "$@" -m "$model" -p "$story" -n "$n" -no-cnv -st --temp 0 -c 1024 -t 2 < /dev/null > out 2> err ||
        status=$?
}

# Wrong usage, and a plug-in for another llama.cpp.
"$bin/tada" rpc --cache q8_0 > out 2> err
check "a type of llama.cpp is refused" test $? -eq 2
"$bin/tada" rpc --cache quux > out 2> err
check "an unknown spec, too" test $? -eq 2
for number in abc 0 99999999; do
    timeout "$patience" "$bin/tada" rpc -p "$number" > out 2> err
    check "port $number: the server does not start" test $? -eq 2
    check "... and one line says why" bash -c "grep -q 'takes a whole number from 1 to 65535' err && [ ! -s out ]"
done
TADA_PLUGIN=$bin/../tests/libggml-tada-other.so timeout "$patience" "$bin/tada" rpc -p "$(free_port)" > out 2> err
check "a plug-in for another llama.cpp does not start" test $? -eq 1
check "... and says why" grep -q "the plug-in was built for ggml 0.0.1" err

# The same text as on one host.
complete run --cache "$spec"
cp out one
start 1 "$bin/tada" rpc --cache "$spec"
start 2 "$bin/tada" rpc --cache "$spec"
complete run --cache f16 -- --rpc "$(both)"
check "a model split over two servers" test "$status" -eq 0
check "... writes what it writes on one host" cmp out one
check "... compressed where each part lives" logs 'planes compressed in [0-9.]+ MiB instead of [0-9.]+ MiB \([1-5]'
check "... layers 0 to 15 and 16 to 29" bash -c "grep -q 'layers 0 to 15: 32 planes' server1 && grep -q 'layers 16 to 29: 28' server2"
complete run --cache "$spec" -- --rpc "$(both)" --tensor-split 1,1,2
check "... and part of it at the client, compressed there, too" bash -c "[ $status -eq 0 ] && cmp out one"

# Everything that llama.cpp does to a cache, with so many bits that a mistake shows.
stop
start 1 "$bin/tada" rpc --cache tada:8:window=64
for shape in window-64 mla; do
    timeout "$patience" "$bin/../tests/engine_operations" "$(dirname "$(readlink -f "$tools/ggml-rpc-server")")" \
        "rpc:${address[1]}:${port[1]}" tada:8:window=64 0.025 "$shape" > out 2> err
    check "all operations on a cache: $shape" test $? -eq 0
done
kill "${server[1]}"
wait "${server[1]}" 2> /dev/null
start 1 "$bin/tada" rpc --cache "$spec"
start 2 "$bin/tada" rpc --cache "$spec"

# What is not compressed is right nevertheless, and the log says why.
n=4
complete run --cache f16 -- --rpc "$(both)" -fa off
check "without flash attention" bash -c "[ $status -eq 0 ] && grep -q 'keeper' out"
check "... the cache stays as it is, and the log says so" logs "TADA: the KV cache stays in f16: this model is computed without flash attention"
complete run --cache q8_0 -- --rpc "$(both)"
check "a cache of type q8_0" bash -c "[ $status -eq 0 ] && grep -q 'keeper' out"
check "... stays as it is" logs "stay as they are: caches are compressed where both K and V have the type f16"

# llama-server: a slot saved; killed while it works; the slot restored by a new one that has computed nothing yet.
web=$(free_port)
serve() {
    "$bin/tada" serve --cache f16 -- --rpc "$(both)" -m "$model" -c 2048 -np 1 -t 1 --port "$web" --slot-save-path "$work/" \
        --no-warmup > serve.log 2>&1 &
    client=$!
    pids+=("$client")
    while kill -0 "$client" 2> /dev/null; do
        call /health > /dev/null 2>&1 && return
        sleep 0.2
    done
}
call() { # PATH [JSON]
    python3 -c 'import sys, urllib.request
body = sys.argv[2].encode() if len(sys.argv) > 2 else None
print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})).read().decode())' \
        "http://127.0.0.1:$web$1" "${@:2}"
}
question() { # N FILE
    call /completion "{\"prompt\": \"$story\", \"n_predict\": $1, \"temperature\": 0, \"id_slot\": 0, \"cache_prompt\": true}" > "$2"
}
serve
question 1 first
call "/slots/0?action=save" '{"filename": "slot"}' > saved
question 24 before
question 1000 never 2> /dev/null &
sleep 1
kill -9 "$client"
wait "$client" 2> /dev/null
serve
check "servers survive a client that is killed" alive
call "/slots/0?action=restore" '{"filename": "slot"}' > restored
question 24 after
check "a slot comes back in a new client: the same text, the prompt not computed again" python3 -c '
import json
saved, restored, before, after = (json.load(open(f)) for f in ("saved", "restored", "before", "after"))
assert saved["n_saved"] == restored["n_restored"] > 200, (saved, restored)
assert after["content"] == before["content"], (before["content"], after["content"])
assert after["timings"]["prompt_n"] < 64, after["timings"]'
kill "$client"
wait "$client" 2> /dev/null

# Requests that no llama.cpp makes.
odd() { timeout "$patience" python3 "$here/rpc_client.py" "${address[1]}" "${port[1]}" "$operations" "$@" > out 2> err; }
odd
check "writes beyond a cache change nothing else" test $? -eq 0
check "... and the log names them" test "$(grep -c "TADA: rows of cache_._l0 .* lie beyond it" server1)" -ge 4
check "... the server goes on" alive
for what in rows result mask view; do
    kill "${server[1]}" 2> /dev/null
    wait "${server[1]}" 2> /dev/null
    start 1 "$bin/tada" rpc --cache "$spec"
    odd "$what"
    kill "${server[1]}" 2> /dev/null
    wait "${server[1]}" 2> /dev/null
    check "an operation that reaches beyond its tensors is not run: $what" grep -q "TADA: .* reaches beyond its tensors" server1
done
stop

# Plans: for this model and for another one.
mkdir good other
"$bin/../tests/make_plan" good 3 128 0 > out 2> err
"$bin/../tests/make_plan" other 3 128 1234 > out 2> err
start 1 "$bin/tada" rpc --cache tada:@good/good.plan
start 2 "$bin/tada" rpc --cache tada:@other/good.plan
for i in 1 2; do
    timeout "$patience" "$tools/llama-bench" -m good/model.gguf -r 1 --no-warmup -fa 1 -t 1 -p 256 -n 0 -ngl 99 --rpc "${address[i]}:${port[i]}" > out 2> err
    check "a server with plan $i" test $? -eq 0
done
check "... follows one for this model" grep -q "layers 0 to 2: 6 planes compressed" server1
check "... and does with one for another what is left" grep -q "the plan is for another model: this one has the cache 'tada'" server2
check "... compressed nevertheless" grep -q "layers 0 to 2: 6 planes compressed" server2
stop

# Memory: the peak of each server, with a cache that is full.
"$bin/../tests/make_model" wide.gguf 32 0
cells=8192
fill() {
    timeout "$patience" env -u GGML_BACKEND_PATH "$tools/llama-bench" -m wide.gguf -r 1 --no-warmup -fa 1 -t 1 -p "$cells" -n 0 -b 128 -ub 128 -ngl 99 \
        --rpc "$(both)" > out 2> err
}
start 1 "$tools/ggml-rpc-server"
start 2 "$tools/ggml-rpc-server"
fill
check "servers without the plug-in" test $? -eq 0
# shellcheck disable=SC2034 # read by name
plain1=$(peak 1) plain2=$(peak 2)
stop
start 1 "$bin/tada" rpc --cache "$spec"
start 2 "$bin/tada" rpc --cache "$spec"
fill
check "servers with it" test $? -eq 0
for i in 1 2; do
    plain=plain$i
    kib=$(sed -n 's/.*instead of \([0-9]*\).*/\1/p' "server$i" | tail -n 1)000
    saved=$((${!plain} - $(peak "$i")))
    check "server $i needs less by more than half of the f16 cache ($saved of $kib kB)" test $((saved * 2)) -gt "$kib"
done
stop
exit $((failures > 0))
