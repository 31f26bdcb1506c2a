#!/usr/bin/env python3
"""Checks workflow files: YAML, the parts that each must have, actions by exact versions, and the form of their commands.
check_workflows.py FILE..."""
import re
import subprocess
import sys

import yaml


def problems(path):
    with open(path, encoding="utf-8") as file:
        workflow = yaml.safe_load(file)
    for part in ("name", True, "permissions", "jobs"):  # YAML reads the word on as true
        if part not in workflow:
            yield f"no '{'on' if part is True else part}'"
    for name, job in workflow.get("jobs", {}).items():
        for part in ("runs-on", "timeout-minutes", "steps"):
            if part not in job:
                yield f"{name}: no '{part}'"
        for step in job.get("steps", []):
            if "uses" in step and not re.fullmatch(r"[\w.-]+/[\w./-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})", step["uses"]):
                yield f"{name}: {step['uses']} is no exact version"
            if "run" in step and subprocess.run(["bash", "-n", "-c", re.sub(r"\$\{\{.*?\}\}", "x", step["run"])], check=False).returncode != 0:
                yield f"{name}: {step['run']} is no bash"
            if "uses" not in step and "run" not in step:
                yield f"{name}: a step does nothing"


def main():
    failures = 0
    for path in sys.argv[1:]:
        for problem in problems(path):
            print(f"{path}: {problem}")
            failures += 1
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
