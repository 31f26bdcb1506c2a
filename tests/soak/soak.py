#!/usr/bin/env python3
"""Two llama-servers with the plug-in under random use for so many minutes.

    soak.py BIN_DIR MINUTES [--spec SPEC] [--seed N] [--model FILE] [--keep-log FILE]

`busy`: one cache for all slots, batches of all sizes, prefixes reused and shifted, prompts kept in RAM, drafts from
n-grams, contexts that overflow. Every request must be answered or refused as the engine would.

`exact`: a cache of its own for each slot, batches of one token, weights of Q4_1. Then the stock engine's answers do not
depend on what the other slots do (`--spec f16` shows it; with other batches or weights they do), nor on conversations that
go on, are cancelled before, or are saved and restored in between; so each finished answer must be that of a server with
one slot that computes the whole prompt. Not asked for: prompts that part from what a slot holds in the middle. A tile
is compressed as a whole, so the rows that were there leave a trace in those that stay. For the same reason what is put
into a slot before its session is restored ends with a tile: of a tile that still has some of the restored rows, these
keep their codes and the others get a layer of their own, with the same values, but sums over them are rounded otherwise.
And tiles are not refined: which ones are depends on all that the cache holds.

`busy` has room for all slots: a stock llama-server whose shared cache is full while it copies a prompt to a second answer
gets its positions wrong, and ends all answers ("Invalid input batch").

Both must live to the end, without an operation on the slow path, and after the first third their resident memory must not
grow by more than GROWTH.
"""
import argparse
import os
import pathlib
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "engine"))
import llama_server  # noqa: E402  (its folder has just been named)

SLOTS, CONTEXT, VOCABULARY, FIRST_TOKEN = 4, 512, 256, 3
TILE, OTHER = 64, 4  # the last token of an answer gets no cell
GROWTH = 12 * 1024  # KiB: what malloc may take more in fragments
RAM_CACHE = 4  # MiB of prompts, reached within the first third
LIST_LIMIT = 8  # of failures that are told in full

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("bin_dir")
arguments.add_argument("minutes", type=float)
arguments.add_argument("--spec", default="tada:4:window=64:refine=off")
arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32))
arguments.add_argument("--model", help="a GGUF file with a vocabulary of at least 256 tokens; a tiny random one by default")
arguments.add_argument("--keep-log", help="copy the servers' logs there")
options = arguments.parse_args()

end = time.monotonic() + options.minutes * 60
counts, failures, lock = {}, [], threading.Lock()


def count(what):
    with lock:
        counts[what] = counts.get(what, 0) + 1


def fail(what):
    with lock:
        failures.append(what)
        if len(failures) <= LIST_LIMIT:
            print(f"FAILED  {what}", flush=True)


def tokens(rng, n):
    return [rng.randrange(FIRST_TOKEN, VOCABULARY) for _ in range(n)]


def ask(server, prompt, n, slot=-1, **more):
    """A greedy answer."""
    return server.call("/completion", prompt=prompt, n_predict=n, id_slot=slot, temperature=0, ignore_eos=True,
                       return_tokens=True, **more)


def complete(server, prompt, n, slot, **more):
    return ask(server, prompt, n, slot, **more)["tokens"]


def reason_of(error):
    return error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else repr(error)


def may_refuse(server, what, path, codes=(400,), **body):
    try:
        server.call(path, **body)
        count(what)
    except urllib.error.HTTPError as error:
        if error.code not in codes:
            fail(f"{what}: {reason_of(error)}")
        count(f"{what}, refused")


# ---- busy: everything at once ----

