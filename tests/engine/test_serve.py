#!/usr/bin/env python3
"""tada serve: the plan of the model, the summary, sessions that stay packed.   test_serve.py BIN_DIR"""
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error

from llama_server import PATIENCE_S, Server, check, finish, model

BIN = os.path.abspath(sys.argv[1])
MODEL = model(BIN)
TADA = f"{BIN}/tada"
MAGIC = b"TADASESS"
# Enough tokens that most of them leave the window.
STORY = " ".join(f"On day {n} the keeper of the lighthouse wrote the weather and the name of every ship into his book."
                 for n in range(1, 34)) + " 1, 2, 3, 4, 5, 6, 7, 8,"

def environment():
    skipped = ("TADA_CACHE", "TADA_PLANS", "GGML_BACKEND_PATH", "LD_PRELOAD")
    return {name: value for name, value in os.environ.items()
            if name not in skipped and not name.startswith("LLAMA_ARG_")}


def summary(*arguments, **variables):
    """What tada serve says, without a server."""
    result = subprocess.run([TADA, "serve", *arguments, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=environment() | variables, timeout=PATIENCE_S, check=False)
    return result.stdout.decode()


def memory(said):
    """MiB of the cache and of one in f16."""
    found = re.search(r": ([0-9.]+) MiB instead of ([0-9.]+) MiB in f16", said)
    return found and (float(found[1]), float(found[2]))


def serve(work, *arguments):
    return Server([TADA, "serve", "-m", MODEL, "-t", "2", "-c", "2048", "-np", "2", "-lv", "4", "--no-warmup",
                   "--slot-save-path", f"{work}/slots", *arguments], environment(), f"{work}/server.log")


def complete(server, slot=0):
    answer = server.complete(slot, STORY)
    return answer["content"], answer["timings"]["prompt_n"]


def read_fingerprint(path):
    """doc/reference/plan.md, from the GGUF file."""
    with open(path, "rb") as file:
        def take(form):
            return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0]

        def text():
            return file.read(take("Q"))

        def value(kind):
            if kind == 8:
                return text()
            if kind == 9:
                inner, n = take("I"), take("Q")
                return [value(inner) for _ in range(n)]
            return take("BbHhIif?__QqdX"[kind])
        file.read(8)
        n_tensors, n_keys = take("Q"), take("Q")
        keys = {}
        for _ in range(n_keys):
            name = text()
            keys[name] = value(take("I"))
        tensors = {}
        for _ in range(n_tensors):
            name = text()
            sizes = [take("Q") for _ in range(take("I"))]
            tensors[name] = (sizes, take("I"), take("Q"))
        align = keys.get(b"general.alignment", 32)
        (size,), kind, offset = tensors[b"blk.0.attn_norm.weight"]
        assert kind == 0
        file.seek((file.tell() + align - 1) // align * align + offset)
        result = 0xcbf29ce484222325
        for byte in file.read(4 * size):
            result = (result ^ byte) * 0x100000001b3 % 2**64
    return f"{result:016x}"


def make_plans(work, layers, width, fingerprint):
    os.makedirs(work, exist_ok=True)
    subprocess.run([f"{BIN}/../tests/make_plan", work, str(layers), str(width), fingerprint], check=True,
                   stdout=subprocess.DEVNULL)


def revalue(data, memory, kld):
    """A plan of make_plan with other measured values."""
    return data.replace(struct.pack("<d", 0.2712), struct.pack("<d", memory)).replace(
        struct.pack("<d", 0.0045), struct.pack("<d", kld))


def prompts_kept(said):
    """In which room, how many, and how many in f16; None: it is not said."""
    found = re.search(r"tada: prompts of idle slots take (.*) of RAM \(--cache-ram\): (\d+) of a full context, instead of (\d+)", said)
    return found and (found[1], int(found[2]), int(found[3]))


def choice_of_plans(work):
    """On a tiny model: which of the plans it is."""
    make_plans(f"{work}/tiny", 3, 128, read_fingerprint_of_ones(128))
    model, plans = f"{work}/tiny/model.gguf", pathlib.Path(work, "data/tada/plans")
    good = pathlib.Path(work, "tiny/good.plan").read_bytes()
    base = ("-m", model, "-c", "1024", "-np", "1")
    data = {"XDG_DATA_HOME": f"{work}/data"}
    check("without a folder of plans there is none", "cache tada, context" in summary(*base, **data), summary(*base, **data))
    plans.mkdir(parents=True)
    shutil.copy(f"{work}/tiny/foreign.plan", plans / "a.gguf")
    (plans / "b.gguf").write_bytes(good[:100])
    (plans / "c.gguf").write_bytes(b"no plan")
    shutil.copy(f"{work}/tiny/good.plan", plans / "d.other")
    os.mkfifo(plans / "pipe.gguf")
    check("plans of others and damaged ones are passed over", "cache tada, context" in summary(*base, **data), summary(*base, **data))
    (plans / "small.gguf").write_bytes(revalue(good, 0.2, 0.02))
    (plans / "large.gguf").write_bytes(revalue(pathlib.Path(work, "tiny/old.plan").read_bytes(), 0.36, 0.001))
    shutil.copy(f"{work}/tiny/good.plan", plans / "middle.gguf")
    for arguments, name in (((), "large"), (("--budget", "40"), "large"), (("--budget", "27.2%"), "middle"),
                            (("--budget=21", ), "small")):
        said = summary(*base, *arguments, **data)
        check(f"{name} is taken {' '.join(arguments)}", f"tada: cache of the plan {plans}/{name}.gguf (KL divergence " in said, said)
        default = memory(summary(*base, "--cache", "tada", **data))[0]
        check("... and it is told if it is larger than the default", (name == "large") ==
              (f" % saved; the default, --cache tada, takes {default:.1f} MiB\n" in said) == (", --cache tada" in said), said)
    said = summary(*base, "--budget", "10%", **data)
    check("none within the budget is told", "none of the plans of this model (3)" in said and "cache tada, context" in said, said)
    said = summary(*base, "--plans", f"{plans}", TADA_PLANS="/nowhere", HOME="/nowhere")
    check("--plans comes before TADA_PLANS", "large.gguf" in said, said)
    said = summary(*base, TADA_PLANS=f"{plans}", XDG_DATA_HOME="/nowhere")
    check("TADA_PLANS comes before XDG_DATA_HOME", "large.gguf" in said, said)
    for arguments, variables in ((("--cache", "tada:3"), {}), ((), {"TADA_CACHE": "tada:3"})):
        said = summary(*base, *arguments, **data, **variables)
        check("a cache that is asked for comes before plans", "cache tada:3, context" in said, said)
    f16 = 3 * 2 * 2 * 64 * 2 * 1024 / 2**20  # layers, K and V, heads, values, bytes, cells
    told = memory(summary(*base, "--cache", "tada", **data))
    check("the memory is that of the model", told and told[1] == round(f16, 1) and told[0] < 0.6 * told[1], told)
    kept = prompts_kept(summary(*base, "--cache", "tada", **data))
    check("prompts of idle slots are told, in the room of llama-server", kept and kept[0] == "at most 8192 MiB" and
          kept[2] == 8192 // f16 and kept[1] * (told[0] - 0.05) <= 8192 <= (kept[1] + 1) * (told[0] + 0.05), (kept, told))
    four = prompts_kept(summary(*base[:-1], "4", "-no-kvu", "--cache-ram", "100", "--cache", "tada", **data))
    check("... and in what is given, of smaller slots", four and four[0] == "at most 100 MiB" and four[2] == 100 * 4 // f16, four)
    said = summary(*base, "--cache", "tada", LLAMA_ARG_CACHE_RAM="-1", **data)
    check("... or without a limit", "take any amount of RAM (--cache-ram): " in said and f" MiB for a full context, instead of {f16:.1f}\n" in said, said)
    check("without any, nothing is said", prompts_kept(summary(*base, "-cram", "0", "--cache", "tada", **data)) is None)
    for shape in ("window-64", "conv"):
        subprocess.run([f"{BIN}/../tests/make_model", f"{work}/{shape}.gguf", "shape", shape], check=True)
        said = summary("-m", f"{work}/{shape}.gguf", "-c", "1024", "--cache", "tada", "-ctxcp", "9", **data)
        check(f"checkpoints of {shape} are told", said.count("; each slot up to 9 checkpoints (--ctx-checkpoints)\n") == 1, said)
    for option in ("-md", "--model-draft"):
        said = summary(*base, option, model, "--cache", "tada", **data)
        both = memory(said)
        check(f"{option}: the cache of the draft model counts", both and abs(both[0] - 2 * told[0]) <= 0.1 and
              abs(both[1] - 2 * told[1]) <= 0.1 and ", with the draft model's\n" in said, (told, both))
    for options in (("-fa", "off"), ("-ctk", "q8_0"), ("-md", model, "-ctvd", "q8_0")):
        said = summary(*base, *options, "--cache", "tada", **data)
        check(f"no memory is told with {' '.join(map(str, options))}", "cache tada, context" in said and not memory(said) and
              "at most 8192 MiB of RAM (--cache-ram)\n" in said, said)
    for options in (("-ngl", "0"), ("-nkvo",), ("-dev", "none"), ("-ngl", "2")):
        said = summary(*base, *options, "--cache", "tada", **data)
        check(f"{' '.join(options)} changes nothing", memory(said) == told and len(said.splitlines()) == len(
            summary(*base, "--cache", "tada", **data).splitlines()), said)
    said = summary(*base, "-md", "draft.gguf", **data)
    check("a draft model changes nothing about the plan", "cache of the plan " in said, said)
    said = summary(*base, "--cache", f"tada:@{work}/tiny/good.plan", **data)
    check("a plan that is asked for is told", f"tada: cache of the plan {work}/tiny/good.plan (KL divergence 0.00450 at 27.1 %)" in said, said)
    for name in ("foreign", "wide", "shallow", "nan"):
        result = subprocess.run([TADA, "serve", *base, "--cache", f"tada:@{work}/tiny/{name}.plan", "--version"], env=environment(),
                                stderr=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
        check(f"a plan that is asked for and {name} is refused", result.returncode == 2 and b"plan" in result.stderr
              and not result.stdout, result)
    check("a model in a file that is none", "4 slots" in summary("-m", f"{work}/tiny/good.plan/x", **data))


def read_fingerprint_of_ones(n):
    result = 0xcbf29ce484222325
    for byte in struct.pack("<f", 1) * n:
        result = (result ^ byte) * 0x100000001b3 % 2**64
    return f"{result:016x}"


def sessions(work):
    slots = pathlib.Path(work, "slots")
    with serve(work, "--cache", "f16") as server:
        stock_answer = complete(server)[0]
        server.slot("save", "stock")
    stock = (slots / "stock").read_bytes()
    check("with a cache of llama.cpp sessions stay as they are", stock[:4] == b"qsgg", stock[:8])
    plans = pathlib.Path(work, "plans")
    with_plans = os.path.exists(f"{BIN}/../tests/make_plan")
    if with_plans:
        make_plans(f"{work}/made", 30, 192, read_fingerprint(MODEL))
        plans.mkdir()
        for name in ("good", "foreign"):
            shutil.copy(f"{work}/made/{name}.plan", plans / f"{name}.gguf")
    with serve(work, *(("--plans", plans) if with_plans else ())) as server:
        said = server.text()
        if with_plans:
            check("the plan of the model is taken", f"tada: cache of the plan {plans}/good.gguf" in said, said[:500])
        check("the summary tells context and slots", ", context 1024 each for 2 slots (split cache): " in said, said[:500])
        told = re.search(r": ([0-9.]+) MiB instead of ([0-9.]+) MiB in f16", said)
        real = re.search(r"TADA KV buffer size = *([0-9.]+) MiB", said)
        check("... and the memory that it takes", told and real and abs(float(told[1]) / float(real[1]) - 1) < 0.01
              and float(told[2]) == 45, (told, real))
        answer, n = complete(server)
        saved = server.slot("save", "one")
        data = (slots / "one").read_bytes()
        check("a session is packed", data[:8] == MAGIC and n > 700, (data[:8], n))
        check("... to less than half of what llama.cpp writes", 0 < len(data) < saved["n_written"] / 2,
              (len(data), saved["n_written"]))
        again = complete(server)
        server.slot("erase", "one")
        restored = server.slot("restore", "one")
        check("... and restored whole", restored["n_read"] == saved["n_written"] and restored["n_restored"] == saved["n_saved"],
              (restored, saved))
        after = complete(server)
        check("... with the same answer", after[0] == again[0] and after[1] < 64 and "9, 10" in answer, (answer, again, after))
        server.slot("save", "two")
        server.slot("restore", "two", 1)
        check("... into another slot, too", "9, 10" in complete(server, 1)[0])
        server.slot("restore", "stock", 1)
        check("a session of a stock server is restored", "9, 10" in complete(server, 1)[0] and "9, 10" in stock_answer)
        middle = len(data) // 2
        for name, content in (("cut", data[:middle]), ("flipped", data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1:]),
                              ("beginning", MAGIC), ("foreign", b"no state of any model " * 50), ("empty", b"")):
            (slots / name).write_bytes(content)
            check(f"a session that is {name} is refused", server.is_refused(name))
            (slots / name).unlink()
        check("... and the server goes on", "9, 10" in complete(server)[0])
        opened = open_files(server.process.pid)
        check("no file stays open", not [path for path in opened if "slots" in path or "memfd" in path], opened)
        os.chmod(slots / "two", 0o600)
        server.slot("save", "two")
        check("a session that is private stays private", os.stat(slots / "two").st_mode & 0o777 == 0o600)
        server.slot("save", ".tada-session-1-1")
        check("names of files that are being written are refused", server.is_refused(".tada-session..1-1", 0, "save"))
        check("nothing else is in the folder", {entry.name for entry in slots.iterdir()} == {"one", "two", "stock", ".tada-session-1-1"},
              list(slots.iterdir()))
    with serve(work, "--cache", "f16") as server:
        server.slot("restore", ".tada-session-1-1")
        os.unlink(slots / ".tada-session-1-1")
        server.slot("restore", "one")
        check("a cache of llama.cpp takes packed sessions", "9, 10" in complete(server)[0])


def open_files(pid):
    """What the descriptors of a process stand for. The process goes on meanwhile, and may close one between two looks."""
    paths = []
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            paths.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return paths


def restores(work):
    """Where a restored session cannot be gone on with, and the summary says so; models without a vocabulary to speak of."""
    tokens = [number % 50 + 10 for number in range(7, 7 * 400, 7)]
    for shape, options, words, uses in (
            ("gqa-64", (), None, (True, True)),
            ("window-64", (), "is computed again from its start: layers of this model keep only a window of 64 tokens", (False, False)),
            ("window-64", ("--swa-full",), None, (True, True)),
            ("conv", (), "serves only requests that go on from its very end: recurrent layers", (False, True)),
            ("mamba", (), "serves only requests that go on from its very end: recurrent layers", (False, True))):
        path = f"{work}/{shape}.gguf"
        subprocess.run([f"{BIN}/../tests/make_model", path, "shape", shape], check=True)
        with Server([TADA, "serve", "-m", path, "-t", "1", "-c", "2048", "-np", "1", "--no-warmup", "--slot-save-path",
                     f"{work}/slots", *options], environment(), f"{work}/restores.log") as server:
            answer = server.complete(0, tokens, return_tokens=True, ignore_eos=True)["tokens"]
            server.slot("save", "kept")
            used = []
            for prompt in (tokens, [*tokens, *answer, 11, 12]):
                server.slot("restore", "kept")
                used.append(server.complete(0, prompt)["timings"]["prompt_n"] < 20)
            os.unlink(f"{work}/slots/kept")
            said = server.text()
        name = " ".join((shape, *options))
        check(f"a restored session of {name} is used as expected", tuple(used) == uses, used)
        check(f"... and what is said of it, once, is {words}", said.count("restored session") == (words is not None) and
              (words or "") in said, said[:600])
        check("... and without a folder of sessions nothing", "restored session" not in summary("-m", path, *options))
        goes_back = "a request that goes back in its slot is computed from its start"
        check("... but where nothing in between is kept", (goes_back in summary("-m", path, *options, "-ctxcp", "0")) ==
              (words is not None))


def killed(work, seed):
    """A server that is killed while it saves, again and again: only whole files have their names."""
    slots = pathlib.Path(work, "slots")
    sessions = whole = leftovers = 0
    for _ in range(4):
        with serve(work, "--cache", "tada:4:window=0") as server:
            leftovers += any(entry.name.startswith(".") for entry in slots.iterdir())
            server.slot("restore", "one")

            def save():
                for n in range(1000):
                    try:
                        server.slot("save", f"killed{n % 3}")
                    except (OSError, urllib.error.URLError):
                        return
            thread = threading.Thread(target=save)
            thread.start()
            time.sleep(0.3 + seed.random() * 0.5)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            thread.join()
        for entry in slots.iterdir():
            if not entry.name.startswith(".") and entry.name != "stock":
                sessions += 1
                subprocess.run([TADA, "unpack", str(entry), "-f", "-o", f"{work}/unpacked"], check=True, stdout=subprocess.DEVNULL)
                whole += pathlib.Path(work, "unpacked").read_bytes()[:4] == b"qsgg"
                os.unlink(f"{work}/unpacked")
    check("after kill -9 all sessions are whole", whole == sessions >= 4, (whole, sessions))
    check("what was left is removed at the next start", leftovers == 0, leftovers)


with tempfile.TemporaryDirectory() as folder:
    number = int(os.environ.get("SEED", random.randrange(2**31)))
    print(f"seed {number}")
    os.mkdir(f"{folder}/slots")
    if os.path.exists(f"{BIN}/../tests/make_plan"):
        choice_of_plans(folder)
        restores(folder)
    sessions(folder)
    killed(folder, random.Random(number))
finish()
