"""Runs bench_attention on small sizes: it must print sound JSON and exact results. Says nothing about time.

smoke.py BENCH_ATTENTION
"""
import json
import math
import subprocess
import sys

COMMON = ["--cells", "700", "--heads-kv", "2", "--repeat", "2", "--layers", "2", "--flush", "8", "--json"]
CASES = [
    (["--dim", "64,128", "--group", "1,4"], 4),
    (["--dim", "64", "--group", "3", "--queries", "40", "--threads", "2"], 1),
    (["--dim", "64", "--group", "4", "--outlier", "30"], 1),
    (["--dim", "96", "--view", "64", "--group", "2,16"], 2),
    (["--dim", "128", "--group", "1", "--spec", "tada:8:window=64", "--flush", "0"], 1),
]
BOUND = 0.002


def check(result, bandwidth, view):
    for side in ("tada", "ggml"):
        numbers = result[side]
        assert all(math.isfinite(x) and x >= 0 for x in numbers.values()), numbers
        assert 0 < numbers["ns_min"] <= numbers["ns_median"] <= numbers["ns_max"], numbers
        assert (numbers["ns_limit"] > 0) == bandwidth, numbers
    assert result["ggml"]["bytes"] == (2 if view else 4) * result["dim"], result
    assert result["tada"]["bytes"] < result["ggml"]["bytes"], result
    assert 0 < result["hot_tiles"] < 1, result
    assert 0 < result["on_cpu"] < 1.5, result
    assert result["tada"]["rms_error"] <= BOUND, result
    # Not the same rows: the codes lose something.
    assert result["total_rms_error"] > result["tada"]["rms_error"], result


def main():
    for arguments, count in CASES:
        command = [sys.argv[1], *COMMON, *arguments]
        print(*command)
        report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        assert len(report["results"]) == count, report
        flush = "0" not in arguments
        assert (report["bandwidth_gb_s"]["max"] > 0) == flush, report
        for result in report["results"]:
            check(result, flush, "--view" in arguments)
            print({k: result[k] for k in ("dim", "group", "hot_tiles", "total_rms_error")},
                  result["tada"]["rms_error"], result["ggml"]["rms_error"])
    for wrong in (["--cells", "0"], ["--dim", "64,x"], ["--spec", "nonsense"], ["--spec", "f16"], ["--view", "65", "--dim", "64"],
                  ["extra"]):
        run = subprocess.run([sys.argv[1], *wrong], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert run.returncode == 2 and run.stderr, wrong


main()
