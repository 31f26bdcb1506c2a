#!/usr/bin/env python3
"""llama-server with the plug-in: four slots at once, slots saved and restored.   test_server.py BIN_DIR MODEL"""
import concurrent.futures
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

BIN, MODEL = os.path.abspath(sys.argv[1]), sys.argv[2]
STORY = " ".join(f"On day {n} the keeper of the lighthouse wrote the weather and the name of every ship into his book."
                 for n in range(1, 13))
# After a text of several tiles, something that the model is sure of.
TASKS = [("1, 2, 3, 4, 5, 6, 7, 8,", "9, 10, 11"), ("Monday, Tuesday, Wednesday,", "Thursday, Friday"),
         ("January, February, March, April,", "May, June"), ("10, 20, 30, 40, 50,", "60, 70")]
failures = 0


def check(name, good, detail=""):
    global failures
    print(f"{'ok      ' if good else 'FAILED  '}{name}{'' if good else f': {detail}'}", flush=True)
    failures += not good


class Server:
    def __init__(self, spec, folder, *arguments):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        environment = dict(os.environ, GGML_BACKEND_PATH=f"{BIN}/libggml-tada.so", TADA_CACHE=spec)
        self.log = open(f"{folder}/server.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [f"{BIN}/llama-server", "-m", MODEL, "-t", "2", "-np", "4", "-lv", "4", "--port", self.url.split(":")[-1],
             "--slot-save-path", f"{folder}/", *arguments],
            env=environment, stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        for _ in range(300):
            try:
                self.call("/health")
                return self
            except (OSError, urllib.error.URLError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
        raise SystemExit(f"llama-server did not start:\n{self.text()[-2000:]}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def text(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def call(self, path, **body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def complete(self, slot, prompt, n=12):
        return self.call("/completion", prompt=prompt, n_predict=n, id_slot=slot, temperature=0, cache_prompt=True)


def prompts(topic):
    return [f"{topic} {STORY} {start}" for start, _ in TASKS]


def parallel(server, name):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(server.complete, range(4), prompts(name)))
    for (start, end), answer in zip(TASKS, answers):
        check(f"{name}: '{start}' goes on with '{end}'", end in answer["content"], answer["content"])


def slots(server, folder):
    prompt = prompts("slots")[0]
    first = server.complete(0, prompt)
    saved = server.call("/slots/0?action=save", filename="one")
    check("a slot is saved", saved["n_saved"] > 300, saved)
    plain = server.complete(0, prompt)
    server.call("/slots/0?action=erase", filename="one")
    restored = server.call("/slots/0?action=restore", filename="one")
    check("... and restored", restored["n_restored"] == saved["n_saved"], restored)
    again = server.complete(0, prompt)
    check("... the prompt is not computed again", again["timings"]["prompt_n"] < 64, again["timings"])
    check("... and goes on as before", again["content"] == plain["content"] and TASKS[0][1] in first["content"],
          (first["content"], plain["content"], again["content"]))
    data = pathlib.Path(folder, "one").read_bytes()
    for name, content in (("short", data[:len(data) // 2]), ("foreign", b"no state of any model " * 50)):
        pathlib.Path(folder, name).write_bytes(content)
        try:
            server.call("/slots/1?action=restore", filename=name)
            check(f"a {name} state is refused", False, "it was accepted")
        except urllib.error.HTTPError as error:
            check(f"a {name} state is refused", error.code == 400, error.code)
    check("... and the server goes on", TASKS[0][1] in server.complete(1, prompt)["content"])
    server.call("/slots/1?action=restore", filename="one")
    check("a state is restored into another slot", TASKS[0][1] in server.complete(1, prompt)["content"])


with tempfile.TemporaryDirectory() as work:
    with Server("tada:4:widths=equal:window=0:sinks=0", work, "-c", "4096") as server:
        parallel(server, "split")
        slots(server, work)
        check("the cache is ours", "TADA KV buffer size" in server.text())
    with Server("tada:window=64", work, "-c", "4096", "-kvu") as server:
        parallel(server, "unified")
        parallel(server, "again")
sys.exit(failures > 0)
