#!/usr/bin/env python3
"""What make shows: steps, tests and the demo, with stand-ins for what they run.   test_scripts.py SOURCE"""
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
STEP = SOURCE / "scripts/step.sh"

# Says what tada says of a model whose f16 cache is four times as large; the demo reads no more of it than that.
TADA = r"""#!/bin/bash
case $1 in
    size)
        case " $* " in *" 512M "*) echo "tada: Not even a context of 256 tokens fits" >&2; exit 2 ;; esac
        echo '{"results": [{"cache": "f16", "largest": {"n_ctx": 1000}}, {"cache": "q4_0", "largest": null},
                           {"cache": "tada", "largest": {"n_ctx": 4000}}]}' ;;
    run)
        [ "$3" = f16 ] && name=CPU size=100.00 speed=20.0 || name=TADA size=25.00 speed=40.0
        echo "llama_kv_cache: $name KV buffer size = $size MiB" >&2
        echo "prompt eval time = 1.00 ms / 4000 tokens (0 ms per token, 300.0 tokens per second)" >&2
        echo "       eval time = 1.00 ms / 47 runs (0 ms per token, $speed tokens per second)" >&2
        while [ "${SLOW:-}" ]; do sleep 0.1; done
        printf ' 48213.\x1b[1m More words that are not of interest' ;;
    eval)
        echo '{"results": [' \
            '{"cache": "f16", "tokens": 1023},' \
            '{"cache": "floor", "top1": 0.99, "kld_mean": 0.001, "ppl_ratio": 1.0},' \
            '{"cache": "q4_0", "top1": 0.5, "kld_mean": 1.5, "ppl_ratio": 2.25},' \
            '{"cache": "tada", "top1": 0.985, "kld_mean": 0.0015, "ppl_ratio": 1.001}]}' ;;
esac
"""


