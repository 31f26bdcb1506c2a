"""llama-server as the tests in Python start it and talk to it, and their checks; nothing but the standard library."""
import contextlib
import ctypes
import faulthandler
import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from metrics_text import Metrics

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE_S = 7200  # for what hangs: no machine is so loaded that what goes on needs them
STACKS_S = 600  # what takes longer leaves a trace of the server's threads; nothing ends by it
failures = 0
servers = []  # those that run


def check(name, good, detail=""):
    global failures
    print(f"{'ok      ' if good else 'FAILED  '}{name}{'' if good else f': {detail}'}", flush=True)
    failures += not good


def finish():
    sys.exit(failures > 0)


def tool(bin_dir, name):
    """The path of a tool of llama.cpp."""
    return f"{os.environ.get('TADA_LLAMA_BIN') or os.path.abspath(bin_dir)}/{name}"


def model(bin_dir, kind="f16"):
    """The path of the default model, f16 or q4_1, which is fetched if need be."""
    script = f"{HERE}/../../scripts/get_{'f16_' if kind == 'f16' else ''}model.sh"
    return subprocess.run([script, *([bin_dir] if kind == "f16" else [])], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.removesuffix("\n")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def threads_of(pid):
    """What each thread of a process does: what the kernel tells, and stacks where there is gdb."""
    def read(path):
        try:
            return path.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return "?"
    lines = []
    for task in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*")):
        state = [line.split(":\t")[1] for line in read(task / "status").splitlines() if line.startswith("State:")]
        lines.append(f"  {task.name} {read(task / 'comm')}: {' '.join(state)}, waits in {read(task / 'wchan')}, call {read(task / 'syscall')}")
    if shutil.which("gdb"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            lines.append(subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 30"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=PATIENCE_S,
                                        check=False).stdout)
    return "\n".join(lines)


def tell_and_end(*_):
    """Who ends the test from outside wants to know what it was waiting for."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.dump_traceback()
    for server in list(servers):
        server.tell("the test is ended")
        server.process.kill()
    os._exit(128 + signal.SIGTERM)


def join(threads, *nudged):
    """
    Waits for threads that ask servers, as long as it takes. A stock llama-server puts aside what has to wait for a slot,
    and when a slot is free it looks at one of these again, which may not be the one that can go on: the others then
    wait until something else has been answered. At the end of a test nothing else comes, so these servers are asked.
    """
    for thread in threads:
        while thread.is_alive():
            thread.join(5)
            for server in nudged if thread.is_alive() else ():
                with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                    server.call("/completion", prompt=[3], n_predict=1)


class Server:
    """Started with a command and a port; `with` waits until it answers, and ends it. `log`: the path of its log."""

    def __init__(self, command, environment, log):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = open(log, "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen([*command, "--port", str(self.port)], env=environment, stdout=self.log,
                                        stderr=subprocess.STDOUT)
        if not servers and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, tell_and_end)
        servers.append(self)

    def tell(self, why):
        print(f"{why}: server {self.process.pid}, {'running' if self.alive() else 'ended'}; its last lines:\n{self.text()[-1000:]}\n"
              f"its threads:\n{threads_of(self.process.pid)}", flush=True)

    @contextlib.contextmanager
    def watched(self, what):
        """Around what waits for it."""
        timer = threading.Timer(STACKS_S, self.tell, (f"no answer for {STACKS_S} s to {what}",))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def __enter__(self):
        end = time.monotonic() + PATIENCE_S
        while self.alive() and time.monotonic() < end:
            try:
                self.call("/health")
                return self
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        self.process.kill()
        raise SystemExit(f"llama-server did not start:\n{self.text()[-2000:]}")

    def terminate(self):
        """SIGTERM for the thread that accepts clients. llama-server's handler locks its queue; run by a thread that has locked
        it already, as the one that decodes often has, it waits for itself for ever."""
        accepts = ("43", "288") if platform.machine() == "x86_64" else ("202", "242")
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        with contextlib.suppress(OSError):
            for task in tasks.iterdir():
                if (task / "syscall").read_text(encoding="ascii").split()[0] in accepts:
                    ctypes.CDLL(None).tgkill(self.process.pid, int(task.name), signal.SIGTERM)
                    return
        self.process.terminate()

    def __exit__(self, *_):
        self.terminate()
        try:
            with self.watched("SIGTERM"):
                self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            servers.remove(self)
        self.log.close()

    def text(self):
        """What it has logged."""
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return log.read()

    def alive(self):
        return self.process.poll() is None

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    def call(self, path, timeout=PATIENCE_S, **body):
        """The JSON of the answer; urllib.error.HTTPError for a refusal."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None,
                                         {"Content-Type": "application/json"})
        with self.watched(path), urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def complete(self, slot, prompt, n=12, **more):
        return self.call("/completion", prompt=prompt, n_predict=n, id_slot=slot, temperature=0, cache_prompt=True,
                         **more)

    def cancel(self, path, n_chunks, timeout=PATIENCE_S, **body):
        """Asks for an answer in pieces and closes the connection after so many."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            with self.watched(path):
                connection.request("POST", path, json.dumps(dict(body, stream=True)), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                for _ in range(n_chunks):
                    if not answer.readline():
                        break
        finally:
            connection.close()

    def slot(self, action, name, slot=0):
        return self.call(f"/slots/{slot}?action={action}", filename=name)

    def is_refused(self, name, slot=1, action="restore"):
        """Whether restoring (or saving) this file ends with the error of a bad request."""
        try:
            self.slot(action, name, slot)
        except urllib.error.HTTPError as error:
            return error.code == 400
        return False


class PluggedServer(Server):
    """llama-server with the plug-in of bin_dir, whose metrics are asked for, and a cache spec."""

    def __init__(self, bin_dir, spec, log, *arguments, **environment):
        self.metrics = f"127.0.0.1:{free_port()}"
        environment = {**os.environ, "GGML_BACKEND_PATH": f"{bin_dir}/libggml-tada.so", "TADA_CACHE": spec,
                       "TADA_METRICS": self.metrics, **environment}
        super().__init__([tool(bin_dir, "llama-server"), *arguments], environment, log)

    def is_compressed(self):
        """Whether the plug-in has planes now. Without any, nobody answers for its metrics."""
        try:
            with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=PATIENCE_S) as answer:
                return Metrics(answer.read().decode()).total("planes") > 0
        except urllib.error.URLError:
            return False
