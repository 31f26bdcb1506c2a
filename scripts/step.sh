#!/usr/bin/env bash
# Runs a command as one step of make: one line with its name and, at its end, its time. What it prints goes to LOG, whose
# last lines are shown when it fails. Meanwhile a terminal shows the per cent that it tells, a pipe a line every half minute.
#   step.sh LOG NAME COMMAND...
set -uo pipefail
log=$1 name=$2
shift 2
mkdir -p "$(dirname "$log")"
log=$(realpath "$log")
printf '==> %s\n' "$name" >> "$log"
begin=$(($(wc -c < "$log") + 1))

# A group of its own, so that all of it can be ended.
set -m
"$@" >> "$log" 2>&1 < /dev/null &
pid=$!
trap 'kill -- "-$pid" 2> /dev/null; wait "$pid" 2> /dev/null; echo; exit 130' INT TERM HUP
# make says [ 42%], ninja [12/300]. The most that was told counts: what is built side by side tells it out of order.
percent() {
    tail -c "+$begin" "$log" | sed -nE 's/^\[ *([0-9]+)%\].*/\1 100/p; s/^\[([0-9]+)\/([0-9]+)\].*/\1 \2/p' |
        awk '100 * $1 / $2 > most { most = 100 * $1 / $2 } END { if (NR) printf "%3d %%  ", most }'
}
clock() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }
shown=0
while kill -0 "$pid" 2> /dev/null; do
    if [ -t 1 ]; then
        printf '\r%-44s %s%s\e[K' "$name" "$(percent)" "$(clock)"
    elif [ $((SECONDS - shown)) -ge 30 ]; then
        shown=$SECONDS
        printf '%-44s %s%s\n' "$name" "$(percent)" "$(clock)"
    fi
    sleep 0.2
done
status=0
wait "$pid" || status=$?
[ ! -t 1 ] || printf '\r\e[K'
if [ "$status" -ne 0 ]; then
    printf '%-44s failed after %s\n\n' "$name" "$(clock)"
    tail -c "+$begin" "$log" | tail -n 20
    printf '\nThe full log is %s\n' "$log"
    exit "$status"
fi
printf '%-44s done in %s\n' "$name" "$(clock)"
