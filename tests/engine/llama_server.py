"""llama-server as the tests in Python start it and talk to it, and their checks; nothing but the standard library."""
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from metrics_text import Metrics

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE_S = 7200  # for what hangs: no machine is so loaded that what goes on needs them
failures = 0


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


class Server:
    """Started with a command and a port; `with` waits until it answers, and ends it. `log`: the path of its log."""

    def __init__(self, command, environment, log):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = open(log, "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen([*command, "--port", str(self.port)], env=environment, stdout=self.log,
                                        stderr=subprocess.STDOUT)

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

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
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
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def complete(self, slot, prompt, n=12, **more):
        return self.call("/completion", prompt=prompt, n_predict=n, id_slot=slot, temperature=0, cache_prompt=True,
                         **more)

    def cancel(self, path, n_chunks, timeout=PATIENCE_S, **body):
        """Asks for an answer in pieces and closes the connection after so many."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
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
