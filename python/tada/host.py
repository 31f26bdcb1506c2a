"""The plug-in in the llama.cpp that llama-cpp-python has loaded."""
import ctypes
import functools
import os
import pathlib

LLAMA_CPP_PYTHON = "0.3.36"  # whose llama.cpp the package is built for where nothing else is asked for
PLUGIN = "libggml-tada.so"
# What is used of ggml/tada_plugin.h: its version; results and arguments. tests/python/test_abi.py compares them.
PLUGIN_VERSION = 5
GGUF_TYPE_UINT64, F32 = 10, 0  # of gguf_type, ggml_type
MOST_NORM_BYTES = 4 << 20
ERROR_BYTES = 256  # of tada_error, which is text alone
_SIZE = ctypes.POINTER(ctypes.c_size_t)
FUNCTIONS = {
    "set_cache": (ctypes.c_bool, ctypes.c_char_p, ctypes.c_char_p),
    "cache_bytes": (None, _SIZE, _SIZE, _SIZE),
    "scratch_bytes": (ctypes.c_size_t,),
}


class Error(RuntimeError):
    """What is wrong, and what to do about it."""


def plugin_path():
    """The plug-in: $TADA_PLUGIN, else the one that came with the package."""
    chosen = os.environ.get("TADA_PLUGIN")
    path = pathlib.Path(chosen) if chosen else pathlib.Path(__file__).parent / "lib" / PLUGIN
    if not path.is_file():
        if chosen:
            raise Error(f"TADA_PLUGIN={chosen} is not a file: set it to the path of {PLUGIN}, or unset it.")
        raise Error(f"The package has no {path}: install it again.")
    return path.resolve()


def declare(library, name, result, *arguments):
    """A function of a library; AttributeError: it has none of that name."""
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


