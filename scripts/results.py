#!/usr/bin/env python3
"""Writes what was measured: doc/results.json, and from that doc/results.md, the figures and the tables of README and guides.

    results.py [MEASURE_DIR]     takes new results of scripts/measure.sh into doc/results.json first
    results.py --check           exits with 1 where a document says something else than doc/results.json
"""
import json
import math
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent
DATA = SOURCE / "doc/results.json"
MODELS = {"smollm2": "SmolLM2-135M", "qwen": "Qwen2.5-Coder-0.5B"}
COLOURS = {"f16": "#555555", "q8_0": "#1b6ca8", "q4_0": "#c23b22", "kivi:4": "#b8860b", "tada:high": "#4a9a70", "tada": "#1a7f4b",
           "tada:compact": "#4a9a70", "tada:refine=off": "#4a9a70"}
SCORES = ("cache", "memory_ratio", "ppl", "ppl_ratio", "kld_mean", "kld_mean_se", "kld_median", "kld_p999", "top1", "at_floor",
          "verdict")
GENERATED = ("cache", "memory_ratio", "kld_mean", "kld_mean_se", "top1", "leaves_at")
SPEEDS = ("cache", "depth", "memory_ratio", "peak_bytes", "decode", "prefill")


# ---- doc/results.json ----

def picked(step, result):
    """What documents need of a result, without paths of the computer that it was measured on."""
    def rows(where, names):
        return [{name: row[name] for name in names if name in row} for row in where]
    kind = step.split("-")[0]
    if kind in ("quality", "plan"):
        return rows(result["results"], SCORES)
    if kind == "generate":
        part = result["generate"]
        return {"tokens": part["tokens"], "results": rows(part["results"], GENERATED)}
    if kind == "speed":
        return rows(result["results"], SPEEDS)
    if kind == "sizes":
        return [{"n_ctx": each["n_ctx"], "results": [
            {"cache": row["cache"], "memory_ratio": row["memory_ratio"], "kv_bytes": row["kv_bytes"],
             "largest": row.get("largest") and row["largest"]["n_ctx"]} for row in each["results"]]} for each in result]
    if kind == "attention":
        return [{"dim": row["dim"], "group": row["group"], "ratio": row["ratio_median"],
                 "ns": row["tada"]["ns_median"], "ns_ggml": row["ggml"]["ns_median"], "error": row["tada"]["rms_error"],
                 "error_ggml": row["ggml"]["rms_error"]} for row in result["results"]]
    return result


def take(folder):
    data = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "step" in record:
            data[record["step"]] = {**record, "result": picked(record["step"], record["result"])}
    DATA.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")


class Data:
    def __init__(self, steps):
        self.steps = steps

    def get(self, step):
        return self.steps[step]["result"] if step in self.steps else None

    def row(self, step, cache):
        rows = self.get(step)
        rows = rows["results"] if isinstance(rows, dict) else rows
        return next((row for row in rows or [] if row["cache"] == cache), None)

    def speed(self, cache, depth, test):
        return next((row[test] for row in self.get("speed") or [] if (row["cache"], row["depth"]) == (cache, depth)), None)


# ---- numbers and tables ----

def table(heads, rows, n_words=0):
    """The last n_words columns are words, those before them numbers."""
    form = ["---"] + ["---:"] * (len(heads) - 1 - n_words) + ["---"] * n_words
    return "\n".join("| " + " | ".join(row) + " |" for row in [heads, form, *rows])


def percent(value, digits=1):
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def cell(row, form):
    return form(row) if row else "-"


def short(value):
    """Two figures that count."""
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}" if 0 < value < 10 else f"{value:.0f}"


QUALITY_ROWS = ("floor", "q8_0", "tada:high", "q4_0", "tada", "tada:compact")


def readme_quality(data):
    """Of the models that were measured; before any was, of all."""
    models = [model for model in reversed(MODELS) if data.get(f"quality-{model}")] or list(reversed(MODELS))
    heads = ["cache"]
    for model in models:
        heads += [f"{MODELS[model]}: memory", "perplexity", "same next token", "KL divergence"]
    rows = []
    for cache in QUALITY_ROWS:
        row = [f"**`{cache}`**" if cache == "tada" else f"`{cache}`"]
        for model in models:
            found = data.row(f"quality-{model}", cache)
            row += [cell(found, lambda r: percent(r["memory_ratio"])), cell(found, lambda r: f"x {r['ppl_ratio']:.3f}"),
                    cell(found, lambda r: percent(r["top1"])), cell(found, lambda r: short(r["kld_mean"]))]
        rows.append(row)
    return table(heads, rows)


