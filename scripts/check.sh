#!/usr/bin/env bash
# The tests that tell whether TaDA works here: a line a test, then one that sums up.   check.sh BUILD_DIR [CTEST_ARGUMENT...]
set -uo pipefail
build=$1 log=$1/check.log
shift
[ $# -gt 0 ] || set -- -L '^(quick|engine)$'

# What ctest says, line by line, as it comes: awk would wait for more of it.
show() {
    local line ok=0 skipped=0 failed=0 showing=0 result sum
    while IFS= read -r line; do
        # "3/60 Test #12: unit_codec ...   Passed    0.31 sec"
        if [[ $line =~ ^\ *([0-9]+)/([0-9]+)\ Test\ +\#[0-9]+:\ ([^ ]+)\ .*\ ([0-9.]+)\ sec ]]; then
            local number=${BASH_REMATCH[1]} total=${BASH_REMATCH[2]} name=${BASH_REMATCH[3]} seconds=${BASH_REMATCH[4]}
            case $line in
                *'***Skipped'*) result=skipped skipped=$((skipped + 1)) ;;
                *' Passed '*) result=ok ok=$((ok + 1)) ;;
                *) result=FAILED failed=$((failed + 1)) showing=40 ;;
            esac
            LC_ALL=C printf '%*d/%d  %-40s %-8s %6.1f s\n' ${#total} "$number" "$total" "$name" "$result" "$seconds"
        elif [[ ! $line =~ ^\ *Start\ +[0-9]+:\  ]] && [ $((showing--)) -gt 0 ]; then
            printf '    %s\n' "$line"
        fi
    done
    sum="$ok tests passed"
    [ $skipped -eq 0 ] || sum+=", $skipped skipped (why: $log)"
    [ $failed -eq 0 ] || sum+=", $failed FAILED (all they said: $log)"
    [ $failed -gt 0 ] || [ $ok -eq 0 ] || sum+=": TaDA works here."
    echo "$sum"
}

ctest --test-dir "$build" "$@" --output-on-failure --no-tests=error --parallel "$(nproc)" 2>&1 | tee "$log" | show
exit "${PIPESTATUS[0]}"
