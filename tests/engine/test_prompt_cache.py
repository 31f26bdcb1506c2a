#!/usr/bin/env python3
"""tada serve --prompt-cache: prompts that survive a restart.   test_prompt_cache.py BIN_DIR [KILLS]"""
import http.client
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zlib

from llama_server import PATIENCE_S, Server, check, finish, free_port, join, model
from metrics_text import Metrics

BIN = os.path.abspath(sys.argv[1])
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 0  # nothing but so many, and random use
TADA = f"{BIN}/tada"
SUFFIX = ".prompt"


def environment(**more):
    return {name: value for name, value in os.environ.items() if not name.startswith(("TADA_", "LLAMA_ARG_")) and
            name != "LD_PRELOAD"} | {name: value for name, value in os.environ.items() if name == "TADA_LLAMA_BIN"} | more


def make_model(work, name, *arguments):
    path = f"{work}/{name}.gguf"
    subprocess.run([f"{BIN}/../tests/make_model", path, *map(str, arguments)], check=True)
    return path


class Kept(Server):
    """A server that keeps its prompts; without a folder one that does not."""

    def __init__(self, work, folder, path, *arguments, slots=1, cells=4096, **more):
        kept = ["--prompt-cache", folder] if folder else []
        self.work = work
        Kept.started = getattr(Kept, "started", 0) + 1
        super().__init__([TADA, "serve", "-m", path, "-t", "1", "-c", str(cells * slots), "-np", str(slots), "--no-kv-unified",
                          "--no-warmup", *kept, *arguments], environment(**more), f"{work}/server{Kept.started}.log")

    def ask(self, prompt, slot=0, n=8):
        """What answers: tokens, and their probabilities to the last digit."""
        answer = self.complete(slot, prompt, n, return_tokens=True, ignore_eos=True, n_probs=1)
        return answer["tokens"], [entry["logprob"] for entry in answer.get("completion_probabilities", ())]

    def restored(self):
        """Tokens of each prompt that was restored, as the log says."""
        return [int(n) for n in re.findall(r"TADA: slot \d+: (\d+) tokens of a stored prompt are restored", self.text())]


def prompt_of(seed, n):
    numbers = random.Random(seed)
    return [numbers.randrange(3, 250) for _ in range(n)]


def files(folder):
    return sorted(path for path in pathlib.Path(folder).iterdir() if path.suffix == SUFFIX)


def is_whole(path):
    """doc/reference/session.md: whether all checksums of a state are right."""
    data = path.read_bytes()
    magic, version, parts, size, plain, total, zero = struct.unpack_from("<8sIIQQII", data)
    at, crc, stands_for = 40, 0, 0
    for _ in range(parts):
        kind, instead, n = struct.unpack_from("<QQQ", data, at)
        body = data[at + 24:at + 24 + n]
        if kind == 1:
            crc = zlib.crc32(data[at:at + 24], crc)
            if zlib.crc32(body[:-4]) != struct.unpack("<I", body[-4:])[0]:
                return False
        else:
            crc = zlib.crc32(data[at:at + 24 + n], crc)
        at += 24 + n
        stands_for += instead
    return magic == b"TADASTAT" and version == 2 and size == len(data) == at and stands_for == plain and crc == total and not zero


