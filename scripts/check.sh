#!/usr/bin/env bash
# The tests that tell whether TaDA works here: a line a test, then one that sums up.   check.sh BUILD_DIR [CTEST_ARGUMENT...]
set -uo pipefail
build=$1 log=$1/check.log
shift
[ $# -gt 0 ] || set -- -L '^(quick|engine)$'
ctest --test-dir "$build" "$@" --output-on-failure --no-tests=error --parallel "$(nproc)" 2>&1 | tee "$log" |
    awk -v log_file="$log" '
        # "3/60 Test #12: unit_codec ...   Passed    0.31 sec"
        /^ *[0-9]+\/[0-9]+ Test +#/ {
            split($1, count, "/"); total = count[2]
            result = /\*\*\*Skipped/ ? "skipped" : /  +Passed +/ ? "ok" : "FAILED"
            n[result]++
            printf "%*d/%d  %-40s %-8s %6.1f s\n", length(total), count[1], total, $4, result, $(NF - 1)
            fflush()
            if (result == "FAILED") showing = 40
            next
        }
        /^ *Start +[0-9]+: / { next }
        showing-- > 0 { print "    " $0; fflush() }
        END {
            printf "%d tests passed", n["ok"]
            if (n["skipped"]) printf ", %d skipped (why: %s)", n["skipped"], log_file
            if (n["FAILED"]) printf ", %d FAILED (all they said: %s)", n["FAILED"], log_file
            print n["FAILED"] || !n["ok"] ? "" : ": TaDA works here."
        }'
exit "${PIPESTATUS[0]}"
