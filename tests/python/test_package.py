#!/usr/bin/env python3
"""The installed package with real Llama objects.   test_package.py BUILD_DIR MODEL"""
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile
import warnings

import llama_cpp
import numpy

import tada

BUILD, MODEL = pathlib.Path(sys.argv[1]), sys.argv[2]
STORY = " ".join(f"On day {n} the keeper of the lighthouse wrote the weather and the name of every ship into his book."
                 for n in range(1, 13))
COUNT = " ".join(f"{n}," for n in range(1, 81))
SHORT = STORY[:len(STORY) // 2]
F16 = 30 * 2 * 192 * 2 * 1024  # bytes of the model's cache of 1024 cells
PATIENCE_S = 7200  # for what hangs
SPECS = ("tada", "tada:4:window=64")
failures = 0
warnings.simplefilter("error", UserWarning)  # such as that nothing is compressed


def check(name, good, detail=""):
    global failures
    print(f"{'ok      ' if good else 'FAILED  '}{name}{'' if good else f': {detail}'}", flush=True)
    failures += not good


def refused(name, words, call):
    try:
        call()
        check(f"{name} is refused", False, "it was accepted")
    except tada.Error as error:
        check(f"{name} is refused, and it says why", re.search(words, str(error)), error)


def make(cache, model=MODEL, n_ctx=1024, **options):
    with tada.use(cache):
        return llama_cpp.Llama(str(model), n_ctx=n_ctx, n_threads=2, n_threads_batch=2, verbose=False, **options)


def llama_with(cache, **options):
    with tada.use(cache):
        return llama_cpp.Llama(n_ctx=512, verbose=False, **options)


def complete(llama, prompt, n=12):
    return llama(prompt, max_tokens=n, temperature=0)["choices"][0]["text"]


def next_token(llama):
    logits = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
    return int(numpy.argmax(numpy.ctypeslib.as_array(logits, shape=(llama.n_vocab(),))))


def step(llama):
    token = next_token(llama)
    llama.eval([token])
    return token


def steps(llama, n):
    return [step(llama) for _ in range(n)]


def run(code, **environment):
    """What a Python of its own says to the code."""
    result = subprocess.run([sys.executable, "-c", code], env=dict(os.environ, **environment), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, check=False)
    return result.returncode, result.stdout


def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stock_text(spec, prompt, n):
    """What llama-completion writes with the plug-in."""
    environment = dict(os.environ, GGML_BACKEND_PATH=str(BUILD / "bin/libggml-tada.so"), TADA_CACHE=spec)
    tool = pathlib.Path(os.environ["LLAMA_CPP_LIB_PATH"], "llama-completion")
    return subprocess.run([tool, "-m", MODEL, "-p", prompt, "-n", str(n), "--temp", "0", "-no-cnv", "--no-display-prompt",
                           "-c", "1024", "-b", "512", "-t", "2"], env=environment, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PATIENCE_S, check=True).stdout


def installed(work):
    check("nothing is wrong", tada.doctor())
    command = pathlib.Path(sys.executable).parent / "tada"
    make_model(work)
    for name, arguments, words in (
            ("the command tada is that of the package", ["--version"], tada.__version__),
            ("... finds llama-cpp-python's llama.cpp", ["doctor"], "libllama .*" + os.environ["LLAMA_CPP_LIB_PATH"]),
            ("... and measures with it", ["bench", "-m", work / "heads.gguf", "-t", "2", "--depth", "64", "--decode", "2",
                                          "--prefill", "16", "--repeat", "1", "--cache", "tada"], "(?m)^tada ")):
        said = subprocess.run([command, *arguments], text=True, env=dict(os.environ, PATH="/usr/bin:/bin"),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, check=False)
        check(name, said.returncode == 0 and re.search(words, said.stdout), said)
    plugin = pathlib.Path(tada.__file__).parent / "lib/libggml-tada.so"
    said = subprocess.run(["readelf", "-d", plugin], text=True, stdout=subprocess.PIPE, check=True).stdout
    check("the plug-in can be moved", "RPATH" not in said and "RUNPATH" not in said, said)


def texts():
    for spec in SPECS:
        llama = make(spec)
        text = complete(llama, STORY, 24)
        stock = stock_text(spec, STORY, 24)
        same = text.strip() == stock.strip() and len(text) > 40
        check(f"{spec} writes what the stock tool does", same, (text, stock))
        llama.reset()
        check("... and once more after a reset", complete(llama, STORY, 24) == text)
        llama.close()
    check("closed, they leave nothing behind", tada.memory() == (0, 0, 0), tada.memory())


def states():
    llama = make("tada:window=64")
    llama.eval(llama.tokenize(STORY.encode()))
    saved = llama.save_state()
    token = next_token(llama)
    llama.eval([token])
    plain = [token] + steps(llama, 24)
    others = [llama, make("tada:window=64")]
    for name, other in zip(("a state is restored", "... also into another Llama"), others):
        other.load_state(saved)
        other.eval([token])
        again = [token] + steps(other, 24)
        check(f"{name} and goes on as before", again == plain, (again, plain))
    with tada.use("tada:window=64"):
        copy = pickle.loads(pickle.dumps(make("tada")))
    check("one that was pickled and read back has the cache of then",
          complete(copy, STORY) == complete(others[1], STORY))
    copy.close()
    for other in others:
        other.close()


def shift():
    """The first half of a long count goes away, and the rest moves up."""
    for cache in (None, "tada", "tada:4:window=0"):
        llama = make(cache, flash_attn=True)
        llama.eval(llama.tokenize(COUNT.encode()))
        n = llama.n_tokens
        moved = n // 2
        assert llama._ctx.kv_cache_seq_rm(0, 8, 8 + moved)
        llama._ctx.kv_cache_seq_shift(0, 8 + moved, n, -moved)
        llama.n_tokens -= moved
        llama.eval(llama.tokenize(b" 81,", add_bos=False))
        text = llama.detokenize(steps(llama, 12)).decode()
        check(f"a context shift with {cache}: the count goes on", "82, 83" in text, text)
        llama.close()


def several():
    caches = (None, *SPECS)
    alone = []
    for cache in caches:
        llama = make(cache)
        llama.eval(llama.tokenize(SHORT.encode()))
        alone.append(steps(llama, 24))
        llama.close()
    llamas = [make(cache) for cache in caches]
    for llama in llamas:
        llama.eval(llama.tokenize(SHORT.encode()))
    together = [[] for _ in llamas]
    for _ in range(24):
        for llama, tokens in zip(llamas, together):
            tokens.append(step(llama))
    for cache, one, other in zip(caches, alone, together):
        check(f"{cache} beside others writes what it does alone", one == other, (one, other))
    check("only ours have memory of ours", tada.memory().cache > 0)
    for llama in llamas[1:]:
        llama.close()
    check("... and give it back", tada.memory() == (0, 0, 0), tada.memory())
    check("... while the other goes on", len(steps(llamas[0], 4)) == 4)
    llamas[0].close()


def make_model(work):
    """A model of 32 heads, whose cache is far larger than the rest."""
    subprocess.run([BUILD / "tests/make_model", work / "heads.gguf", "32", "0"], check=True)


def memory(work):
    tokens = [i * 7 % 250 + 1 for i in range(3000)]
    grown = {}
    for cache in ("f16", "tada"):
        before = resident()
        llama = make(None if cache == "f16" else cache, work / "heads.gguf", n_ctx=4096, flash_attn=True)
        llama.eval(tokens)
        grown[cache] = resident() - before
        said = tada.memory()
        llama.close()
    f16 = 3 * 2 * 32 * 32 * 2 * 4096
    print(f"        resident {grown['f16'] / 2**20:.0f} MiB and {grown['tada'] / 2**20:.0f} MiB; "
          f"f16 {f16 / 2**20:.0f} MiB, compressed {said.cache / 2**20:.0f} MiB and {said.scratch / 2**20:.1f} MiB of scratch")
    check("the cache is at most 30 % of f16", 0.2 * f16 < said.cache < 0.3 * f16, (said, f16))
    check("... and the process is smaller by as much", grown["f16"] - grown["tada"] > 0.6 * f16, grown)


def plans(work):
    subprocess.run([BUILD / "tests/make_plan", work, "3", "128", "0"], stdout=subprocess.PIPE, check=True)
    other = make("tada")
    text = complete(other, STORY)
    good = f"tada:@{work}/good.plan"
    llama = make(good, work / "model.gguf")
    llama.eval(list(range(1, 250)))
    tokens = steps(llama, 8)
    foreign = f"tada:@{work}/foreign.plan"
    refused("a plan for another model", "is for another model", lambda: make(foreign))
    refused("... also beside a path that is named", "is for another model",
            lambda: llama_with(foreign, model_path=str(work / "model.gguf")))
    try:
        make(good, work / "none.gguf")
    except ValueError as error:
        check("other errors are llama-cpp-python's, as before", "does not exist" in str(error), error)
    refused("a plan that is not sound", "weights must be numbers", lambda: tada.use(f"tada:@{work}/nan.plan"))
    refused("a plan that is not there", "cannot be read", lambda: tada.use(f"tada:@{work}/none.plan"))
    other.reset()
    check("a Llama from before writes the same text under another's plan", complete(other, STORY) == text)
    llama.reset()
    llama.eval(list(range(1, 250)))
    check("... and so does that one after a refusal", steps(llama, 8) == tokens)
    llama.close()
    other.close()


def every_way():
    """What Llama is told of devices does not matter to a cache in the CPU's memory."""
    text = None
    for options in ({}, {"n_gpu_layers": -1}, {"offload_kqv": False}, {"flash_attn": True, "n_gpu_layers": 1}):
        llama = make("tada", **options)
        said, now = tada.memory(), complete(llama, STORY, 12)
        text = text or now
        check(f"compressed with {options or 'the defaults'}, and the same text", 0 < said.cache < 0.4 * F16 and now == text,
              (said, now, text))
        after = tada.memory()
        check("... of which no more is in memory than it can become", 0 < after.used <= after.cache, after)
        llama.close()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        llama = make("tada", flash_attn=False)
        stock = make(None, flash_attn=False)
    words = [str(one.message) for one in told if issubclass(one.category, UserWarning)]
    check("flash_attn=False: one warning", len(words) == 1 and "Without flash attention" in words[0], words)
    check("... and what llama.cpp writes", complete(llama, STORY, 12) == complete(stock, STORY, 12))
    llama.close()
    stock.close()


def errors(work):
    refused("an unknown cache", "Unknown cache spec 'quux'", lambda: tada.use("quux"))
    refused("a cache of llama.cpp", "'q8_0' is a cache of llama.cpp", lambda: tada.use("q8_0"))
    refused("type_k", "type_k chooses", lambda: make("tada", type_k=llama_cpp.GGML_TYPE_Q8_0))
    llama = llama_cpp.Llama(MODEL, n_ctx=512, flash_attn=True, verbose=False)
    check("after a with statement and what was refused llama.cpp's own caches are used", tada.memory() == (0, 0, 0),
          tada.memory())
    llama.close()

    use, look = "import tada; tada.use()", "import sys, tada; sys.exit(tada.doctor())"
    # The plug-in for another version is built for the tools, whose libraries everybody sees.
    visible = f"import ctypes; ctypes.CDLL({os.environ['LLAMA_CPP_LIB_PATH'] + '/libllama.so'!r}, ctypes.RTLD_GLOBAL)\n"
    (work / "empty").mkdir()
    (work / "text.so").write_text("no library")
    for name, before, words, environment in (
            ("another version of ggml", visible,
             r"llama-cpp-python \S+ has ggml .*, the plug-in is for ggml 0\.0\.1 .*: install llama-cpp-python==", {"TADA_PLUGIN": str(BUILD / "tests/libggml-tada-other.so")}),
            ("a plug-in that does not load", "", "does not load into.*unset TADA_PLUGIN",
             {"TADA_PLUGIN": str(work / "text.so")}),
            ("a plug-in that is not there", "", "is not a file", {"TADA_PLUGIN": str(work / "none.so")}),
            ("no llama-cpp-python", "", "cannot be imported.*pip install", {"PYTHONPATH": ""}),
            ("llama-cpp-python without libraries", "", "is not complete", {"LLAMA_CPP_LIB_PATH": str(work / "empty")})):
        status, said = run(before + use, **environment)
        check(f"{name}: an error that says why", status == 1 and re.search(f"tada.host.Error: .*{words}", said), said)
        status, said = run(before + look, **environment)
        check("... also from the doctor", status == 0 and re.search(f"problem .*{words}", said), said)
    status, said = run(f"{use}; import llama_cpp; print(tada.memory()); "
                       f"llama = llama_cpp.Llama({MODEL!r}, n_ctx=512, verbose=False); print(tada.memory().cache > 0)",
                       TADA_CACHE="f16", GGML_BACKEND_PATH=str(tada.host.plugin_path()))
    check("variables of the environment that are meant for the tools do not matter",
          status == 0 and "True" in said, said)


with tempfile.TemporaryDirectory() as folder:
    installed(pathlib.Path(folder))
    errors(pathlib.Path(folder))
    every_way()
    texts()
    states()
    shift()
    several()
    memory(pathlib.Path(folder))
    plans(pathlib.Path(folder))
sys.exit(failures > 0)