def choice(data):
    sizes = {each["n_ctx"]: {row["cache"]: row for row in each["results"]} for each in (data.get("sizes") or [])[:2]}
    use = {"tada": "the default", "tada:high": "when nothing may change", "tada:compact": "when memory is what counts",
           "q8_0": "llama.cpp's own, for comparison"}
    if 32768 in sizes:
        times = sizes[32768]["tada:high"]["kv_bytes"] / sizes[32768]["tada"]["kv_bytes"]
        use["tada:high"] += f": {times:.1f} times the memory of `tada`"
    rows = []
    for cache in ("tada", "tada:high", "tada:compact", "q8_0"):
        verdicts = [row.get("verdict") for model in MODELS if (row := data.row(f"quality-{model}", cache))]
        quality = " / ".join(dict.fromkeys(verdict for verdict in verdicts if verdict)) or "-"
        rows.append([f"`{cache}`", *(cell(sizes.get(n, {}).get(cache), lambda r: percent(r["memory_ratio"])) for n in (4096, 32768)),
                     quality, use[cache]])
    plan = [row for model in MODELS for row in data.get(f"plan-{model}") or [] if row["cache"].startswith("plan")]
    rows.append(["a plan", percent(plan[0]["memory_ratio"]) if plan else "as you say", "as you say",
                 " / ".join(dict.fromkeys(row["verdict"] for row in plan if row.get("verdict"))) or "-",
                 "made for one model and a budget by `tada calibrate`"])
    return table(["cache", "memory at 4096 tokens", "at 32768", "quality", "use it"], rows, 2)


def readme_demo(data):
    return "\n".join(["```text", *(data.get("demo") or ["(not measured yet on this state: scripts/measure.sh demo)"]), "```"])


def readme_said(data):
    """The line of tada run."""
    rows = {row["cache"]: row for each in data.get("sizes") or [] if each["n_ctx"] == 32768 for row in each["results"]}
    words = "(not measured yet on this state: scripts/measure.sh sizes)"
    if rows:
        ours, f16 = (rows[cache]["kv_bytes"] for cache in ("tada", "f16"))
        words = (f"tada: cache tada, context 32768: {ours / 1048576:.1f} MiB instead of {f16 / 1048576:.1f} MiB in f16, "
                 f"{100 * (1 - ours / f16):.0f} % saved")
    return "```text\n" + words + "\n```"


def speed_table(data):
    rows = []
    for test, depths in (("decode", (0, 2048, 8064)), ("prefill", (0, 2048, 8064))):
        for cache in ("f16", "q8_0", "q4_0", "tada"):
            found = [data.speed(cache, depth, test) for depth in depths]
            if not any(found):
                continue
            rows.append([f"{test}, `{cache}`", *(cell(each, lambda e: f"{e['median']:.0f} (x {e['ratio']:.2f})") for each in found)])
    return table(["tokens/s (times f16)", "depth 0", "2048", "8064"], rows)


# ---- figures ----

def text(x, y, words, size=13, anchor="start", colour="#222222", weight="normal"):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    # The white edge keeps lines behind them from crossing words out.
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}" stroke="white" stroke-width="3" paint-order="stroke">{words}</text>')


def svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="Helvetica, Arial, sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n' +
            "\n".join(parts) + "\n</svg>\n")


def line(x1, y1, x2, y2, colour="#dddddd", width=1, dash=""):
    dash = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"{dash}/>'


def place_labels(points):
    """(x, y, name) of the label to the right of each point, as near as may be without lying on another one or on a point."""
    placed = []

    def is_free(x, y, name):
        end = x + 8 * len(name)
        return (all(end < other_x or x > other_x + 8 * len(other) or abs(y - other_y) >= 14 for other_x, other_y, other in placed) and
                all(other == name or not (x - 6 < px < end and abs(y - 4 - py) < 11) for px, py, other in points))
    for x, y, name in sorted(points):
        offsets = sorted(range(-60, 61, 2), key=abs)
        at = next((y + 4 + offset for offset in offsets if is_free(x + 9, y + 4 + offset, name)), y + 4)
        placed.append((x + 9, at, name))
    return placed