class Scripts(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory(prefix="tada scripts ")
        self.folder = pathlib.Path(self.place.name)
        self.log = self.folder / "make.log"

    def tearDown(self):
        self.place.cleanup()

    def step(self, command, **more):
        return subprocess.run([STEP, self.log, "A step", "bash", "-c", command], stdout=subprocess.PIPE, text=True, check=False, **more)

    def test_step(self):
        done = self.step("echo words; echo others >&2")
        self.assertEqual(0, done.returncode)
        self.assertRegex(done.stdout, r"^A step +done in 0:0\d\n$")
        self.assertEqual("==> A step\nwords\nothers\n", self.log.read_text(encoding="utf-8"))

    def test_step_fails(self):
        self.log.write_text("of another step\n", encoding="utf-8")
        done = self.step("seq 100; exit 3")
        self.assertEqual(3, done.returncode)
        lines = done.stdout.splitlines()
        self.assertRegex(lines[0], r"^A step +failed after 0:0\d$")
        self.assertEqual([str(n) for n in range(81, 101)], lines[2:22])
        self.assertIn(str(self.log), lines[-1])
        self.assertNotIn("another", self.step("exit 4").stdout)

    def test_step_on_a_terminal(self):
        ours, theirs = pty.openpty()
        # Folders that are built side by side tell their per cent out of order.
        told = "echo '[ 42%] one'; sleep 1; echo '[3/4] two'; sleep 1; echo '[ 57%] late'; sleep 1"
        with subprocess.Popen([STEP, self.log, "A step", "bash", "-c", told], stdout=theirs) as child:
            os.close(theirs)
            shown = b""
            while True:
                try:
                    shown += os.read(ours, 4096)
                except OSError:
                    break
        os.close(ours)
        self.assertEqual(0, child.returncode)
        self.assertIn(b" 42 %", shown)
        self.assertIn(b" 75 %", shown)
        self.assertNotIn(b" 57 %", shown)
        self.assertEqual(1, shown.count(b"\n"))

    def test_step_ends_all_that_it_runs(self):
        with subprocess.Popen([STEP, self.log, "A step", "bash", "-c", "echo $$; sleep 1000 & wait"],
                              stdout=subprocess.DEVNULL) as step:
            while not (found := re.search(r"^\d+$", self.log.read_text(encoding="utf-8") if self.log.exists() else "", re.M)):
                time.sleep(0.05)
            step.send_signal(signal.SIGINT)
            self.assertEqual(130, step.wait())
        group = int(found.group())
        while True:  # those that nobody waits for are gone soon
            try:
                os.killpg(group, 0)
                time.sleep(0.05)
            except ProcessLookupError:
                break

    def demo(self, **variables):
        for name, text in (("tada", TADA), ("llama-completion", "")):
            (self.folder / name).write_text(text, encoding="utf-8")
            (self.folder / name).chmod(0o755)
        model = self.folder / ("a model with a long name " + "x" * 60 + ".gguf")
        model.touch()
        temporary = self.folder / "temporary"
        temporary.mkdir(exist_ok=True)
        return [sys.executable, "-B", SOURCE / "scripts/demo.py", self.folder, model], {**os.environ, "TMPDIR": str(temporary), **variables}

    def test_demo(self):
        command, environment = self.demo()
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        screen = done.stdout.split("=" * 80 + "\n")[1]
        self.assertLessEqual(len(screen.splitlines()), 20)
        for line in screen.splitlines():
            self.assertLessEqual(len(line), 80)
            self.assertTrue(line.isprintable(), line)
        for words in ("4000 tokens in the context", "100.0 +25.0 +25.0%", "20.0 +40.0 +2.00 x f16, faster", "300.0 +300.0 +1.00 x f16, as fast",
                      "48213. +48213. ", "context in 1G +1000 +4000 +tokens$", "99.0% +98.5% +50.0%", "tada run -m model.gguf"):
            self.assertRegex(screen, re.compile(words, re.M))

    def test_demo_on_a_slow_computer(self):
        """Fewer tokens are compared there, but some always are."""
        for prefill, seconds, n_ctx in ((350, 60, "2048"), (160, 54, "1024"), (20, 5, "512"), (20, -100, "512")):
            code = "import sys; sys.path.insert(0, sys.argv[1]); import demo; print(demo.eval_context(*map(float, sys.argv[2:])))"
            done = subprocess.run([sys.executable, "-B", "-c", code, SOURCE / "scripts", str(prefill), str(seconds)], stdout=subprocess.PIPE,
                                  text=True, check=True)
            self.assertEqual(n_ctx, done.stdout.strip())

    def test_demo_takes_long(self):
        """Lines while a part of it goes on."""
        command, environment = self.demo(SLOW="1")
        often = "import sys; sys.path.insert(0, sys.argv[1]); import demo; demo.EVERY_S = 0.1; sys.argv[:2] = ['demo.py']; demo.main()"
        with subprocess.Popen([*command[:2], "-c", often, SOURCE / "scripts", *command[3:]], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, start_new_session=True) as demo:
            for line in demo.stdout:
                if re.fullmatch(r" +after [0-9]+:[0-9][0-9]\n", line):
                    break
            else:
                self.fail("no line before it ended")
            os.killpg(demo.pid, signal.SIGINT)

    def test_demo_interrupted(self):
        command, environment = self.demo(SLOW="1")
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True) as demo:
            while not list(self.folder.glob("temporary/*/f16.log")):
                time.sleep(0.05)
            os.killpg(demo.pid, signal.SIGINT)
            words = demo.stderr.read()
        self.assertNotEqual(0, demo.returncode)
        self.assertNotIn(b"Traceback", words)
        self.assertEqual([], os.listdir(self.folder / "temporary"))

    def test_results(self):
        """What documents say is in doc/results.json."""
        subprocess.run([SOURCE / "scripts/results.py", "--check"], check=True)
        for step, record in json.loads((SOURCE / "doc/results.json").read_text(encoding="utf-8")).items():
            self.assertEqual(step, record["step"])
            self.assertNotRegex(json.dumps(record), r'[" ]/\w')  # no paths of the computer that measured


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