def busy_worker(server, index):
    rng = random.Random(options.seed * 1000 + index)
    shared = [tokens(random.Random(options.seed + i), 150) for i in range(3)]
    repeated = tokens(rng, 8)
    while time.monotonic() < end:
        kind = rng.randrange(10)
        start = rng.choice(shared)
        # A piece of the prefix left out: what follows is found again further to the left.
        skipped = start[:40] + start[40 + rng.randrange(1, 40):]
        prompt = {0: tokens(rng, rng.randrange(1, 300)), 1: start + tokens(rng, rng.randrange(1, 60)),
                  2: skipped + tokens(rng, 20), 3: repeated * rng.randrange(2, 20)}.get(kind % 4)
        try:
            if kind < 5:
                # Drafts of a random model are hardly ever right, but those of an answer that is one token again and again.
                bias = {"logit_bias": [[repeated[0], 100]]} if kind % 4 == 3 else {}
                timings = ask(server, prompt, rng.randrange(1, 60), **bias)["timings"]
                count("busy: answers")
                # More than what both prompts begin with.
                if kind % 4 == 2 and timings["cache_n"] > 41:
                    count("busy: pieces of prompts reused")
                if timings.get("draft_n_accepted"):
                    count("busy: answers with accepted drafts")
            elif kind == 5:
                ask(server, prompt, CONTEXT + rng.randrange(300))
                count("busy: answers beyond the context")
            elif kind == 6:
                server.cancel("/completion", rng.randrange(12), prompt=prompt, n_predict=300, temperature=0.8,
                              ignore_eos=True)
                count("busy: cancelled")
            elif kind == 7:
                server.call("/completion", prompt=prompt, n_predict=rng.randrange(1, 30), n_cmpl=2)
                count("busy: two answers to one prompt")
            elif kind == 8:
                may_refuse(server, "busy: slots saved", f"/slots/{rng.randrange(SLOTS)}?action=save",
                           filename=f"busy{rng.randrange(3)}")
            else:
                # Not saved yet, or no place for it.
                may_refuse(server, "busy: slots restored", f"/slots/{rng.randrange(SLOTS)}?action=restore",
                           filename=f"busy{rng.randrange(3)}")
        except (OSError, urllib.error.URLError, ValueError) as error:
            reason = reason_of(error)
            if "context shift cannot be used" in reason:
                count("busy: two answers, too long to be shifted")
            elif time.monotonic() < end:
                fail(f"busy: {reason}")
                return


# ---- exact: answers that must be those of a single slot ----

def conversation(server, rng, slot, answered):
    history, first = tokens(rng, rng.randrange(1, 150)), True
    name = f"exact{slot}"
    what = "not restored"
    for turn in range(rng.randrange(1, 4)):
        n = rng.randrange(1, 60)
        if len(history) + n >= CONTEXT:
            return
        if rng.randrange(5) == 0:
            server.cancel("/completion", rng.randrange(8), prompt=history, n_predict=n, id_slot=slot, temperature=0,
                          ignore_eos=True, cache_prompt=not first)
            count("exact: cancelled")
            return
        answer = complete(server, history, n, slot, cache_prompt=not first)
        count("exact: answers")
        answered.put((list(history), answer, f"turn {turn} of slot {slot}, {what}"))
        if rng.randrange(3) == 0:
            may_refuse(server, "exact: slots saved", f"/slots/{slot}?action=save", (), filename=name)
            if rng.randrange(2):
                complete(server, tokens(rng, 2 * TILE - OTHER + 1), OTHER, slot, cache_prompt=False)
            else:
                may_refuse(server, "exact: slots erased", f"/slots/{slot}?action=erase", (), filename=name)
            may_refuse(server, "exact: slots restored", f"/slots/{slot}?action=restore", (), filename=name)
            what = "restored"
        history, first = history + answer + tokens(rng, rng.randrange(1, 40)), False


def exact_worker(server, index, answered):
    rng = random.Random(options.seed * 1000 + 100 + index)
    while time.monotonic() < end:
        try:
            conversation(server, rng, index, answered)
        except (OSError, urllib.error.URLError, ValueError) as error:
            if time.monotonic() < end:
                fail(f"exact: {reason_of(error)}")
            return


def checker(reference, answered, working):
    while working.is_set() or not answered.empty():
        try:
            prompt, answer, what = answered.get(timeout=0.5)
        except queue.Empty:
            continue
        wanted = complete(reference, prompt, len(answer), 0, cache_prompt=False)
        count("exact: answers compared")
        if wanted != answer:
            same = next((i for i, (a, b) in enumerate(zip(wanted, answer)) if a != b), min(len(wanted), len(answer)))
            again = complete(reference, prompt, len(answer), 0, cache_prompt=False)
            fail(f"exact: {what}: an answer to {len(prompt)} tokens differs from that of a single slot at token {same} of "
                 f"{len(answer)}{'' if again == wanted else ', which is not sure of it itself'}")


# ---- memory ----