def tests_as(path):
    """What tada pack says of a file: the exit status, and its lines."""
    done = subprocess.run([TADA, "pack", "-t", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def label(path):
    data = path.read_bytes()
    n = struct.unpack_from("<QQQ", data, 40)[2]
    return list(struct.unpack_from(f"<{(n - 8) // 4}i", data, 72))


def restarts(work, path):
    """The same to the last digit as by a prompt that is still in its slot."""
    folder, prompt = f"{work}/restarts", prompt_of(1, 3000)
    batches = ("-b", "512", "-ub", "256")
    with Kept(work, folder, path, *batches) as server:
        server.ask(prompt)
        want = server.ask(prompt)
        check("nothing is restored from an empty folder", server.restored() == [], server.text()[-500:])
    check("a folder that is missing is made, for its owner alone", oct(os.stat(folder).st_mode) == "0o40700")
    kept = files(folder)
    check("one file is there when the server has ended", len(kept) == 1 and is_whole(kept[0]), kept)
    check("... for its owner alone", oct(kept[0].stat().st_mode) == "0o100600")
    check("... and says its tokens", label(kept[0])[:3000] == prompt)
    check("tada pack finds it sound", tests_as(kept[0]) == (0, f"{kept[0]} is sound\n"), tests_as(kept[0]))
    (facts,) = json.loads(subprocess.run([TADA, "pack", "-l", "--json", kept[0]], stdout=subprocess.PIPE, check=True).stdout)
    check("... and lists what is in it", facts["kind"] == "prompt" and facts["tokens"] == facts["cells"] == len(label(kept[0])) and
          facts["planes"] > 0 and facts["packed_bytes"] == kept[0].stat().st_size < 0.4 * facts["stock_bytes"] and
          (facts["k_bits"], facts["v_bits"]) == (4, 3) and kept[0].name.startswith(facts["key"]), facts)
    with Kept(work, folder, path, *batches) as server:
        got = server.ask(prompt)
        check("what is restored answers the same, to the last digit", got == want, (got, want))
        check("all but the last token was restored", server.restored() == [2999], server.restored())
        other = prompt[:1700] + prompt_of(2, 400)
        server.ask(other)
        check("a prompt that goes on otherwise has what is in its slot", server.restored() == [2999])
    check("both are stored", len(files(folder)) == 2, files(folder))
    with Kept(work, folder, path, *batches) as server:
        beside = prompt[:1650] + prompt_of(3, 700)
        server.ask(beside)
        check("the longest beginning is found", server.restored() == [1650], server.restored())
        server.ask(prompt)
        check("also for a slot that has some of it", server.restored() == [1650, 2999 - 1650], server.restored())
        server.ask(prompt_of(4, 900))
        server.ask(prompt[:300] + [5])
        check("short ones too", server.restored()[2:] == [300], server.restored())
    with Kept(work, folder, path, "-b", "300") as server:
        got = server.ask(prompt)
        check("batches that cut it elsewhere change nothing", (got, server.restored()) == (want, [2999]), (got, want))


def requests_that_stop(work, path):
    """What was to be restored when a request is given up, or is in the way."""
    folder, prompt = f"{work}/stops", prompt_of(1, 3500)
    with Kept(work, folder, path, "-b", "64", "-ub", "64", slots=2) as server:
        server.ask(prompt)
        want = server.ask(prompt)
    size = files(folder)[0].stat().st_size
    with Kept(work, folder, path, "-b", "64", "-ub", "64", slots=2, TADA_METRICS=(metrics := f"127.0.0.1:{free_port()}")) as server:
        results = {}

        def ask(slot, what):
            results[slot] = server.ask(what, slot, 40)
        other = prompt_of(9, 1500)
        threads = [threading.Thread(target=ask, args=(slot, what)) for slot, what in ((0, prompt), (1, other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Two slots are computed in one batch, which is rounded otherwise.
        check("beside another slot it answers the same", results[0][0][:8] == want[0], (results[0], want))
        check("and so does the other one", results[1][0][:8] == server.ask(other, 1)[0], results[1])
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=PATIENCE_S) as answer:
            counted = Metrics(answer.read().decode())
        check("metrics count prompts, tokens and bytes", counted.total("prompts_restored_total") == 1 and
              counted.total("prompt_tokens_restored_total") == 3499 and counted.total("prompt_bytes_restored_total") == size,
              [counted.total(f"prompt{name}_restored_total") for name in ("s", "_tokens", "_bytes")])
    for n in range(3):
        with Kept(work, folder, path, "-b", "64", "-ub", "64", "--slots") as server:
            for part in (prompt[:2000 + n] + prompt_of(5, 30), prompt):
                server.cancel("/completion", n + 1, prompt=part, n_predict=50, id_slot=0, cache_prompt=True, return_progress=True)
            got = server.ask(prompt)
            check("requests that are given up leave nothing wrong", got[0] == want[0], (got, want, server.restored()))


def keys(work, path):
    """Prompts of other models and caches are left alone, and so is what is no prompt."""
    folder, prompt = f"{work}/keys", prompt_of(1, 600)
    other = make_model(work, "other", 3, 0.4)
    with Kept(work, folder, path) as server:
        server.ask(prompt)
        want = server.ask(prompt)
    for name, model_path, arguments, uses in (("the same", path, (), True), ("another model", other, (), False),
                                              ("another cache", path, ("--cache", "tada:5/4"), False),
                                              ("another rope", path, ("--rope-freq-base", "20000"), False),
                                              ("another value in the model's file", path, ("--override-kv", "llama.rope.freq_base=float:5000"), False),
                                              ("a larger context", path, ("-c", "8192"), True),
                                              ("other threads", path, ("-t", "2"), True)):
        copy = f"{work}/copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        with Kept(work, copy, model_path, *arguments) as server:
            server.ask(prompt)
            check(f"a prompt is{'' if uses else ' not'} restored by {name}", bool(server.restored()) == uses, server.restored())
    moved = f"{work}/moved.gguf"
    shutil.copy(path, moved)
    with Kept(work, folder, moved) as server:
        check("the name of a model's file does not matter", (server.ask(prompt), server.restored()) == (want, [599]), server.restored())
    data = bytearray(pathlib.Path(path).read_bytes())
    data[len(data) - 5000] ^= 64
    pathlib.Path(moved).write_bytes(data)
    with Kept(work, folder, path, "--lora", make_adapter(work, path)) as server:
        server.ask(prompt)
        check("with an adapter nothing is restored, and it is said", not server.restored() and
              server.text().count("prompts are neither stored nor restored: adapters") == 1)
    for shape, words in (("window-64", "layers of this model keep only a window"), ("conv", "recurrent layers of this model cannot go back")):
        with Kept(work, f"{work}/none", make_model(work, shape, "shape", shape)) as server:
            server.ask(prompt)
            server.ask(prompt_of(2, 600))
            check(f"what {shape} says, once", server.text().count(words) == 1, server.text()[-1000:])
        check("... and nothing is stored", not files(f"{work}/none"))


def make_adapter(work, _):
    path = f"{work}/adapter.gguf"
    subprocess.run([f"{BIN}/../tests/make_model", path, "adapter", "gqa-64"], check=True)
    return path


def damages(work, path):
    folder, prompt = f"{work}/damages", prompt_of(1, 500)
    with Kept(work, folder, path) as server:
        server.ask(prompt)
        want = server.ask(prompt)
    (sound,) = files(folder)
    data = sound.read_bytes()
    seen = []
    for name, bad in (("a flipped bit in front", data[:20] + bytes([data[20] ^ 1]) + data[21:]),
                      ("a flipped bit in the tokens", data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]),
                      ("a flipped bit in the middle", data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1:]),
                      ("a flipped bit at the end", data[:-1] + bytes([data[-1] ^ 128])),
                      ("its half", data[:len(data) // 2]), ("all but the last byte", data[:-1]), ("a byte more", data + b"x"),
                      ("its first bytes", data[:50]), ("nothing", b""), ("zeros", bytes(len(data))),
                      ("another version", data[:8] + b"\x09" + data[9:])):
        sound.write_bytes(bad)
        status, said = tests_as(sound)
        check(f"tada pack refuses one with {name}", status == 1 and said.count("\n") == 1, said)
        with Kept(work, folder, path) as server:
            server.ask(prompt)
            server.ask(prompt)
            good = server.ask(prompt) == want and server.restored() == []
            said = len(re.findall(r"TADA: .*(is damaged|left alone)", server.text()))
        check(f"a file with {name} is not used, and a line says so", good and said == 1, (good, said, server.text()[-500:]))
        seen.append(len(files(folder)))
        for entry in files(folder):
            entry.unlink()
    sound.write_bytes(data)
    os.rename(sound, f"{folder}/another name{SUFFIX}")
    outside = pathlib.Path(work, "outside")
    outside.write_bytes(b"outside")
    os.symlink(outside, sound)
    os.symlink(folder, f"{folder}/folder{SUFFIX}")
    os.mkfifo(f"{folder}/pipe{SUFFIX}")
    pathlib.Path(folder, "notes.txt").write_text("mine", encoding="ascii")
    with Kept(work, folder, path) as server:
        check("a file of another name is used", (server.ask(prompt), server.restored()) == (want, [499]), server.restored())
        server.ask(prompt_of(3, 300))
    with Kept(work, folder, path) as server:
        os.unlink(f"{folder}/another name{SUFFIX}")
        server.ask(prompt)
        check("one that has gone is not", server.restored() == [], server.restored())
    check("links are not followed, and what is not ours stays", outside.read_bytes() == b"outside" and
          pathlib.Path(folder, "notes.txt").read_text(encoding="ascii") == "mine")


def sizes(work, path):
    """The least recently used ones leave."""
    folder = f"{work}/sizes"
    with Kept(work, folder, path) as server:
        server.ask(prompt_of(0, 600))
    size = files(folder)[0].stat().st_size
    files(folder)[0].unlink()
    most = int(3.5 * size)
    with Kept(work, f"{folder},{most}", path) as server:
        for seed in range(3):
            server.ask(prompt_of(seed, 600))
    check("three are kept", len(files(folder)) == 3, files(folder))
    with Kept(work, f"{folder},{most}", path) as server:
        server.ask(prompt_of(0, 600))
        check("the oldest is used", server.restored() == [599], server.restored())
        server.ask(prompt_of(3, 600))
    first = {label(entry)[0] for entry in files(folder)}
    check("and the one that was not used longest has left", first == {prompt_of(seed, 1)[0] for seed in (0, 2, 3)} and
          sum(entry.stat().st_size for entry in files(folder)) <= most, first)
    with Kept(work, f"{folder},{size // 2}", path) as server:
        server.ask(prompt_of(7, 600))
        server.ask(prompt_of(8, 600))
    check("one that is too large is not stored, and a line says so",
          server.text().count("more than --prompt-cache may") == 1 and len(files(folder)) == 3, files(folder))
    grown = f"{work}/grown"
    with Kept(work, grown, path) as server:
        prompt = prompt_of(0, 600)
        for more in range(3):
            prompt = prompt + server.ask(prompt)[0] + prompt_of(more, 20)
            server.ask(prompt_of(90 + more, 40))
            server.ask(prompt)
    check("a prompt that goes on replaces what it begins with", len(files(grown)) == 1, files(grown))


def full_disk(work, path):
    folder = f"{work}/full"
    with Kept(work, folder, path) as server:
        server.ask(prompt_of(0, 300))
        small = server.ask(prompt_of(0, 300))
    limit = files(folder)[0].stat().st_size + 20000

    def limited(*arguments):
        process = subprocess.Popen
        try:
            subprocess.Popen = lambda command, **more: process(
                command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)), **more)
            return Kept(work, folder, path, *arguments)
        finally:
            subprocess.Popen = process
    with limited() as server:
        server.ask(prompt_of(1, 2000))
        large = server.ask(prompt_of(1, 2000))
        check("what fits is restored", server.ask(prompt_of(0, 300)) == small)
        check("what does not fit is not stored, and a line says so", server.text().count("is not stored:") == 1, server.text()[-800:])
        server.ask(prompt_of(1, 2000))
        check("and the server goes on", server.ask(prompt_of(1, 2000)) == large)
    check("and ends as ever", server.process.returncode in (0, -signal.SIGTERM), server.process.returncode)
    check("no file is half there", [is_whole(entry) for entry in files(folder)] == [True] and
          not any(name.startswith(".") for name in os.listdir(folder)), os.listdir(folder))


def cold_and_warm(work, path, prompts):
    """What a server that stores nothing answers to each prompt, computed and from its slot."""
    want = []
    with Kept(work, None, path) as server:
        for prompt in prompts:
            first = server.ask(prompt)
            want.append((first, server.ask(prompt)))
    return want


def two_servers(work, path, seed):
    """Both write and read one folder, of which the size is reached all the time."""
    folder = f"{work}/two"
    prompts = [[n + 3, *prompt_of(100 + n, 400 + 37 * n)] for n in range(8)]
    want = cold_and_warm(work, path, prompts)
    wrong, found = [], []
    with Kept(work, f"{folder},4M", path) as one, Kept(work, f"{folder},4M", path) as two:
        def use(server, numbers):
            for _ in range(30):
                n = numbers.randrange(len(prompts))
                if server.ask(prompts[n]) not in want[n]:
                    wrong.append(n)
        threads = [threading.Thread(target=use, args=(server, random.Random(seed.random()))) for server in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = one.restored() + two.restored()
    check("two servers answer right", not wrong, wrong)
    check("... and use what the folder has", found)
    check("... which is whole", all(map(is_whole, files(folder))) and sum(f.stat().st_size for f in files(folder)) <= 4 << 20)


def killed(work, path, seed, kills):
    """
    Servers that are killed at any moment: nothing wrong is answered, nothing is half there, and nothing is lost but what
    was being written. In one folder there is room for all, in the other one prompts leave all the time.
    """
    prompts = [[n + 3, *prompt_of(200 + n, 300 + 61 * n)] for n in range(6)]
    want = cold_and_warm(work, path, prompts)
    wrong, lost, half, seen, restored, leftovers, asked = [], [], [], 0, 0, 0, 0
    stored = set()
    for kill in range(kills):
        folder, most = (f"{work}/roomy", "1G") if kill % 2 else (f"{work}/narrow", "3M")
        with Kept(work, f"{folder},{most}", path) as server:
            leftovers += any(name.startswith(".") for name in os.listdir(folder))

            def use():
                nonlocal asked
                try:
                    while True:
                        n = seed.randrange(len(prompts))
                        got = server.ask(prompts[n])
                        if got not in want[n]:
                            wrong.append((n, got, want[n]))
                        # It has no token in common with the others: what goes on from one is rounded otherwise.
                        server.ask([250, *prompt_of(seed.random(), 256 + seed.randrange(300))], n=2)
                        asked += 2
                except (OSError, urllib.error.URLError, ValueError):
                    return
            thread = threading.Thread(target=use)
            thread.start()
            time.sleep(seed.random() * 0.7)
            if seed.random() < 0.3:
                server.terminate()  # it stores what is in its slots then
                time.sleep(seed.random() * 0.05)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            thread.join()
            restored += len(server.restored())
        os.unlink(server.log.name)
        there = {tuple(label(entry)[:256]) for entry in files(folder)}
        half += [entry for entry in files(folder) if not is_whole(entry)]
        seen += len(there)
        if kill % 2:
            lost += stored - there
            stored = there
    check("after kill -9 nothing wrong is answered", not wrong, wrong)
    check("... all files are whole", not half and seen > 0, half)
    check("... none is lost", not lost, len(lost))
    check("... what was left is removed at the next start", leftovers == 0, leftovers)
    check("... and stored prompts are used", restored > 0, restored)
    print(f"{kills} kills, {asked} answers, {seen} files looked at, {restored} prompts restored")


def random_use(work, path, seed):
    """
    Many requests at once, of prompts that begin like others, some of them given up, in servers that come and go. What
    comes out is rounded by the batches that it was computed in; rows of another prompt would show.
    """
    folder = f"{work}/random"
    stems = [prompt_of(500 + n, 900) for n in range(3)]
    prompts = [stems[seed.randrange(3)][:seed.randrange(1, 900)] + prompt_of(seed.random(), seed.randrange(1, 500)) for _ in range(24)]

    def first(server, prompt, **more):
        answer = server.call("/completion", prompt=prompt, n_predict=1, temperature=0, ignore_eos=True, n_probs=40, cache_prompt=True, **more)
        return {entry["id"]: entry["logprob"] for entry in answer["completion_probabilities"][0]["top_logprobs"]} if answer.get(
            "completion_probabilities") else None
    with Kept(work, None, path, "--cache", "tada:8", "--cache-ram", "0") as server:
        want = [first(server, prompt) for prompt in prompts]
    worst, asked, restored = 0.0, 0, 0
    for turn in range(4):
        unified = ("--kv-unified",) if turn % 2 else ()
        with Kept(work, f"{folder},40M", path, "--cache", "tada:8", "-b", str(seed.choice((64, 200, 512))), "-ub", "64", *unified, slots=3,
                  cells=2048) as server:
            def use(numbers):
                nonlocal worst, asked
                for _ in range(16):
                    n = numbers.randrange(len(prompts))
                    if numbers.random() < 0.2:
                        server.cancel("/completion", numbers.randrange(4), prompt=prompts[n], n_predict=20, return_progress=True, cache_prompt=True)
                        continue
                    got = first(server, prompts[n])
                    if got and want[n]:
                        asked += 1
                        worst = max(worst, *(abs(value - got[token]) for token, value in list(want[n].items())[:5] if token in got),
                                    0.0 if list(want[n])[0] in got else 99.0)
            threads = [threading.Thread(target=use, args=(random.Random(seed.random()),)) for _ in range(4)]
            for thread in threads:
                thread.start()
            join(threads, server)
            restored += len(server.restored())
    check("random use answers as without stored prompts", worst < 0.25 and asked > 50, (worst, asked))
    check("... and restores many", restored > 5, restored)
    print(f"{asked} answers, {restored} prompts restored, largest difference of a logarithm of a probability {worst:.3f}")


def saved_in_memory(work, path):
    """What the server keeps in memory is stored while it runs, and so is what only leaves its slot."""
    prompts = [prompt_of(400 + n, 400) for n in range(5)]
    for name, arguments in (("that goes to memory", ()), ("that leaves its slot", ("--cache-ram", "0"))):
        folder = f"{work}/memory{len(arguments)}"
        with Kept(work, folder, path, *arguments) as server:
            for prompt in prompts:
                server.call("/completion", prompt=prompt, n_predict=4, temperature=0, cache_prompt=True)
            server.call("/completion", prompt=prompts[0], n_predict=4, temperature=0, cache_prompt=True)
            while len(files(folder)) < 4:
                time.sleep(0.05)
            server.process.kill()
        check(f"a prompt {name} is stored at once", {label(entry)[0] for entry in files(folder)} >= {p[0] for p in prompts[:4]}
              and all(map(is_whole, files(folder))), files(folder))
        with Kept(work, folder, path, *arguments) as server:
            for prompt in prompts[:4]:
                server.ask(prompt)
            check("... and there is nothing to do for one that is stored", server.restored() == [399] * 4, server.restored())


def ended_while_answering(work, path):
    """llama-server waits for its clients before it frees its contexts, and whoever ends it may not wait so long."""
    folder, prompt = f"{work}/answering", prompt_of(77, 700)
    with Kept(work, folder, path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
        connection.request("POST", "/completion", json.dumps({"prompt": prompt, "n_predict": 100000, "stream": True, "ignore_eos": True}),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        for _ in range(10):
            answer.readline()
        server.terminate()
        end = time.monotonic() + PATIENCE_S
        while server.alive() and not files(folder) and time.monotonic() < end:
            time.sleep(0.05)
        server.process.kill()
        server.process.wait()
        connection.close()
    check("what is in a slot is stored though a client waits", len(files(folder)) == 1 and is_whole(files(folder)[0]) and
          label(files(folder)[0])[:700] == prompt, files(folder))


def shared_cells(work, path):
    """Slots that share their cells: a prompt is restored among those of others, rounded a little where tiles are cut elsewhere."""
    folder = f"{work}/shared"
    prompts = [prompt_of(300 + n, 500 + 100 * n) for n in range(3)]
    options = ("--kv-unified", "--cache", "tada:8")
    with Kept(work, folder, path, *options, slots=4, cells=1024) as server:
        want = [server.ask(prompt, n)[0] for n, prompt in enumerate(prompts)]
    with Kept(work, folder, path, *options, slots=4, cells=1024) as server:
        got = [server.ask(prompt, (n + 1) % 3)[0] for n, prompt in enumerate(prompts)]
        check("in a unified cache prompts are restored, too", len(server.restored()) == 3 and
              [answer[:2] for answer in got] == [answer[:2] for answer in want], (server.restored(), got, want))


def drafts(work, path):
    """What a draft model needs is computed; results of several tokens of a batch are asked for."""
    folder, prompt = f"{work}/drafts", prompt_of(1, 1000)
    draft = make_model(work, "draft", "shape", "mha-32")
    options = ("-md", draft, "--spec-type", "draft-simple", "--spec-draft-n-max", "4", "--spec-draft-n-min", "0", "--spec-draft-p-min", "0")
    with Kept(work, None, path) as server:
        want = server.ask(prompt, n=30)[0]
    for restored in ([], [999]):
        with Kept(work, folder, path, *options) as server:
            got = server.ask(prompt, n=30)[0]
            check(f"with drafts {'restored' if restored else 'computed'} prompts are right", got == want, (got, want))
            check("... and nothing else is said", server.restored() == restored and "neither stored" not in server.text(), server.restored())


def real_model(work):
    story = " ".join(f"On day {n} the keeper wrote the name of every ship into his book." for n in range(1, 20)) + " 1, 2, 3, 4, 5, 6, 7, 8,"
    path, folder = model(BIN, "q4_1"), f"{work}/real"
    answers = []
    for kept in (None, folder, folder):
        with Kept(work, kept, path, "-t", "2", cells=1024) as server:
            answers.append(server.complete(0, story)["content"])
    check("a model's answer is the same as without", "9, 10" in answers[0] and len(set(answers)) == 1, answers)
    check("and what was restored is most of it", len(server.restored()) == 1 and server.restored()[0] > 250, server.restored())


if not os.path.exists(f"{BIN}/../tests/make_model"):
    print("skipped: there is no make_model")
    sys.exit(77)
with tempfile.TemporaryDirectory() as folder:
    number = int(os.environ.get("SEED", random.randrange(2**31)))
    print(f"seed {number}")
    numbers = random.Random(number)
    tiny = make_model(folder, "tiny", "shape", "gqa-64")
    if KILLS:
        killed(folder, tiny, numbers, KILLS)
        random_use(folder, tiny, numbers)
        finish()
    restarts(folder, tiny)
    requests_that_stop(folder, tiny)
    keys(folder, tiny)
    damages(folder, tiny)
    sizes(folder, tiny)
    full_disk(folder, tiny)
    two_servers(folder, tiny, numbers)
    killed(folder, tiny, numbers, 10)
    saved_in_memory(folder, tiny)
    ended_while_answering(folder, tiny)
    shared_cells(folder, tiny)
    drafts(folder, tiny)
    real_model(folder)
finish()