class Host:
    """llama.cpp with the plug-in at hand. report(name, value) is told what is found on the way. Raises Error."""

    def __init__(self, report=lambda name, value: None):
        try:
            import llama_cpp
        except ImportError as error:
            raise Error(f"llama-cpp-python cannot be imported ({error}): pip install "
                        f"llama-cpp-python=={LLAMA_CPP_PYTHON}") from None
        except (OSError, RuntimeError) as error:  # a library that is missing or does not load
            raise Error(f"llama-cpp-python is not complete ({error}): install it again.") from None
        self.llama_cpp = llama_cpp
        # A handle of our own, as llama-cpp-python declares functions on its own. ggml is found through it.
        path = llama_cpp.llama_cpp._lib._name
        self.library = ctypes.CDLL(path)
        report("llama-cpp-python", f"{llama_cpp.__version__}, {path}")
        self._check_fit(report)
        if declare(self.library, "ggml_backend_reg_count", ctypes.c_size_t)() == 0:
            # Built with loadable backends (GGML_BACKEND_DL), which llama.cpp looks for beside python.
            declare(self.library, "ggml_backend_load_all_from_path", None,
                    ctypes.c_char_p)(os.fsencode(os.path.dirname(path)))
        self.functions = None  # of the plug-in, once it is loaded

    def _check_fit(self, report):
        other = (f"install llama-cpp-python=={LLAMA_CPP_PYTHON}, or build this package with "
                 "TADA_LLAMA_DIR=<source of that llama.cpp>.")
        version = self.llama_cpp.__version__
        try:
            ggml, commit = (declare(self.library, name, ctypes.c_char_p)().decode()
                            for name in ("ggml_version", "ggml_commit"))
        except AttributeError:
            raise Error(f"The llama.cpp of llama-cpp-python {version} is too old to tell its version: "
                        f"{other}") from None
        report("ggml", f"ggml {ggml} ({commit})")
        self.path = plugin_path()
        report("plug-in", str(self.path))
        try:
            self.plugin = ctypes.CDLL(str(self.path))
            built_for = declare(self.plugin, "tada_plugin_built_for", ctypes.c_char_p)().decode()
        except (OSError, AttributeError) as error:
            unset = "unset TADA_PLUGIN, " if os.environ.get("TADA_PLUGIN") else ""
            raise Error(f"The plug-in does not load into llama-cpp-python {version}, ggml {ggml} ({error}): "
                        f"{unset}{other}") from None
        report("built for", built_for)
        if declare(self.plugin, "ggml_backend_score", ctypes.c_int)() == 0:
            raise Error(f"llama-cpp-python {version} has ggml {ggml} ({commit}), the plug-in is for {built_for}: "
                        f"{other}")

    def _proc(self, registry, name, result, *arguments):
        """A function that the plug-in hands out."""
        get = declare(self.library, "ggml_backend_reg_get_proc_address", ctypes.c_void_p, ctypes.c_void_p,
                      ctypes.c_char_p)
        address = get(registry, f"tada_plugin_{name}".encode())
        return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None

    def _load(self):
        # GGML_BACKEND_PATH may have made ggml load it before.
        by_name = declare(self.library, "ggml_backend_reg_by_name", ctypes.c_void_p, ctypes.c_char_p)
        load = declare(self.library, "ggml_backend_load", ctypes.c_void_p, ctypes.c_char_p)
        registry = by_name(b"TADA") or load(os.fsencode(self.path))
        if not registry:
            raise Error(f"ggml does not load {self.path}: see what it said on standard error.")
        version = self._proc(registry, "version", ctypes.c_int)
        functions = {}
        if version and version() == PLUGIN_VERSION:
            functions = {name: self._proc(registry, name, *types) for name, types in FUNCTIONS.items()}
        if not functions or not all(functions.values()):
            raise Error(f"{self.path} is of another version: install the package again, or unset TADA_PLUGIN.")
        self.functions = functions
        self.set_cache("f16")  # until another one is asked for, whatever TADA_CACHE says

    def set_cache(self, cache):
        """Contexts that are made from now on have this cache, which may be one of llama.cpp."""
        if not self.functions:
            self._load()
        why = ctypes.create_string_buffer(ERROR_BYTES)
        if not self.functions["set_cache"](cache.encode(), why):
            raise Error(why.value.decode(errors="replace"))

    def cache_bytes(self):
        """Of all contexts that are open: what their compressed caches can become, and what of it is in memory."""
        reserved, used = ctypes.c_size_t(), ctypes.c_size_t()
        if self.functions:
            self.functions["cache_bytes"](reserved, used, None)
        return reserved.value, used.value

    def scratch_bytes(self):
        return self.functions["scratch_bytes"]() if self.functions else 0

    def fingerprint(self, path):
        """That of a model's or a plan's file (doc/reference/plan.md), or 0, if it has none."""
        library = self.library

        class Parameters(ctypes.Structure):
            _fields_ = [("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p)]

        pointer, name, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_size_t
        file = declare(library, "gguf_init_from_file", pointer, name, Parameters)(os.fsencode(path), Parameters(True))
        if not file:
            return 0
        try:
            key = declare(library, "gguf_find_key", number, pointer, name)(file, b"tada.plan.fingerprint")
            if key >= 0:
                kind = declare(library, "gguf_get_kv_type", ctypes.c_int, pointer, number)(file, key)
                value = declare(library, "gguf_get_val_u64", ctypes.c_uint64, pointer, number)
                return value(file, key) if kind == GGUF_TYPE_UINT64 else 0
            norm = declare(library, "gguf_find_tensor", number, pointer, name)(file, b"blk.0.attn_norm.weight")
            if norm < 0 or declare(library, "gguf_get_tensor_type", ctypes.c_int, pointer, number)(file, norm) != F32:
                return 0
            start = (declare(library, "gguf_get_data_offset", size, pointer)(file) +
                     declare(library, "gguf_get_tensor_offset", size, pointer, number)(file, norm))
            length = declare(library, "gguf_get_tensor_size", size, pointer, number)(file, norm)
        finally:
            declare(library, "gguf_free", None, pointer)(file)
        result = 0xcbf29ce484222325
        with open(path, "rb") as file:
            file.seek(start)
            for byte in file.read(min(length, MOST_NORM_BYTES)):
                result = (result ^ byte) * 0x100000001b3 % 2**64
        return result


@functools.lru_cache(maxsize=None)
def get_host():
    """The one of this process. Raises Error, and tries again the next time."""
    return Host()
