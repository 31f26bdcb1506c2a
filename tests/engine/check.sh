# What the scripts of this folder share; they source it. Expects $work and counts in $failures.
failures=0

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
