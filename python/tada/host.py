"""The plug-in in the llama.cpp that llama-cpp-python has loaded."""
import ctypes
import functools
import os
import pathlib

LLAMA_CPP_PYTHON = "0.3.36"  # whose llama.cpp the package is built for where nothing else is asked for
PLUGIN = "libggml-tada.so"
GPU_TYPES = (1, 2)  # GGML_BACKEND_DEVICE_TYPE_GPU, _IGPU


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
        self._check_devices()
        self.registry = None  # of the plug-in, once it was loaded
        self.registered = False

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
            # Kept open, because models and contexts go on using it when the device is taken off the list.
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

    def _check_devices(self):
        device_type = declare(self.library, "ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
        name = declare(self.library, "ggml_backend_dev_name", ctypes.c_char_p, ctypes.c_void_p)
        get = declare(self.library, "ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
        count = declare(self.library, "ggml_backend_dev_count", ctypes.c_size_t)
        devices = [get(i) for i in range(count())]
        names = [name(device).decode() for device in devices if device_type(device) in GPU_TYPES]
        gpus = ", ".join(name for name in names if name != "TADA")
        if gpus:
            raise Error(f"llama.cpp would share the layers between the compressed cache, which is the CPU's, and "
                        f"{gpus}: hide the GPU, such as with CUDA_VISIBLE_DEVICES= in the environment.")

    def _proc(self, name, result, *arguments):
        """A function that the plug-in hands out."""
        get = declare(self.library, "ggml_backend_reg_get_proc_address", ctypes.c_void_p, ctypes.c_void_p,
                      ctypes.c_char_p)
        address = get(self.registry, name.encode())
        if not address:
            raise Error(f"{self.path} is of another version: install the package again, or unset TADA_PLUGIN.")
        return ctypes.CFUNCTYPE(result, *arguments)(address)

    def register(self, cache):
        """Contexts that are made from now on have this cache; models, a device that asks for it."""
        registered = self.registered
        if not registered:
            # Where GGML_BACKEND_PATH made ggml load it before, it may have no device.
            by_name = declare(self.library, "ggml_backend_reg_by_name", ctypes.c_void_p, ctypes.c_char_p)
            self._unload(by_name(b"TADA"))
            before = os.environ.get("TADA_CACHE")
            os.environ["TADA_CACHE"] = "tada"  # with a cache of llama.cpp there the plug-in has no device
            try:
                load = declare(self.library, "ggml_backend_load", ctypes.c_void_p, ctypes.c_char_p)
                self.registry = load(os.fsencode(self.path))
            finally:
                if before is None:
                    del os.environ["TADA_CACHE"]
                else:
                    os.environ["TADA_CACHE"] = before
            if not self.registry:
                raise Error(f"ggml does not load {self.path}: see what it said on standard error.")
            self.registered = True
        why = ctypes.create_string_buffer(256)
        set_cache = self._proc("tada_set_cache", ctypes.c_bool, ctypes.c_char_p, ctypes.c_char_p)
        if not set_cache(cache.encode(), why):
            if not registered:
                self.unregister()
            raise Error(why.value.decode(errors="replace"))

    def unregister(self):
        """Models that are loaded from now on do not see the plug-in; those that are there keep their caches."""
        if self.registered:
            self._unload(self.registry)
            self.registered = False

    def _unload(self, registry):
        if registry:
            declare(self.library, "ggml_backend_unload", None, ctypes.c_void_p)(registry)

    def refusal(self):
        """Why the plug-in refused the last context, or None."""
        text = self._proc("tada_refusal", ctypes.c_char_p)()
        return text.decode() if text else None

    def bytes_of(self, what):
        """Of all contexts that are open: "cache" or "scratch"."""
        return self._proc(f"tada_{what}_bytes", ctypes.c_size_t)() if self.registry else 0


@functools.lru_cache(maxsize=None)
def get_host():
    """The one of this process. Raises Error, and tries again the next time."""
    return Host()
