"""A running llama-server, and checks: what the tests of servers share."""
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

failures = 0


def check(name, good, detail=""):
    global failures
    print(f"{'ok      ' if good else 'FAILED  '}{name}{'' if good else f': {detail}'}", flush=True)
    failures += not good


def finish():
    sys.exit(failures > 0)


class Server:
    """Started with a command and a port, ended with the block that it is used in."""

    def __init__(self, command, environment, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = open(f"{folder}/server.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen([*command, "--port", str(port)], env=environment, stdout=self.log,
                                        stderr=subprocess.STDOUT)

    def __enter__(self):
        for _ in range(600):
            try:
                self.call("/health")
                return self
            except (OSError, urllib.error.URLError):
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        raise SystemExit(f"llama-server did not start:\n{self.text()[-2000:]}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def text(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def call(self, path, **body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def complete(self, slot, prompt, n=12):
        return self.call("/completion", prompt=prompt, n_predict=n, id_slot=slot, temperature=0, cache_prompt=True)

    def slot(self, action, name, slot=0):
        return self.call(f"/slots/{slot}?action={action}", filename=name)

    def is_refused(self, name, slot=1):
        """Whether restoring this file ends with the error of a bad request."""
        try:
            self.slot("restore", name, slot)
        except urllib.error.HTTPError as error:
            return error.code == 400
        return False
