"""matrix.py with a program that stands in for bench_attention: what it measures, keeps, shows and finds fault with."""
import json
import pathlib
import subprocess
import sys
import tempfile

STAND_IN = """#!/usr/bin/env python3
import json, pathlib, sys
asked = dict(zip(sys.argv[2::2], sys.argv[3::2]))
with open(pathlib.Path(__file__).with_name("calls"), "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
ratio = float(pathlib.Path(__file__).with_name("ratio").read_text())
print(json.dumps({"results": [{"group": int(g), "ratio_median": ratio, "on_cpu": 1 if g == "4" else 0.5,
                               "tada": {"percent_of_limit": 40.2}} for g in asked["--group"].split(",")]}))
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        program, calls, kept = work / "program", work / "calls", work / "kept.json"
        program.write_text(STAND_IN)
        program.chmod(0o755)
        (work / "ratio").write_text("1.5")

        def run(*arguments):
            return subprocess.run([sys.executable, "-B", sys.argv[1], program, kept, *arguments], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)

        done = run("--quick", "--seconds", "-1")
        assert done.returncode == 0 and not calls.exists(), done
        done = run("--quick")
        lines = calls.read_text().splitlines()
        assert done.returncode == 0 and len(lines) == 6, (done, lines)
        assert sum("--view 512" in line and "--heads-kv 1 " in line for line in lines) == 2, lines
        rows = [[c.strip() for c in line.split("|")] for line in done.stdout.splitlines()]
        assert rows[0] == ["head size, group", "512", "2k"], rows
        assert rows[2:4] == [["64, 1"] + 2 * ["~1.50 (40 %)"], ["64, 4"] + 2 * ["1.50 (40 %)"]], rows
        assert rows[5][0] == "576/512, 16" and len(rows) == 6, rows
        # What is there is not measured again; what is missing is.
        report = json.loads(kept.read_text())
        del report["128 512"]
        kept.write_text(json.dumps(report))
        (work / "ratio").write_text("0.9")
        done = run("--quick")
        assert done.returncode == 1 and "128, 4 at 512: 0.90" in done.stderr, done
        assert "**0.90** (40 %)" in done.stdout and len(calls.read_text().splitlines()) == 7, done
        assert run("--quick", "--show").stdout == done.stdout


main()