def quality_figure(data):
    """Memory to the right, KL divergence upwards on a logarithmic scale."""
    panel, height, parts = 400, 330, []
    shown = ("q8_0", "q4_0", "kivi:4", "tada:high", "tada", "tada:compact")
    models = [model for model in MODELS if data.get(f"quality-{model}")]
    for column, model in enumerate(models):
        rows = [row for cache in shown if (row := data.row(f"quality-{model}", cache))]
        floor = data.row(f"quality-{model}", "floor")
        low = math.floor(math.log10(floor["kld_mean"]))
        high = math.ceil(math.log10(max(row["kld_mean"] for row in rows)))
        left, right, top, bottom = column * panel + 62, column * panel + 385, 40, height - 48

        def at_x(share):
            return left + (share - 0.2) / 0.4 * (right - left)

        def at_y(value):
            return bottom - (math.log10(value) - low) / (high - low) * (bottom - top)
        parts.append(text(left, 24, MODELS[model], 15, weight="bold"))
        for power in range(low, high + 1):
            parts += [line(left, at_y(10 ** power), right, at_y(10 ** power)),
                      text(left - 6, at_y(10 ** power) + 4, f"{10.0 ** power:g}", 12, "end")]
        for share in (20, 30, 40, 50, 60):
            parts.append(text(at_x(share / 100), bottom + 18, f"{share} %", 12, "middle"))
        parts.append(text((left + right) / 2, bottom + 36, "memory of the cache, of f16", 13, "middle"))
        parts.append(line(left, at_y(floor["kld_mean"]), right, at_y(floor["kld_mean"]), "#555555", 1, "4 3"))
        parts.append(text(left + 4, at_y(floor["kld_mean"]) + 13, "rounding alone", 11, colour="#555555"))
        points = [(at_x(row["memory_ratio"]), at_y(row["kld_mean"]), row["cache"]) for row in rows]
        for x, y, name in place_labels(points):
            parts.append(text(x, y, name, 13, colour=COLOURS[name], weight="bold" if name == "tada" else "normal"))
        for x, y, name in points:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if name == "tada" else 4.5}" fill="{COLOURS[name]}"/>')
    parts.append(f'<g transform="rotate(-90 14 {height / 2})">' +
                 text(14, height / 2, "KL divergence from f16 (less is better)", 13, "middle") + "</g>")
    return svg(len(models) * panel, height, parts) if models else None


def speed_figure(data):
    rows = data.get("speed")
    if not rows:
        return None
    width, height, parts = 560, 320, []
    left, right, top, bottom = 60, 450, 40, 272
    depths = sorted({row["depth"] for row in rows})
    most = 1.1 * max(row["decode"]["median"] for row in rows)
    step = 10 ** math.floor(math.log10(most)) / (2 if most < 2.5 * 10 ** math.floor(math.log10(most)) else 1)
    parts.append(text(left, 24, f"Decoding, {MODELS['smollm2']}, {data.steps['speed']['threads']} threads", 15, weight="bold"))

    def at(depth, speed):
        return left + depth / depths[-1] * (right - left), bottom - speed / most * (bottom - top)
    for n in range(int(most / step) + 1):
        y = at(0, n * step)[1]
        parts += [line(left, y, right, y), text(left - 6, y + 4, f"{n * step:g}", 12, "end")]
    for depth in depths:
        parts.append(text(at(depth, 0)[0], bottom + 18, str(depth), 12, "middle"))
    parts.append(text((left + right) / 2, bottom + 36, "tokens in the context", 13, "middle"))
    parts.append(f'<g transform="rotate(-90 14 {height / 2})">' + text(14, height / 2, "tokens per second", 13, "middle") + "</g>")
    ends = []
    for cache in ("f16", "q8_0", "q4_0", "tada"):
        line_of = [at(row["depth"], row["decode"]["median"]) for row in sorted(rows, key=lambda row: row["depth"])
                   if row["cache"] == cache]
        if not line_of:
            continue
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line_of)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[cache]}" '
                     f'stroke-width="{3.5 if cache == "tada" else 2}"/>')
        ends.append((*line_of[-1], cache))
    for x, y, name in place_labels(ends):
        parts.append(text(x, y, name, 13, colour=COLOURS[name], weight="bold" if name == "tada" else "normal"))
    return svg(width, height, parts)


