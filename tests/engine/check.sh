# What the scripts of this folder share. They source it first, and are given the folder with the tools: sets $bin to
# that folder, $here to this one, and $work to one that is removed at the end; counts in $failures.
set -uo pipefail
bin=$(cd "$1" && pwd)
# shellcheck disable=SC2034 # the scripts use it
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset TADA_CACHE TADA_PLUGIN TADA_PLANS TADA_LOG TADA_METRICS XDG_DATA_HOME GGML_BACKEND_PATH
failures=0
# Seconds, for what hangs: no machine is so loaded that what goes on needs them.
patience=7200

needs() { # PROGRAM of the tests
    [ -x "$bin/../tests/$1" ] && return
    echo "skipped: there is no $1, as llama.cpp's libraries were not there when this was built"
    exit 77
}

check() { # NAME CONDITION...
    local name=$1
    shift
    if "$@"; then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        tail -n 5 "$work/out" "$work/err" 2> /dev/null
        failures=$((failures + 1))
    fi
}

tada() { # ARGS...
    status=0
    timeout "$patience" "$bin/tada" "$@" > "$work/out" 2> "$work/err" || status=$?
}

# Sends a command of tada SIGINT when what it says on a terminal, such as its progress line, has WORDS.
interrupt() { # WORDS COMMAND...
    status=0
    timeout "$patience" python3 - "$1" "$bin/tada" "${@:2}" > "$work/out" 2> "$work/err" << 'PYTHON' || status=$?
import os, pty, signal, subprocess, sys
ours, theirs = pty.openpty()
child = subprocess.Popen(sys.argv[2:], stderr=theirs)
os.close(theirs)
seen, sent = b"", False
while True:
    try:
        seen += os.read(ours, 4096)
    except OSError: # it has ended
        break
    if sys.argv[1].encode() in seen and not sent:
        child.send_signal(signal.SIGINT)
        sent = True
sys.stderr.buffer.write(seen)
sys.exit(child.wait())
PYTHON
}

# Words that may be on two lines.
says() { # FILE WORDS
    tr -s ' \n' ' ' < "$1" | grep -qF -e "$2"
}

refused() { # WORDS: the last command ended with a usage error that says so, and wrote nothing
    [ "$status" -eq 2 ] && grep -qF -e "$1" "$work/err" && [ ! -s "$work/out" ]
}
# The MiB of a KV cache in the log of the last run, by the name of its buffer; and whether a is well below b.
buffer() { grep -aoE "$1 KV buffer size = +[0-9.]+" "$work/err" | tail -n 1 | grep -oE '[0-9.]+$'; }
smaller() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0 && a < 0.8 * b) }'; }
