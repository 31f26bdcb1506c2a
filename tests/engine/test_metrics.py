#!/usr/bin/env python3
"""What TADA_METRICS publishes, of a process without a model and of llama-server.   test_metrics.py BIN_DIR"""
import http.client
import os
import pathlib
import re
import socket
import stat
import subprocess
import sys
import tempfile
import time

from llama_server import PATIENCE_S, PluggedServer, check, finish, free_port, model
from metrics_text import Metrics

BIN = os.path.abspath(sys.argv[1])
MODEL = model(BIN, "q4_1")
LIBRARIES = os.environ.get("TADA_LLAMA_BIN") or os.path.dirname(os.path.realpath(f"{BIN}/llama-server"))
HERE = os.path.dirname(os.path.abspath(__file__))
PLUGIN = f"{BIN}/libggml-tada.so"
SPEC = "tada:4:window=64:window_bits=16:sinks=4"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("TADA_", "GGML_"))}
ENVIRONMENT["OMP_WAIT_POLICY"] = "passive"


def fetch(port, path="/metrics", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


class Source:
    """A file, or a port, and what it said last: each text is well formed, and no counter goes back."""

    def __init__(self, target):
        self.target, self.last = str(target), None

    def read(self):
        text = pathlib.Path(self.target).read_text() if "/" in self.target else fetch(self.target.split(":")[1])[1]
        now = Metrics(text)
        if self.last and (back := now.follows(self.last)):
            raise ValueError(f"counters went back: {back}")
        self.last = now
        return now

    def until(self, name, condition):
        """Waits for it, as a file is a second behind."""
        end, problem, good = time.monotonic() + PATIENCE_S, None, False
        while not good and time.monotonic() < end:
            try:
                good = condition(self.read())
            except (OSError, KeyError) as error:
                problem = error
            except ValueError as error:
                problem = error
                break
            time.sleep(0 if good else 0.1)
        check(name, good, problem or dict(self.last or {}))


class Host:
    """metrics_host.py"""

    def __init__(self, scenario, target, spec=SPEC):
        environment = dict(ENVIRONMENT, TADA_CACHE=spec)
        if target:
            environment["TADA_METRICS"] = str(target)
        self.process = subprocess.Popen([sys.executable, f"{HERE}/metrics_host.py", LIBRARIES, PLUGIN, scenario],
                                        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def waits(self, text):
        """The next step is done."""
        line = self.process.stdout.readline().strip()
        if line != text:
            raise SystemExit(f"'{line}' instead of '{text}': {self.process.communicate()}")

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        try:
            out, err = self.process.communicate(timeout=PATIENCE_S)
            return out, re.sub("^load_backend: .*\n", "", err, flags=re.M), self.process.returncode
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "", "it did not end", -1


def each_by_kind(metrics, name, k, v):
    return (metrics.at(name, "k"), metrics.at(name, "v")) == (k, v)


def tiles(metrics, state):
    return metrics.at("tiles", "k", state), metrics.at("tiles", "v", state)


def counts(target, name):
    """Two layers of 2000 cells and 128 values: 32 tiles, two of them hot."""
    host, source = Host("counts", target), Source(target)
    host.waits("empty")
    source.until(f"{name}: an empty cache", lambda m: m.at("cells", "0") == 2000 and m.at("cells_used", "0") == 0 and
                 each_by_kind(m, "planes", 2, 2) and tiles(m, "empty") == (64, 64) and
                 each_by_kind(m, "f16_bytes", 2 * 2000 * 256, 2 * 2000 * 256))
    m = source.last
    check(f"{name}: what was built", m.labels["tada_build_info"] == ("version", "kernels", "ggml", "spec") and
          [labels[3] for (at, labels) in m if at == "tada_build_info"] == [SPEC], list(m))
    check(f"{name}: bytes by part", m.at("cache_bytes", "k", "hot") == 2 * 2 * 64 * 256 and
          m.at("cache_bytes", "v", "sinks") == 2 * 4 * 256 and
          0.2 < m.total("cache_bytes") / m.total("f16_bytes") < 0.4, dict(m))
    host.go_on()
    host.waits("written")
    source.until(f"{name}: rows and tiles", lambda m: m.at("cells_used", "0") == 640 and tiles(m, "hot") == (4, 4) and
                 tiles(m, "cold") == (16, 16) and tiles(m, "empty") == (44, 44) and
                 each_by_kind(m, "refined_tiles", 16, 16) and each_by_kind(m, "layered_tiles", 0, 0) and
                 each_by_kind(m, "compressions_total", 16, 16) and each_by_kind(m, "reopenings_total", 0, 0) and
                 each_by_kind(m, "state_rows_written_total", 1280, 1280) and m.at("encoding_seconds_total") > 0)
    check(f"{name}: nothing else", source.last.total("tokens_written_total") == 0 and
          source.last.total("generic_ops_total") == 0 and source.last.at("attention_calls_total") == 2 and
          source.last.total("state_rows_read_total") == 0, dict(source.last))
    host.go_on()
    host.waits("again")
    source.until(f"{name}: a cold tile reopened, rows read", lambda m: m.at("cells_used", "0") == 640 and
                 each_by_kind(m, "reopenings_total", 2, 2) and each_by_kind(m, "compressions_total", 18, 18) and
                 each_by_kind(m, "state_rows_written_total", 1284, 1284) and
                 each_by_kind(m, "state_rows_read_total", 1000, 1004))
    host.go_on()
    host.waits("two")
    source.until(f"{name}: a second cache", lambda m: m.at("cells", "0") == 2000 and m.at("cells", "1") == 6000 and
                 m.at("cells_used", "1") == 100 and each_by_kind(m, "planes", 4, 4))
    host.go_on()
    host.waits("second only")
    source.until(f"{name}: one goes, what it did stays", lambda m: ("tada_cells", ("0",)) not in m and
                 m.at("cells", "1") == 6000 and each_by_kind(m, "planes", 2, 2) and
                 each_by_kind(m, "compressions_total", 18, 18) and each_by_kind(m, "reopenings_total", 2, 2) and
                 each_by_kind(m, "merges_total", 0, 0))
    host.go_on()
    host.waits("first again")
    source.until(f"{name}: the next gets the free number", lambda m: m.at("cells_used", "0") == 0 and
                 m.at("cells_used", "1") == 100)
    host.go_on()
    host.waits("none")
    if "/" in str(target):
        m = source.read()
        check(f"{name}: the last state is written when all are gone", each_by_kind(m, "planes", 0, 0) and
              m.total("cache_bytes") == 0 and each_by_kind(m, "compressions_total", 18, 18), dict(m))
    else:
        check(f"{name}: nobody listens when all are gone", refuses(source), "somebody does")
    host.go_on()
    out, err, status = host.end()
    check(f"{name}: no word", err == "" and status == 0 and out == "end\n", (out, err, status))


def refuses(source):
    try:
        source.read()
        return False
    except ConnectionRefusedError:
        return True


def life(folder):
    for target, name, more in ((None, "no TADA_METRICS", 0), ("", "an empty one", 0), ("0", "0", 0),
                               (f"{folder}/threads", "a file", 1), (f":{free_port()}", "a port", 1)):
        host = Host("threads", target)
        out, err, status = host.end()
        before, during, after = map(int, out.split()[:3])
        check(f"threads with {name}", (during - before, after - before, err, status) == (more, 0, "", 0), (out, err))
    for target, name in ((f"{folder}/leave", "a file"), (f"127.0.0.1:{free_port()}", "a port")):
        out, err, status = Host("leave", target).end()
        check(f"{name}: an end without freeing", (out, err, status) == ("end\n", "", 0), (out, err, status))
    check("... the last state is written", Source(f"{folder}/leave").read().at("cells_used", "0") == 70)
    for target in (f"{folder}/fork", f"localhost:{free_port()}"):
        name, host, source = target.split("/")[-1].split(":")[0], Host("fork", target), Source(target)
        host.waits("parent")
        source.until(f"{name}: before a fork", lambda m: m.at("cells_used", "0") == 70)
        host.go_on()
        for _ in range(3):
            host.waits("child 0")
        host.waits("handed on False")
        host.waits("after")
        source.until(f"{name}: the parent goes on after it", lambda m: m.at("cells_used", "0") == 100)
        host.go_on()
        check(f"{name}: ... and ends", host.end()[2] == 0)
    for target in (f"{folder}/crowd", f":{free_port()}"):
        host, source = Host("crowd", target), Source(target)
        host.waits("done")
        if "/" in target:
            check("contexts that come and go at once", each_by_kind(source.read(), "planes", 0, 0) and
                  each_by_kind(source.last, "state_rows_written_total", 2400, 2400), dict(source.last))
        else:
            check("... with a port", refuses(source))
        host.go_on()
        out, err, status = host.end()
        check("... without a word", err == "" and status == 0, (out, err, status))
    left = [name for name in os.listdir(folder) if ".part" in name]
    check("no temporary files are left", not left, left)


def bad_values(folder):
    port = free_port()
    os.mkdir(f"{folder}/folder")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        for value in (f"0.0.0.0:{port}", "192.168.1.1:9090", "[::]:9090", ":0", ":65536", ":123456789012345678901",
                      "localhost:000000", "9090", f"127.0.0.1:{port}", "/nowhere/metrics", f"{folder}/folder",
                      f"{folder}/new/", "/dev/null", f"/{'x' * 5000}", "/proc/metrics"):
            out, err, status = Host("leave", value).end()
            check(f"TADA_METRICS={value[:40]}: one line, and the host goes on", (out, status) == ("end\n", 0) and
                  re.fullmatch(r"TADA: TADA_METRICS.*going on without.*\n", err), (out, err, status))
    for name, link in (("notes", None), ("linked", "notes")):
        path = pathlib.Path(folder, name)
        if link:
            path.symlink_to(link)
        else:
            path.write_text("of mine\n", encoding="utf-8")
        out, err, status = Host("leave", str(path), SPEC).end()
        if link:
            check("a link is replaced, not followed", not path.is_symlink() and "tada_cells_used" in path.read_text("utf-8"))
        else:
            check("a file of somebody else: one line, and the host goes on", (out, status) == ("end\n", 0) and
                  re.fullmatch(r"TADA: TADA_METRICS.*going on without.*\n", err), (out, err, status))
        check("... it is left alone", pathlib.Path(folder, "notes").read_text("utf-8") == "of mine\n")
    Host("leave", f"{folder}/kept", SPEC).end()
    os.chmod(f"{folder}/kept", 0o640)
    Host("leave", f"{folder}/kept", SPEC).end()
    check("a file keeps its mode", os.stat(f"{folder}/kept").st_mode & 0o777 == 0o640)
    check("a device is left alone", stat.S_ISCHR(os.stat("/dev/null").st_mode))
    host, source = Host("leave", "relative", SPEC), Source(f"{os.getcwd()}/relative")
    host.end()
    check("a relative path is one of a file", source.read().at("cells_used", "0") == 70)
    os.unlink("relative")


def odd_names(folder):
    """Labels with all that has to be escaped: the path of a plan."""
    make_plan = f"{BIN}/../tests/make_plan"
    if not os.path.exists(make_plan):
        print("skipped: there is no make_plan, as llama.cpp's libraries were not there when this was built")
        return
    subprocess.run([make_plan, folder, "2", "128", "0"], check=True, capture_output=True)
    odd = f'{folder}/a "b" \\n {{c="d"}} \n\u00e9.plan'
    os.rename(f"{folder}/good.plan", odd)
    host = Host("leave", f"{folder}/odd", f"tada:@{odd}")
    out, err, status = host.end()
    spec = [labels[3] for (at, labels) in Source(f"{folder}/odd").read() if at == "tada_build_info"]
    check("labels are escaped", spec == [f"tada:@{odd}".replace("\u00e9", "??")], (spec, out, err, status))


def serve(folder, target, *arguments):
    log = f"{folder}/{len(os.listdir(folder))}.log"
    return PluggedServer(BIN, "tada:4:window=0", log, "-m", MODEL, "-t", "2", "-np", "1", "-lv", "3", "--slot-save-path",
                  f"{folder}/", *arguments, TADA_METRICS=str(target))


def complete(server, prompt, n):
    return server.call("/completion", prompt=prompt, n_predict=n, id_slot=0, temperature=0, ignore_eos=True)


def save(server):
    return server.call("/slots/0?action=save", filename="slot")["n_saved"]


def layers_of(metrics):
    return int(metrics.at("planes", "k"))


def serve_file(folder):
    """Completions, a slot that is saved and restored, a context that shifts."""
    source = Source(f"{folder}/server.prom")
    with serve(folder, source.target, "-c", "256", "--context-shift", "--cache-ram", "0") as server:
        source.until("server: a cache of 256 cells", lambda m: m.at("cells", "0") == 256 and layers_of(m) > 0 and
                     m.at("cells_used", "0") == 0)
        answer = complete(server, "The keeper of the lighthouse wrote the weather into his book. " * 12, 20)
        # The last token of an answer is not computed on.
        tokens = answer["timings"]["prompt_n"] + answer["timings"]["predicted_n"] - 1
        source.until("server: tokens", lambda m: m.at("tokens_written_total", "0") > 0)
        rows = layers_of(source.last) * save(server)
        # What is written after the save has been counted holds all that came before it.
        source.until("server: a slot save shows", lambda m: each_by_kind(m, "state_rows_read_total", rows, rows))
        first, layers, n_tiles = source.last, layers_of(source.last), (tokens + 63) // 64
        check("server: cells used are the tokens", first.at("cells_used", "0") == tokens and
              first.at("tokens_written_total", "0") >= tokens and rows == tokens * layers, (tokens, rows, dict(first)))
        check("server: hot and cold tiles", tiles(first, "hot") == (layers, layers) and
              tiles(first, "cold") == ((n_tiles - 1) * layers,) * 2 and
              layers <= first.at("refined_tiles", "k") <= (n_tiles - 1) * layers, dict(first))
        check("server: compressions, time", first.total("compressions_total") >= 2 * layers * (n_tiles - 1) and
              first.at("encoding_seconds_total") > 0 and first.at("attention_seconds_total") > 0, dict(first))
        check("server: attention calls", first.at("attention_calls_total") % layers == 0 and
              first.at("attention_calls_total") >= 20 * layers, dict(first))
        check("server: nothing generic, nothing restored", first.total("generic_ops_total") == 0 and
              first.total("state_rows_written_total") == 0 and "generic path" not in server.text(), dict(first))
        server.call("/slots/0?action=erase", filename="slot")
        restored = layers * server.call("/slots/0?action=restore", filename="slot")["n_restored"]
        source.until("server: a restore shows", lambda m: each_by_kind(m, "state_rows_written_total", restored,
                                                                       restored))
        before = source.last
        complete(server, "Day after day he wrote", 300)
        more = rows + layers * save(server)
        source.until("server: another save", lambda m: each_by_kind(m, "state_rows_read_total", more, more))
        after = source.last
        check("server: more tokens than cells", after.at("tokens_written_total", "0") > tokens + 300 and
              128 < after.at("cells_used", "0") <= 256, dict(after))
        grown = [after.at("compressions_total", kind) - before.at("compressions_total", kind) for kind in "kv"]
        check("server: a context shift shows, as K is encoded again where it begins", grown[0] > grown[1] > 0, grown)
        falls = {labels[0] for (name, labels), value in after.items() if name == "tada_generic_ops_total" and value}
        told = re.findall(r"TADA: (\w+) on .* takes the generic path", server.text())
        check("server: each operation that falls is logged once", sorted(told) == sorted(falls), (told, falls))
    check("server: ends", server.process.returncode == 0, server.process.returncode)
    check("server: the last state", layers_of(source.read()) == 0, dict(source.last))


def talk(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(data)
        answer = b""
        while more := client.recv(4096):
            answer += more
        return answer.decode()


def other_addresses():
    """Those that this machine has beside loopback."""
    addresses = set()
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    except OSError:
        pass  # a name that nothing knows
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; finds the way that it would take
            addresses.add(probe.getsockname()[0])
        except OSError:
            pass
    return sorted(address for address in addresses if not address.startswith("127."))


def serve_port(folder):
    port = free_port()
    source = Source(f"127.0.0.1:{port}")
    with serve(folder, source.target, "-c", "256") as server:
        source.until("port: metrics", lambda m: m.at("cells", "0") == 256)
        before = source.read()
        check("port: the warm-up leaves no cells", before.at("cells_used", "0") == 0, dict(before))
        answer = complete(server, "One two three", 30)
        tokens = answer["timings"]["prompt_n"] + answer["timings"]["predicted_n"] - 1
        check("port: cells used are the tokens, at once", source.read().at("cells_used", "0") == tokens and
              source.last.at("tokens_written_total", "0") - before.at("tokens_written_total", "0") == tokens,
              (tokens, dict(source.last)))
        answer, body = fetch(port, "/metrics?x=1")
        check("port: type and length", answer.status == 200 and int(answer.headers["Content-Length"]) == len(body) and
              answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", dict(answer.headers))
        answer, body = fetch(port, method="HEAD")
        check("port: HEAD", answer.status == 200 and body == "" and int(answer.headers["Content-Length"]) > 1000)
        for path, method, status in (("/", "GET", 404), ("/metrics/", "GET", 404), ("/metricsx", "GET", 404),
                                     ("/metrics", "POST", 405), ("/metrics", "DELETE", 405)):
            check(f"port: {method} {path}", fetch(port, path, method)[0].status == status)
        for data, name in ((b"\r\n\r\n", "an empty request"), (b"GET /metrics\r\n\r\n", "one without version"),
                           (b"\0\xff" * 50 + b"\r\n\r\n", "noise")):
            check(f"port: {name}", talk(port, data).startswith("HTTP/1.1 400 "))
        check("port: a request without end", talk(port, b"GET /metrics HTTP/1.1\r\n") == "")
        for _ in range(20):
            socket.create_connection(("127.0.0.1", port)).close()
        addresses, reached = other_addresses(), []
        for address in addresses:
            try:
                socket.create_connection((address, port), timeout=10).close()  # a wall may answer nothing
                reached.append(address)
            except OSError:
                pass
        check(f"port: not on {len(addresses)} other addresses", not reached, reached)
        source.until("port: it goes on", lambda m: m.at("cells", "0") == 256)
        with serve(folder, source.target, "-c", "256") as second:
            check("port taken: the second server lives", complete(second, "One two three", 4)["content"] != "")
            lines = [line for line in second.text().splitlines() if "TADA_METRICS" in line]
            check("port taken: one line", len(lines) == 1 and "Address already in use" in lines[0], lines)
        check("port taken: the first goes on", source.read().at("cells", "0") == 256)
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    check("port: a server ends while clients hang on", server.process.returncode == 0, server.process.returncode)
    for client in silent:
        client.close()


with tempfile.TemporaryDirectory() as work:
    counts(f"{work}/counts", "file")
    counts(f":{free_port()}", "port")
    life(work)
    bad_values(work)
    odd_names(work)
    serve_file(work)
    serve_port(work)
finish()