# ---- doc/results.md ----

def measured(data, *steps):
    """What stands above a table: commit, computer, date; commands."""
    found = [data.steps[step] for step in steps if step in data.steps]
    if not found:
        return "Not measured yet on this state: `scripts/measure.sh " + " ".join(steps) + "`."
    of = sorted({f"commit {each['commit']}, {each['cpu']}, {each['date']}" for each in found})
    commands = dict.fromkeys(each["command"] for each in found)
    return "Measured: " + "; ".join(of) + ".\n\nCommand: " + ", ".join(f"`{command}`" for command in commands)


def by_model(data, measure, table_of):
    """A part for each model: what its step says, and the table of it, where it was measured."""
    parts = []
    for model, name in MODELS.items():
        step = f"{measure}-{model}"
        parts += [f"### {name}", measured(data, step)]
        if step in data.steps:
            parts.append(table_of(data.get(step)))
    return parts


def document(data):
    parts = ["# Results", "This page and the figures are written by `scripts/results.py` from [results.json](results.json), which "
             "`scripts/measure.sh` fills: `TEXT=wiki.txt QWEN=qwen-f16.gguf scripts/measure.sh`. Each part names the commit, the "
             "computer and the date. Words are explained in the [glossary](reference/glossary.md).",
             "## Quality", "The model reads 4096 tokens of WikiText-2 (validation); the second half is scored. Weights are f16, "
             "batches have 32 tokens for all caches. Memory counts everything that the cache keeps, and the plug-in's working "
             "memory, which the table under Memory leaves out. `floor` is f16 in other batches: what rounding alone does. "
             "`tada:refine=off` shows the cache as it is where no memory is left to refine tiles. The last column is explained by "
             "`tada help eval`."]
    parts += by_model(data, "quality", lambda rows: table(
        ["cache", "memory", "perplexity", "same next token", "KL divergence: mean", "median", "99.9 %", ""], [
            [f"`{row['cache']}`", percent(row["memory_ratio"]), f"{row['ppl']:.3f}",
             percent(row["top1"], 2), f"{row['kld_mean']:.5f} ± {row['kld_mean_se']:.5f}", f"{row['kld_median']:.5f}",
             f"{row['kld_p999']:.3f}", row.get("verdict", "")] for row in rows], 1))
    parts += ["## Token by token", "Greedy decoding of 512 tokens after 1536: each cache is given the text that f16 writes."]
    parts += by_model(data, "generate", lambda found: table(
        ["cache", "memory", "KL divergence: mean", "same next token", "leaves the text of f16 at token"], [
            [f"`{row['cache']}`", percent(row["memory_ratio"]), f"{row['kld_mean']:.6f}", percent(row["top1"], 2),
             ", ".join("never" if place is None else str(place) for place in row["leaves_at"])] for row in found["results"]]))
    parts += ["## Plans", "Calibrated on the second half of the text for 27 % of f16, measured on the first like the caches above."]
    parts += by_model(data, "plan", lambda rows: table(
        ["cache", "memory", "same next token", "KL divergence: mean"], [
            [row["cache"], percent(row["memory_ratio"]), percent(row["top1"], 2), f"{row['kld_mean']:.5f} ± {row['kld_mean_se']:.5f}"]
            for row in rows if row["cache"] != "f16"]))
    parts += ["## Memory", measured(data, "sizes")]
    sizes = data.get("sizes")
    if sizes:
        parts += [f"{MODELS['smollm2']}, one sequence. The last column: tokens of context that fit into 512 MiB, weights and all.",
                  table(["KV cache"] + [f"at {each['n_ctx']}" for each in sizes[:2]] + ["fits in 512 MiB"], [
                      [f"`{one['cache']}`", *(f"{row['kv_bytes'] / 1048576:.1f} MiB, {percent(row['memory_ratio'])}" for row in (one, two)),
                       str(most["largest"] or "-")] for one, two, most in zip(*(each["results"] for each in sizes))])]
    parts += ["## Speed", f"{MODELS['smollm2']}, Q4_1 weights; caches take turns in one process. Tokens per second, the median of "
              "three repetitions, and its ratio to f16.", measured(data, "speed")]
    if data.get("speed"):
        parts.append(speed_table(data))
    pairs = []
    for step, label in (("decode-8064", "decode at 8064"), ("prefill-7168", "prefill of 512 at 7168")):
        rows = data.get(step)
        if rows:
            one, two = ([row["speed"] for row in rows if row["cache"] == cache] for cache in ("f16", "tada"))
            ratios = sorted(b / a for a, b in zip(one, two))
            pairs.append([label, ", ".join(f"{x:.1f}" for x in one), ", ".join(f"{x:.1f}" for x in two),
                          f"{ratios[0]:.2f} to {ratios[-1]:.2f}"])
    parts += ["`llama-bench` in turns with and without the plug-in, pair by pair:", measured(data, "decode-8064", "prefill-7168")]
    if pairs:
        parts.append(table(["tokens/s", "f16", "`tada`", "ratio"], pairs))
    parts += ["### Attention alone", "One layer, one thread, cold caches, 8192 tokens, 8 KV heads, against the flash attention of ggml "
              "over f16.", measured(data, "attention")]
    if data.get("attention"):
        parts.append(table(["head size, query heads per KV head", "ns per token and query head", "ggml", "times as fast", "relative error",
                            "of ggml"], [
            [f"{row['dim']}, {row['group']}", f"{row['ns']:.2f}", f"{row['ns_ggml']:.2f}", f"{row['ratio']:.1f}", f"{row['error']:.5f}",
             f"{row['error_ggml']:.5f}"] for row in data.get("attention")]))
    parts += ["## Servers", "`llama-batched-bench`: 8 sequences of 4096 tokens at once.", measured(data, "servers")]
    if data.get("servers"):
        found = {(row["cells"], row["cache"]): row for row in data.get("servers")}
        rows = []
        for cells, label in (("-no-kvu", "caches of their own (`-no-kvu`)"), ("-kvu", "one cache (`-kvu`)")):
            one, two = found[cells, "f16"], found[cells, "tada"]
            rows.append([label] + [word for test in ("decode", "prefill")
                                   for word in (f"{one[test]:.0f}", f"{two[test]:.0f} (x {two[test] / one[test]:.1f})")])
        parts.append(table(["tokens/s", "decode, f16", "`tada`", "prefill, f16", "`tada`"], rows))
    parts += ["## Saved sessions", measured(data, "session")]
    if data.get("session"):
        one = data.get("session")
        parts.append(f"A session of some 7500 tokens: {one['plain_bytes'] / 1048576:.1f} MiB as llama.cpp saves it, "
                     f"{one['packed_bytes'] / 1048576:.1f} MiB packed ({percent(one['packed_bytes'] / one['plain_bytes'])}); unpacked, "
                     "it is the same byte for byte.")
    return "\n\n".join(parts) + "\n"


