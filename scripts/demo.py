#!/usr/bin/env python3
"""A long text in the context, a fact to find in it, and the same question with the f16 cache and with ours: memory,
answer, speed, closeness to f16, and the context that fits into a given memory. All figures are measured in this run.
   demo.py BIN_DIR MODEL [SPEC]     SPEC: cache spec (default: tada)"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent
# The text is made of the project's own documents, those with the most prose first.
DOCUMENTS = ["doc/design/plug-in.md", "doc/design/centring.md", "doc/reference/session.md", "doc/guide/serve.md",
             "doc/guide/rpc.md", "doc/reference/plan.md", "doc/guide/metrics.md", "CONTRIBUTING.md"]
N_CHARACTERS = 16000  # some 4000 tokens
NUMBER = "48213"
FACT = f"Note for the lighthouse keeper: the secret number of the lighthouse is {NUMBER}. Do not forget it."
QUESTION = "\n\nQuestion: What is the secret number of the lighthouse?\nAnswer: The secret number of the lighthouse is"
N_DECODE = 48
LIMIT_S = 110  # for all of it, if the computer can: on a slow one fewer tokens are compared
EVAL_CTX = (512, 1024, 1536, 2048)
EVAL_CACHES = 4  # f16, floor, q4_0 and ours
EVAL_SPEED = 0.6  # of that of prefill, as evaluation computes batches of 32
MEMORIES = ("512M", "1G", "2G", "4G", "8G", "16G", "32G", "64G", "128G")
COLUMNS = 80
EVERY_S = 30  # what takes longer tells how long it goes on


class Failed(Exception):
    pass


def document():
    """Paragraphs of prose, without tables, code and headings, with the fact in the middle."""
    paragraphs = []
    for name in DOCUMENTS:
        text = re.sub(r"```.*?```", "", (SOURCE / name).read_text(encoding="utf-8"), flags=re.S)
        for paragraph in re.split(r"\n\s*\n", text):
            words = re.sub(r"[`*]|\]\([^)]*\)|\[", "", " ".join(paragraph.split()))
            if len(words) > 120 and words[0].isalpha() and " | " not in words and "<!--" not in words:
                paragraphs.append(words)
    kept, length = [], 0
    for paragraph in paragraphs:
        if length + len(paragraph) > N_CHARACTERS:
            break
        kept.append(paragraph)
        length += len(paragraph)
    kept.insert(len(kept) // 2, FACT)
    return "\n\n".join(kept)


class Demo:
    def __init__(self, folder, binaries, model, spec):
        self.folder, self.binaries, self.model, self.spec = folder, binaries, model, spec
        self.threads = len(os.sched_getaffinity(0))
        self.environment = {name: value for name, value in os.environ.items()
                            if name not in ("TADA_CACHE", "GGML_BACKEND_PATH", "TADA_METRICS") and
                            not name.startswith("LLAMA_ARG_")}
        self.environment["TMPDIR"] = str(folder)
        self.step = 0

    def tell(self, what):
        self.step += 1
        print(f"{self.step}/4 {what}", end="", flush=True)
        return time.monotonic()

    @staticmethod
    def done(start):
        print(f"  {time.monotonic() - start:.0f} s", flush=True)

    @staticmethod
    def wait_for(process):
        """Standard output, once it has ended."""
        start = time.monotonic()
        try:
            while True:
                try:
                    return process.communicate(timeout=EVERY_S)[0]
                except subprocess.TimeoutExpired:
                    seconds = int(time.monotonic() - start)
                    print(f"\n    after {seconds // 60}:{seconds % 60:02}", end="", flush=True)
        except BaseException:
            process.kill()
            raise

    def run(self, name, command, **variables):
        """Returns standard output; the log goes to a file in the folder."""
        log = self.folder / f"{name}.log"
        with open(log, "wb") as stream, subprocess.Popen(
                [str(self.binaries / "tada"), *command], env={**self.environment, **variables}, stderr=stream,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            output = self.wait_for(process)
        self.log = log.read_text(encoding="utf-8", errors="replace")
        if process.returncode == 130 or process.returncode < 0:
            raise KeyboardInterrupt
        if process.returncode != 0:
            lines = self.log.splitlines()
            said = [line for line in lines if line.startswith("tada: ")] or lines[-20:]
            raise Failed(f"'tada {command[0]}' failed:\n" + "\n".join(said))
        return output.decode("utf-8", "replace")

    def answer(self, name, spec, n_ctx):
        # -lv 4 is the level at which llama.cpp tells the size of the cache.
        text = self.run(name, ["run", "--cache", spec, "--tool", "completion", "--", "-m", self.model, "-f",
                               str(self.folder / "prompt.txt"), "-n", str(N_DECODE), "-c", str(n_ctx), "-t",
                               str(self.threads), "--temp", "0", "--seed", "1", "-no-cnv", "--ignore-eos",
                               "--no-display-prompt", "-lv", "4", "--log-colors", "off", "-fit", "off"], TADA_LOG="1")
        # Else a plug-in that llama.cpp turned down would be shown as one that changes nothing.
        if spec == self.spec and "TADA" not in "".join(re.findall(r".*KV buffer size.*", self.log)):
            raise Failed(f"llama.cpp did not use the cache: run '{self.binaries}/tada doctor' to see why")
        caches = re.findall(r"KV buffer size = +([0-9.]+) MiB", self.log)
        scratch = re.findall(r"TADA: scratch = +([0-9.]+) MiB", self.log)
        prefill = re.search(r"prompt eval time = .*?/ +([0-9]+) tokens.*?([0-9.]+) tokens per second", self.log)
        decode = re.search(r"(?<!prompt )eval time = .*?([0-9.]+) tokens per second", self.log)
        if not caches or not prefill or not decode:
            raise Failed("the log of llama-completion lacks size or speed: use the llama.cpp that TaDA was built for")
        # A model can have several caches; the scratch only grows, and the last line counts.
        return {"mib": sum(map(float, caches)) + float((scratch or [0])[-1]), "n": int(prefill.group(1)),
                "prefill": float(prefill.group(2)), "decode": float(decode.group(1)), "text": text}

    def largest_contexts(self):
        """The tokens that fit into the least memory of the list into which some fit with f16."""
        for memory in MEMORIES:
            try:
                report = json.loads(self.run("size", ["size", "-m", self.model, "-np", "1", "--memory", memory, "-t",
                                                      str(self.threads), "--cache", f"q4_0,{self.spec}", "--json", "-"]))
            except Failed:
                if "Not even a context" not in self.log:
                    raise
                continue
            largest = {row["cache"]: row["largest"] for row in report["results"]}
            if all(largest.get(cache) for cache in ("f16", self.spec)):
                return memory, {cache: fits["n_ctx"] for cache, fits in largest.items() if fits}
        raise Failed("not even 128 GiB are enough for this model: use a smaller one")


def shown(text):
    """The answer up to the end of its first sentence."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return re.split(r"(?<=[.!?]) |(?= ?Question:)", text)[0][:22]


