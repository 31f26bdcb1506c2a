"""A process with the plug-in and caches of two layers, without a model.  metrics_host.py LIB_DIR PLUGIN SCENARIO
It says what it has done, a line a step, and goes on when it is told to."""
import ctypes
import os
import subprocess
import sys
import threading

LIB_DIR, PLUGIN, SCENARIO = sys.argv[1:]
WIDTH, CELLS, LAYERS = 128, 2000, 2
os.environ["OMP_THREAD_LIMIT"] = "1"  # threads are counted here: ggml is to start none
base = ctypes.CDLL(f"{LIB_DIR}/libggml-base.so", ctypes.RTLD_GLOBAL)
ggml = ctypes.CDLL(f"{LIB_DIR}/libggml.so", ctypes.RTLD_GLOBAL)


class Parameters(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("memory", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def function(library, name, result, *arguments):
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found


POINTER, SIZE, INT64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
load = function(ggml, "ggml_backend_load", POINTER, ctypes.c_char_p)
load_all = function(ggml, "ggml_backend_load_all_from_path", None, ctypes.c_char_p)
device_of_type = function(ggml, "ggml_backend_dev_by_type", POINTER, ctypes.c_int)
backend_make = function(base, "ggml_backend_dev_init", POINTER, POINTER, ctypes.c_char_p)
backend_free = function(base, "ggml_backend_free", None, POINTER)
compute = function(base, "ggml_backend_graph_compute", ctypes.c_int, POINTER, POINTER)
type_of = function(base, "ggml_backend_dev_buffer_type", POINTER, POINTER)
context_make = function(base, "ggml_init", POINTER, Parameters)
tensor_make = function(base, "ggml_new_tensor_3d", POINTER, POINTER, ctypes.c_int, INT64, INT64, INT64)
name_set = function(base, "ggml_set_name", POINTER, POINTER, ctypes.c_char_p)
context_free = function(base, "ggml_free", None, POINTER)
view_make = function(base, "ggml_view_3d", POINTER, POINTER, POINTER, INT64, INT64, INT64, SIZE, SIZE, SIZE)
attention = function(base, "ggml_flash_attn_ext", POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, ctypes.c_float,
                     ctypes.c_float, ctypes.c_float)
graph_make = function(base, "ggml_new_graph", POINTER, POINTER)
graph_add = function(base, "ggml_build_forward_expand", None, POINTER, POINTER)
allocate = function(base, "ggml_backend_alloc_ctx_tensors_from_buft", POINTER, POINTER, POINTER)
buffer_free = function(base, "ggml_backend_buffer_free", None, POINTER)
tensor_set = function(base, "ggml_backend_tensor_set", None, POINTER, ctypes.c_char_p, SIZE, SIZE)
tensor_get = function(base, "ggml_backend_tensor_get", None, POINTER, ctypes.c_char_p, SIZE, SIZE)

ROW, F32, F16, CPU = 2 * WIDTH, 0, 1, 0
rows = b"".join(bytes([(7 * i + j * j) % 251, 0x38 | (i + j) % 2 << 7]) for i in range(CELLS) for j in range(WIDTH))
os.environ.pop("GGML_BACKEND_PATH", None)
WARNING = 3


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, POINTER)
def log(level, text, _):
    if level >= WARNING:
        sys.stderr.write(text.decode())


function(base, "ggml_log_set", None, type(log), POINTER)(log, None)
load_all(LIB_DIR.encode())
if not load(PLUGIN.encode()):
    sys.exit("the plug-in was not loaded")
device = device_of_type(CPU)


class Cache:
    def __init__(self, streams=1):
        context = context_make(Parameters(1 << 20, None, True))
        self.tensors = {}
        for layer in range(LAYERS):
            for kind in "kv":
                tensor = self.tensors[kind, layer] = tensor_make(context, F16, WIDTH, CELLS, streams)
                name_set(tensor, f"cache_{kind}_l{layer}".encode())
        self.buffer = allocate(context, type_of(device))
        if not self.buffer:
            sys.exit("no buffer")
        self.attend()

    def attend(self):
        """Of one query in two heads to all cells of the first stream: then the tensors are planes."""
        context, backend = context_make(Parameters(1 << 20, None, True)), backend_make(device, None)
        graph = graph_make(context)
        for layer in range(LAYERS):
            q = tensor_make(context, F32, WIDTH // 2, 1, 2)
            k, v = (view_make(context, self.tensors[kind, layer], WIDTH // 2, CELLS, 2, ROW, ROW // 2, 0) for kind in "kv")
            graph_add(graph, attention(context, q, k, v, None, 1, 0, 0))
        buffer = allocate(context, type_of(device))
        if compute(backend, graph) != 0:
            sys.exit("attention failed")
        buffer_free(buffer)
        backend_free(backend)
        context_free(context)

    def write(self, first, n, kinds="kv"):
        for (kind, _), tensor in self.tensors.items():
            if kind in kinds:
                tensor_set(tensor, rows[first * ROW:(first + n) * ROW], first * ROW, n * ROW)

    def read(self, first, n, kinds="kv"):
        out = ctypes.create_string_buffer(n * ROW)
        for (kind, _), tensor in self.tensors.items():
            if kind in kinds:
                tensor_get(tensor, out, first * ROW, n * ROW)

    def free(self):
        buffer_free(self.buffer)


def step(text):
    print(text, flush=True)
    sys.stdin.readline()


def n_threads():
    return len(os.listdir("/proc/self/task"))


def counts():
    cache = Cache()
    step("empty")
    cache.write(0, 640)
    step("written")
    cache.write(3, 2)
    cache.read(100, 500)
    cache.read(5, 2, "v")
    step("again")
    other = Cache(3)
    other.write(0, 100)
    step("two")
    cache.free()
    step("second only")
    third = Cache()
    step("first again")
    other.free()
    third.free()
    step("none")


def threads():
    before = n_threads()
    caches = [Cache(), Cache()]
    during = n_threads()
    for cache in caches:
        cache.free()
    print(before, during, n_threads())


def leave():
    """Without freeing anything."""
    Cache().write(0, 70)


def fork():
    """Children that end in each way; the parent goes on."""
    cache = Cache()
    cache.write(0, 70)
    step("parent")
    for end in range(3):
        child = os.fork()
        if child == 0:
            cache.free() if end == 1 else None
            (ctypes.CDLL(None).exit if end else os._exit)(0)  # exit: with all that is done at exit
        print("child", os.waitpid(child, 0)[1], flush=True)
    held = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, capture_output=True, text=True).stdout
    print("handed on", "socket:" in held or "eventfd" in held, flush=True)
    cache.write(70, 30)
    step("after")
    cache.free()


def crowd():
    """Contexts that come and go in several threads while another looks on."""
    def run():
        for _ in range(30):
            cache = Cache()
            cache.write(0, 10)
            cache.free()
    runs = [threading.Thread(target=run) for _ in range(4)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    step("done")


globals()[SCENARIO]()
print("end", flush=True)