# ---- all documents ----

def with_blocks(path, blocks):
    words = path.read_text(encoding="utf-8")
    for name, block in blocks.items():
        pattern = rf"(<!-- results: {name} -->\n).*?(<!-- end of results -->)"
        if not re.search(pattern, words, re.DOTALL):
            sys.exit(f"results.py: {path.name} has no place for '{name}'")
        words = re.sub(pattern, lambda match, block=block: match.group(1) + block + "\n" + match.group(2), words, flags=re.DOTALL)
    return words


def documents(data):
    """Path and text of each."""
    for name, blocks in (("README.md", {"quality": readme_quality(data), "demo": readme_demo(data), "said": readme_said(data)}),
                         ("doc/guide/specs.md", {"choice": choice(data)})):
        yield SOURCE / name, with_blocks(SOURCE / name, blocks)
    yield SOURCE / "doc/results.md", document(data)
    for name, figure in (("quality", quality_figure(data)), ("speed", speed_figure(data))):
        yield SOURCE / f"doc/{name}.svg", figure or svg(400, 40, [text(12, 25, f"Not measured yet on this state: {name}")])


def main():
    check = sys.argv[1:] == ["--check"]
    if len(sys.argv) > 1 and not check:
        take(pathlib.Path(sys.argv[1]))
    data = Data(json.loads(DATA.read_text(encoding="utf-8")))
    wrong = 0
    for path, words in documents(data):
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != words:
                print(f"{path.relative_to(SOURCE)} differs from doc/results.json: run scripts/results.py")
                wrong = 1
        else:
            path.write_text(words, encoding="utf-8")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