def times(ratio):
    return f"{ratio:.2f} x f16" + (", slower" if ratio < 0.97 else ", as fast" if ratio < 1.03 else ", faster")


def screen(demo, plain, ours, scores, memory, fits, seconds):
    name = demo.spec if len(demo.spec) <= 12 else demo.spec[:9] + "..."
    model = os.path.basename(demo.model)
    share = ours["mib"] / plain["mib"]

    def row(label, one, two, note=""):
        return f"{label:<26}{one:>12}{two:>14}   {note}".rstrip()

    def bar(part):
        return "#" * max(1, round(20 * part))

    def score(cache, key):
        return scores[cache][key] if cache in scores else None

    lines = ["=" * COLUMNS,
             f"{plain['n']} tokens in the context, {demo.threads} thread{'s' * (demo.threads > 1)}, {seconds:.0f} s; {model}"[:COLUMNS], "",
             row("", "f16", name),
             row("cache, MiB", f"{plain['mib']:.1f}", f"{ours['mib']:.1f}", f"{share:.1%}  {bar(share)}"),
             row("decode, tokens/s", f"{plain['decode']:.1f}", f"{ours['decode']:.1f}",
                 times(ours["decode"] / plain["decode"])),
             row("prefill, tokens/s", f"{plain['prefill']:.1f}", f"{ours['prefill']:.1f}",
                 times(ours["prefill"] / plain["prefill"])),
             row("answer", *(shown(each["text"])[:12] for each in (plain, ours)),
                 f"hidden in the text: {NUMBER}"),
             row(f"context in {memory}", fits["f16"], fits[demo.spec],
                 f"tokens; q4_0 {fits['q4_0']}" if "q4_0" in fits else "tokens"), "",
             f"How close to f16, over {scores['f16']['tokens']} tokens of the text (the next token given):",
             f"{'':<26}{'floor*':>12}{name:>14}{'q4_0':>12}"]
    for label, key, form in (("same most likely token", "top1", "{:.1%}"), ("mean KL divergence", "kld_mean", "{:.4f}"),
                             ("perplexity, x f16", "ppl_ratio", "{:.4f}")):
        values = [score(cache, key) for cache in ("floor", demo.spec, "q4_0")]
        lines.append(f"{label:<26}" + "".join(f"{'-' if value is None else form.format(value):>{width}}"
                                                   for value, width in zip(values, (12, 14, 12))))
    lines += ["* f16 computed in other batches: what rounding alone does", "",
              "Next, your own model: make demo DEMO_MODEL=model.gguf, or",
              f"  {os.path.relpath(demo.binaries)}/tada run -m model.gguf -c 32768"]
    return lines