def watch(servers, samples):
    while time.monotonic() < end:
        for name, server in servers.items():
            if server.alive():
                samples[name].append((time.monotonic(), server.resident_kib()))
        time.sleep(min(2, options.minutes))


def check_memory(name, samples):
    start, last = samples[0][0], samples[-1][0]
    third = (last - start) / 3
    early = max(kib for at, kib in samples if start + third * 0.5 <= at <= start + third)
    late = max(kib for at, kib in samples if at >= last - third)
    print(f"{name}: resident memory {early} KiB in the first third, {late} KiB in the last", flush=True)
    if late > early + GROWTH:
        fail(f"{name}: memory grows from {early} to {late} KiB")


def run(work, model):
    common = ["-m", model, "-t", "1", "-fa", "on", "--no-warmup", "--slot-save-path", f"{work}/"]
    exact = ["--no-kv-unified", "-b", "64", "-ub", "1", "--cache-ram", "0"]

    def server(name, *more):
        return llama_server.PluggedServer(os.path.abspath(options.bin_dir), options.spec, f"{work}/{name}.log", *common, *more,
                                   TADA_DEBUG="1", OMP_WAIT_POLICY="passive")
    with server("busy", "-np", str(SLOTS), "-c", str(CONTEXT * SLOTS), "--kv-unified", "--kv-unified-per-slot", str(CONTEXT),
                "--context-shift", "--cache-reuse", "16", "--cache-ram", str(RAM_CACHE), "-ub", "64",
                "--spec-type", "ngram-simple", "--spec-ngram-simple-size-n", "1",
                "--spec-ngram-simple-size-m", "8") as busy, \
            server("exact", "-np", str(SLOTS), "-c", str(CONTEXT * SLOTS), *exact) as several, \
            server("single", "-np", "1", "-c", str(CONTEXT), *exact) as single:
        servers = {"busy": busy, "exact": several, "single": single}
        samples = {name: [] for name in servers}
        answered, working = queue.Queue(maxsize=8), threading.Event()
        working.set()
        workers = [threading.Thread(target=busy_worker, args=(busy, i)) for i in range(SLOTS + 1)]
        workers += [threading.Thread(target=exact_worker, args=(several, i, answered)) for i in range(SLOTS)]
        others = [threading.Thread(target=watch, args=(servers, samples)),
                  threading.Thread(target=checker, args=(single, answered, working))]
        for thread in workers + others:
            thread.start()
        llama_server.join(workers, busy)
        working.clear()
        for thread in others:
            thread.join()
        for name, one in servers.items():
            if not one.alive():
                fail(f"{name}: the server ended with status {one.process.returncode}:\n{one.text()[-1500:]}")
            text = one.text()
            slow = [line for line in text.splitlines() if "takes the generic path" in line]
            if slow:
                fail(f"{name}: {len(slow)} operations on the slow path, as {slow[0]}")
            if options.spec.startswith("tada") and not one.is_compressed():
                fail(f"{name}: the cache is not ours")
            check_memory(name, samples[name])
            if options.keep_log:
                pathlib.Path(f"{options.keep_log}.{name}").write_text(text, encoding="utf-8")


print(f"seed {options.seed}, {options.minutes:g} minutes, {options.spec}", flush=True)
with tempfile.TemporaryDirectory() as folder:
    file = options.model or f"{folder}/model.gguf"
    if not options.model:
        maker = pathlib.Path(options.bin_dir).parent / "tests" / "make_model"
        subprocess.run([str(maker), f"{folder}/exact.gguf", "shape", "gqa-64"], check=True)
        # The CPU multiplies by weights of this type row by row; of others several rows at once, in another order.
        subprocess.run([llama_server.tool(options.bin_dir, "llama-quantize"), f"{folder}/exact.gguf", file, "Q4_1"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run(folder, file)
for what, many in sorted(counts.items()):
    print(f"{many:8} {what}")
for needed in ("busy: answers", "busy: answers beyond the context", "busy: cancelled", "busy: slots restored",
               "busy: pieces of prompts reused", "busy: answers with accepted drafts", "exact: answers compared",
               "exact: slots restored", "exact: cancelled"):
    if not counts.get(needed):
        fail(f"never happened: {needed}")
print(f"{len(failures)} failures (seed {options.seed})")
sys.exit(len(failures) > 0)
