"""llama-server with the plug-in, for the tests that talk to it."""
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Keeps its log in `folder`, and its slots, too. environment: what is set beside or instead of os.environ."""

    def __init__(self, binaries, model, folder, environment, *arguments):
        self.port = free_port()
        self.log = open(f"{folder}/server.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [f"{binaries}/llama-server", "-m", model, "-t", "2", "--port", str(self.port), "--slot-save-path",
             f"{folder}/", *arguments],
            env=dict(os.environ, GGML_BACKEND_PATH=f"{binaries}/libggml-tada.so", **environment),
            stdout=self.log, stderr=subprocess.STDOUT)

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
            raise

    def text(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def call(self, path, **body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}",
                                         json.dumps(body).encode() if body else None,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def complete(self, slot, prompt, n=12, **more):
        return self.call("/completion", prompt=prompt, n_predict=n, id_slot=slot, temperature=0, cache_prompt=True,
                         **more)