def eval_context(prefill, seconds):
    """The longest text that is compared in the seconds that are left, or the shortest one."""
    fits = [n for n in EVAL_CTX if n * EVAL_CACHES <= seconds * prefill * EVAL_SPEED]
    return fits[-1] if fits else EVAL_CTX[0]


def run(demo):
    start = time.monotonic()
    (demo.folder / "document.txt").write_text(document(), encoding="utf-8")
    (demo.folder / "prompt.txt").write_text(document() + QUESTION, encoding="utf-8")
    at = demo.tell("How much context fits into how much memory...")
    memory, fits = demo.largest_contexts()
    demo.done(at)
    answers = []
    for name, spec in (("f16", "f16"), ("ours", demo.spec)):
        at = demo.tell(f"The model reads a long text and answers a question, with the {spec} cache...")
        answers.append(demo.answer(name, spec, 5120))
        demo.done(at)
    at = demo.tell("How close each cache is to f16, token by token...")
    n_ctx = eval_context(answers[0]["prefill"], LIMIT_S - (at - start))
    report = json.loads(demo.run("eval", ["eval", "-m", demo.model, "-f", str(demo.folder / "document.txt"), "-c",
                                          str(n_ctx), "--chunks", "1", "-t", str(demo.threads), "--cache",
                                          f"q4_0,{demo.spec}", "--json", "-"]))
    demo.done(at)
    scores = {row["cache"]: row for row in report["results"]}
    print("\n".join(screen(demo, *answers, scores, memory, fits, time.monotonic() - start)))


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: demo.py BIN_DIR MODEL [SPEC]")
    binaries, model = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    for tool in ("tada", "llama-completion"):
        if not os.access(binaries / tool, os.X_OK):
            sys.exit(f"demo.py: {binaries}/{tool} is missing: run 'make demo', or give the folder with the tools")
    if not os.access(model, os.R_OK):
        sys.exit(f"demo.py: the model {model} cannot be read: give the path of a GGUF file")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="tada-demo-") as folder:
            run(Demo(pathlib.Path(folder), binaries, model, sys.argv[3] if len(sys.argv) == 4 else "tada"))
    except KeyboardInterrupt:
        sys.exit("\ndemo.py: interrupted")
    except Failed as failed:
        sys.exit(f"\ndemo.py: {failed}")


if __name__ == "__main__":
    main()
