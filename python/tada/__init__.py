"""A compressed KV cache for llama-cpp-python:

    import llama_cpp, tada
    tada.use("tada")
    llama = llama_cpp.Llama("model.gguf", n_ctx=8192)
"""
import collections
import contextlib
import functools
import warnings

from .host import Error, Host, get_host

__all__ = ["Error", "Memory", "doctor", "memory", "use"]
__version__ = "0.1.0"

Memory = collections.namedtuple("Memory", "cache scratch")
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
    """Bytes that the compressed caches of all Llama objects occupy now: their buffers, and their scratch."""
    return Memory(get_host().bytes_of("cache"), get_host().bytes_of("scratch"))


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
        get_host().register(cache)
        _hook(get_host().llama_cpp.Llama)
    elif _current is not None:
        get_host().unregister()
    _current = cache


def _options(options):
    """Those with which Llama(...) has llama.cpp ask our device for the cache. Error: the user's forbid it."""
    options = dict(options)
    for name in ("flash_attn", "offload_kqv"):
        if not options.setdefault(name, True):
            raise Error(f"The cache {_current} needs {name}=True: leave {name} away, or call tada.use(None) "
                        "first.")
    for name in ("type_k", "type_v"):
        if options.get(name) not in (None, get_host().llama_cpp.GGML_TYPE_F16):
            raise Error(f"{name} chooses a cache of llama.cpp, but tada.use('{_current}') one of TaDA: leave one of "
                        "them away.")
    # The layers' device is ours, which takes their caches; their weights and all else stay on the CPU.
    return {**options, "n_gpu_layers": -1, "split_mode": get_host().llama_cpp.LLAMA_SPLIT_MODE_LAYER}


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
        before = get_host().bytes_of("cache")
        try:
            original(self, *args, **_options(options))
        except ValueError as error:
            reason = get_host().refusal() if "llama_context" in str(error) else None
            if reason:
                raise Error(f"The cache {_current} cannot be used: {reason}") from error
            raise
        if get_host().bytes_of("cache") == before:
            warnings.warn(f"This model has no KV cache that {_current} could compress.", stacklevel=2)

    init._tada = True
    llama_class.__init__ = init
