# What the scripts of this folder share; they source it. Expects $work, and $bin for `tada`; counts in $failures.
failures=0
# Seconds, for what hangs: no machine is so loaded that what goes on needs them.
patience=7200

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

refused() { # WORDS: the last command ended with a usage error that says so, and wrote nothing
    [ "$status" -eq 2 ] && grep -qF -e "$1" "$work/err" && [ ! -s "$work/out" ]
}
