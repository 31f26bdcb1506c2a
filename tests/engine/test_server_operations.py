#!/usr/bin/env python3
"""Everything that llama-server does with a cache, on tiny random models: it happens, and none of it takes the slow path.

    test_server_operations.py BIN_DIR
"""
import concurrent.futures
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import llama_server
from llama_server import check

BIN = os.path.abspath(sys.argv[1])
MAKE = pathlib.Path(BIN).parent / "tests" / "make_model"
SPEC = "tada:4:window=64"
def make(folder, kind, shape):
    path = f"{folder}/{shape}.{kind}.gguf"
    if not os.path.exists(path):
        subprocess.run([str(MAKE), path, kind, shape], check=True)
    return path


def tokens(seed, n):
    rng = random.Random(seed)
    return [rng.randrange(3, 256) for _ in range(n)]


class Server(llama_server.PluggedServer):
    """With four slots, on the model of that shape."""

    def __init__(self, name, folder, shape, *arguments, spec=SPEC):
        self.name, self.folder = name, folder
        super().__init__(BIN, spec, f"{folder}/{name}.log", "-m", make(folder, "shape", shape), "-t", "1", "-np", "4",
                         "-c", "2048", "-fa", "on", "--no-warmup", "-lv", "4", "--slot-save-path", f"{folder}/",
                         *arguments, TADA_DEBUG="1", OMP_WAIT_POLICY="passive")

    def __exit__(self, *error):
        text, compressed = self.text(), self.is_compressed()
        slow = [line for line in text.splitlines() if "takes the generic path" in line]
        super().__exit__(*error)
        check(f"{self.name}: nothing on the slow path", not slow, slow[:3])
        check(f"{self.name}: the cache is ours", compressed)

    def complete(self, prompt, n=20, slot=-1, **more):
        return self.call("/completion", prompt=prompt, n_predict=n, id_slot=slot, temperature=0, ignore_eos=True,
                         return_tokens=True, **more)

    def four(self, n_prompt=150, n=30, salt=0):
        """At once, one in each slot."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda s: self.complete(tokens(s + salt, n_prompt), n, s), range(4)))
        check(f"{self.name}: four answers at once", all(len(a["tokens"]) == n for a in answers))
        return answers

    def says(self, what, text):
        check(f"{self.name}: {what}", text in self.text(), f"'{text}' is not in the log")


def save_and_restore(server):
    prompt = tokens(9, 200)
    server.complete(prompt, 10, 0)
    saved = server.call("/slots/0?action=save", filename="state")
    plain = server.complete(prompt, 20, 0)["tokens"]
    server.call("/slots/0?action=erase", filename="state")
    restored = server.call("/slots/0?action=restore", filename="state")
    again = server.complete(prompt, 20, 0)
    check(f"{server.name}: a slot saved and restored", restored["n_restored"] == saved["n_saved"] > 200, restored)
    check(f"{server.name}: ... goes on from there", again["timings"]["prompt_n"] < 100, again["timings"])
    check(f"{server.name}: ... with the same answer", again["tokens"] == plain, (again["tokens"], plain))


def reuse_and_shift(server):
    prompt = tokens(20, 200)
    server.complete(prompt, 4, 1)
    timings = server.complete(prompt[:50] + prompt[70:], 4, 1)["timings"]
    check(f"{server.name}: a piece of a prompt is reused", timings["cache_n"] > 100, timings)
    server.complete(tokens(21, 100), 700, 2)
    server.says("a context is shifted", "slot context shift")


def prompts_in_ram(server):
    for salt in range(100, 106):
        server.complete(tokens(salt, 200), 4, 3)
    timings = server.complete(tokens(101, 200) + tokens(1, 10), 4)["timings"]
    check(f"{server.name}: a prompt comes back from RAM", timings["cache_n"] > 150, timings)


def rewinding(server):
    """Prompts that part from the one before near its end: what rings and recurrent states held there is in a checkpoint."""
    prompt = tokens(30, 300)
    server.complete(prompt, 20, 0)
    for salt in range(3):
        timings = server.complete(prompt[:298] + tokens(31 + salt, 20), 20, 0)["timings"]
        check(f"{server.name}: a prompt is kept but for its end", timings["cache_n"] > 200, timings)


def drafts(server, least=1):
    # What repeats itself is easily drafted; what a model without sense answers is not always such.
    accepted = drafted = 0
    for salt in range(40, 45):
        timings = server.complete(tokens(salt, 6) * 20, 120, 0)["timings"]
        accepted += timings.get("draft_n_accepted", 0)
        drafted += timings.get("draft_n", 0)
    check(f"{server.name}: of {drafted} drafted tokens {accepted} are accepted", least <= accepted < drafted)


def adapters(server):
    prompt = tokens(50, 100)
    with_adapter = server.complete(prompt, 20, 0)["tokens"]
    server.complete(prompt, 20, 1)
    without = server.complete(prompt, 20, 0, lora=[{"id": 0, "scale": 0.0}])["tokens"]
    check(f"{server.name}: the adapter changes the answer", with_adapter != without)


def embeddings(folder):
    vectors = []
    for spec in (SPEC, "tada:16"):
        with Server(f"embeddings with {spec}", folder, "gqa-64", "--embeddings", "--pooling", "mean",
                    spec=spec) as server:
            vectors.append(server.call("/embeddings", content=tokens(60, 300))[0]["embedding"][0])
    a, b = vectors
    cosine = sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    check(f"embeddings: those of an exact cache (cosine {cosine:.4f})", cosine > 0.98)


with tempfile.TemporaryDirectory() as work:
    with Server("split", work, "gqa-64", "-no-kvu", "--context-shift", "--cache-reuse", "16", "--cache-ram", "64") as one:
        one.four()
        save_and_restore(one)
        reuse_and_shift(one)
        prompts_in_ram(one)
        copied = one.call("/completion", prompt=tokens(5, 150), n_predict=8, n_cmpl=3, temperature=0)
        check("split: a prompt that is copied to other streams has the same answer there",
              len(copied) == 3 and len({a["content"] for a in copied}) == 1, copied)
    with Server("unified", work, "gqa-96", "-kvu", "--kv-unified-per-slot", "512", "--context-shift", "--cache-reuse",
                "16", "--cache-ram", "64", "--spec-type", "ngram-simple", "--spec-ngram-simple-size-n", "3",
                "--spec-ngram-simple-size-m", "6") as one:
        one.four()
        save_and_restore(one)
        reuse_and_shift(one)
        prompts_in_ram(one)
        drafts(one)
    for family in ("window-64", "sinks", "conv", "mamba"):
        with Server(family, work, family, "-ub", "64", "--cache-ram", "64") as one:
            one.four()
            rewinding(one)
            prompts_in_ram(one)
    with Server("draft", work, "gqa-64", "-md", make(work, "shape", "mha-32"), "--spec-type", "draft-simple") as one:
        one.four()
        drafts(one)
    with Server("hybrid drafts", work, "conv", "-md", make(work, "shape", "mamba"), "--spec-type",
                "draft-simple") as one:
        drafts(one, 0)
    with Server("adapter", work, "gqa-64", "--lora", make(work, "adapter", "gqa-64")) as one:
        adapters(one)
    embeddings(work)
llama_server.finish()
