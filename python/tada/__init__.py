"""A compressed KV cache for llama-cpp-python:

    import llama_cpp, tada
    tada.use("tada")
    llama = llama_cpp.Llama("model.gguf", n_ctx=8192)
"""
import collections
import contextlib
import functools
import re
import warnings

from .host import Error, Host, get_host

__all__ = ["Error", "Memory", "doctor", "memory", "use"]
__version__ = "0.1.0"

Memory = collections.namedtuple("Memory", "cache scratch used")
_STOCK = re.compile(r"(b?f16|f32|i?q\d_\w+)(/|$)")  # cache types of llama.cpp
_current = None  # the cache that a new Llama gets; None: llama.cpp's


class _Use:
    """What use() returns: in a with statement, the cache from before comes back at its end."""

    def __init__(self, before):
        self._before = before

    def __enter__(self):
        return self

    def __exit__(self, *_):
        _activate(self._before)


def use(cache="tada"):
    """Every llama_cpp.Llama that is made from now on in this process keeps its KV cache so.

    cache: a cache spec, such as "tada", "tada:high", "tada:4:window=64" or "tada:@plan.gguf"; None: llama.cpp's own
    caches. Those that are there already keep theirs. `with use(cache): ...` is for those that are made inside.
    Not for use in several threads at once. Raises Error, and then changes nothing.
    """
    before = _current
    _activate(cache)
    return _Use(before)


def memory():
    """Bytes of the compressed caches of all Llama objects: cache, what they can become; scratch, what they hold beside
    it; used, what of the cache is in memory now."""
    reserved, used = get_host().cache_bytes()
    return Memory(reserved, get_host().scratch_bytes(), used)


def doctor():
    """Prints what is there and whether it fits. True: nothing is wrong."""
    def line(verdict, name, value):
        print(f"{verdict:<8}  {name:<16}  {value}")

    print(f"tada {__version__} for Python")
    try:
        Host(lambda name, value: line("ok", name, value))
    except Error as error:
        line("problem", "", error)
        return False
    print("Nothing is wrong.")
    return True


def _activate(cache):
    global _current
    if cache is not None:
        if _STOCK.match(cache):
            raise Error(f"'{cache}' is a cache of llama.cpp: choose it with type_k and type_v of Llama, after "
                        "tada.use(None).")
        get_host().set_cache(cache)
        _hook(get_host().llama_cpp.Llama)
    elif _current is not None:
        get_host().set_cache("f16")
    _current = cache


def _options(options):
    """Those with which flash attention reads the cache, as it must to be compressed."""
    options = dict(options)
    for name in ("type_k", "type_v"):
        if options.get(name) not in (None, get_host().llama_cpp.GGML_TYPE_F16):
            raise Error(f"{name} chooses a cache of llama.cpp, but tada.use('{_current}') one of TaDA: leave one of "
                        "them away.")
    options.setdefault("flash_attn", True)
    return options


def _check_plan(path):
    """Error: the plan is for another model, of which the plug-in would only warn."""
    plan = _current[len("tada:@"):] if _current.startswith("tada:@") else None
    if plan and path:
        told, wanted = get_host().fingerprint(plan), get_host().fingerprint(path)
        if told and wanted and told != wanted:
            raise Error(f"The plan {plan} is for another model: make one for this model with 'tada calibrate'.")


def _hook(llama_class):
    if hasattr(llama_class.__init__, "_tada"):
        return
    original = llama_class.__init__

    @functools.wraps(original)
    def init(self, *args, **options):
        if _current is None:
            original(self, *args, **options)
            return
        self._stack = contextlib.ExitStack()  # which a Llama that was never made closes, too
        _check_plan(args[0] if args else options.get("model_path"))
        before = memory().cache
        original(self, *args, **_options(options))
        if not options.get("flash_attn", True):
            warnings.warn(f"Without flash attention the cache is not compressed: leave flash_attn=False away for "
                          f"{_current}.", stacklevel=2)
        elif memory().cache == before:
            warnings.warn(f"This model has no KV cache that {_current} could compress: one that is on a GPU comes to "
                          "RAM with offload_kqv=False.", stacklevel=2)

    init._tada = True
    llama_class.__init__ = init
