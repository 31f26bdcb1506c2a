"""llama-server as the tests in Python start it and talk to it; nothing but the standard library."""
import http.client
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request


def tool(bin_dir, name):
    """The path of a tool of llama.cpp."""
    return f"{os.environ.get('TADA_LLAMA_BIN') or os.path.abspath(bin_dir)}/{name}"


class Server:
    """One llama-server; `with` waits until it answers, and ends it."""

    def __init__(self, bin_dir, spec, log, *arguments, **environment):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        environment = dict(os.environ, GGML_BACKEND_PATH=f"{bin_dir}/libggml-tada.so", TADA_CACHE=spec, **environment)
        self.log = open(log, "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen([tool(bin_dir, "llama-server"), *arguments, "--port", str(self.port)],
                                        env=environment, stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        for _ in range(300):
            try:
                self.call("/health")
                return self
            except (OSError, urllib.error.URLError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
        self.process.kill()
        raise SystemExit(f"llama-server did not start:\n{self.text()[-2000:]}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def text(self):
        """What it has logged."""
        self.log.flush()
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return log.read()

    def alive(self):
        return self.process.poll() is None

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    def call(self, path, timeout=120, **body):
        """The JSON of the answer; urllib.error.HTTPError for a refusal."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def cancel(self, path, n_chunks, timeout=120, **body):
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
