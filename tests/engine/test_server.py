#!/usr/bin/env python3
"""llama-server with the plug-in: four slots at once, slots saved and restored.   test_server.py BIN_DIR"""
import concurrent.futures
import os
import pathlib
import sys
import tempfile

from llama_server import PluggedServer, check, finish, model

BIN = os.path.abspath(sys.argv[1])
MODEL = model(BIN)
STORY = " ".join(f"On day {n} the keeper of the lighthouse wrote the weather and the name of every ship into his book."
                 for n in range(1, 13))
# After a text of several tiles, something that the model is sure of.
TASKS = [("1, 2, 3, 4, 5, 6, 7, 8,", "9, 10, 11"), ("Monday, Tuesday, Wednesday,", "Thursday, Friday"),
         ("January, February, March, April,", "May, June"), ("10, 20, 30, 40, 50,", "60, 70")]


def start(spec, folder, *arguments):
    return PluggedServer(BIN, spec, f"{folder}/server.log", "-m", MODEL, "-t", "2", "-np", "4", "-lv", "4", "--slot-save-path",
                         f"{folder}/", *arguments)


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
    saved = server.slot("save", "one", 0)
    check("a slot is saved", saved["n_saved"] > 300, saved)
    plain = server.complete(0, prompt)
    server.slot("erase", "one", 0)
    restored = server.slot("restore", "one", 0)
    check("... and restored", restored["n_restored"] == saved["n_saved"], restored)
    again = server.complete(0, prompt)
    check("... the prompt is not computed again", again["timings"]["prompt_n"] < 64, again["timings"])
    check("... and goes on as before", again["content"] == plain["content"] and TASKS[0][1] in first["content"],
          (first["content"], plain["content"], again["content"]))
    data = pathlib.Path(folder, "one").read_bytes()
    for name, content in (("short", data[:len(data) // 2]), ("foreign", b"no state of any model " * 50)):
        pathlib.Path(folder, name).write_bytes(content)
        check(f"a {name} state is refused", server.is_refused(name))
    check("... and the server goes on", TASKS[0][1] in server.complete(1, prompt)["content"])
    server.slot("restore", "one", 1)
    check("a state is restored into another slot", TASKS[0][1] in server.complete(1, prompt)["content"])


with tempfile.TemporaryDirectory() as work:
    with start("tada:4:widths=equal:window=0:sinks=0", work, "-c", "4096") as server:
        parallel(server, "split")
        slots(server, work)
        check("the cache is ours", server.is_compressed())
    with start("tada:window=64", work, "-c", "4096", "-kvu") as server:
        parallel(server, "unified")
        parallel(server, "again")
finish()
