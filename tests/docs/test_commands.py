#!/usr/bin/env python3
"""Runs every command of the documents with a tiny model, in a folder that looks like the top of the source but has
no more than is built.   test_commands.py SOURCE_DIR BUILD_DIR LLAMA_BIN [DOCUMENT...]

A block ```sh runs line by line, with bash; blocks of one document share a folder. A comment before it may say
    <!-- not tested here: REASON -->    it cannot be run here: network, root, or long (minutes to hours)
    <!-- server -->                     lines that start a server go on until the block ends
"""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SOURCE, BUILD, LLAMA = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
REASONS = ("network", "root", "long")
PATIENCE_S = 7200  # for what hangs
SERVER = re.compile(r"\btada (serve|rpc)\b|\b(llama|ggml-rpc)-server\b")
COMMAND = re.compile(r"(?:[A-Z_][A-Z_0-9]*=\S* )*(?:sudo )?(?:tada|make|cmake|ctest|pip|python3?|curl|apt-get|git|bash|"
                     r"build/\S+|scripts/\S+|llama-\S+|ggml-rpc-server)(?: |$)")
# Commands whose options are all their own, so that those that stand within a sentence can be looked up.
OWN_OPTIONS = ("verdict", "calibrate", "inspect", "eval", "bench", "size", "pack", "unpack", "doctor")


class Wrong(Exception):
    pass


def blocks(text):
    """(line, marker or None, language, lines) of each fence; an indented block is one of no language."""
    lines, at, found = text.splitlines(), 0, []
    while at < len(lines):
        if lines[at].startswith("```"):
            first, before = at, lines[at - 1] if at else ""
            at += 1
            while at < len(lines) and lines[at] != "```":
                at += 1
            marker = re.fullmatch(r"<!-- (.*) -->", before)
            found.append((first + 1, marker and marker.group(1), lines[first][3:], lines[first + 1:at]))
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            first = at
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            found.append((first + 1, None, None, [line.strip() for line in lines[first:at]]))
            continue
        at += 1
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Place:
    """A folder with what a reader has."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "build/bin").mkdir(parents=True)
        (folder / "build/tests").symlink_to(BUILD / "tests")
        for tool in {path.name: path for where in (LLAMA, BUILD / "bin") for path in where.iterdir()}.values():
            (folder / "build/bin" / tool.name).symlink_to(tool.resolve())
        for name in ("scripts", "tests", "bench", "python", "doc"):
            (folder / name).symlink_to(SOURCE / name)
        model = folder / "model.gguf"
        subprocess.run([BUILD / "tests/make_model", model, "2", "0.5"], check=True)
        cache = folder / "cache/tada"
        cache.mkdir(parents=True)
        shutil.copy(model, cache / "smollm2-135m-instruct-q4_1.gguf")  # the default model
        text = (SOURCE / "doc/reference/format.md").read_text(encoding="utf-8")
        (folder / "text.txt").write_text(text, encoding="utf-8")
        (folder / "other.txt").write_text(text[::-1], encoding="utf-8")
        (folder / "home").mkdir()
        self.environment = {
            "PATH": f"{BUILD}/bin:{LLAMA}:/usr/local/bin:/usr/bin:/bin", "HOME": str(folder / "home"),
            "XDG_CACHE_HOME": str(folder / "cache"), "TADA_LLAMA_BIN": str(LLAMA), "LC_ALL": "C.UTF-8",
            "OMP_WAIT_POLICY": "passive", "TMPDIR": str(folder)}
        self.ports = {port: str(free_port()) for port in ("8080", "8081", "9090", "50052")}
        self.names = {"MODEL": "model.gguf", "TEXT": "text.txt", "OTHER": "other.txt", "FILE": "slot.bin", "AGAIN": "again.bin"}
        subprocess.run([BUILD / "bin/tada", "run", "--tool", "completion", "-m", "model.gguf", "-p", text[:400], "-n", "2", "-c", "2048",
                        "-no-cnv", "--prompt-cache", "slot.bin"], cwd=folder, env=self.environment, check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE_S)

    def with_names(self, line):
        for name, file in self.names.items():
            line = re.sub(rf"(?<![\w$]){name}(?!\w)", file, line)
        for port, free in self.ports.items():
            line = re.sub(rf"(?<!\d){port}(?!\d)", free, line)
        return line.replace("192.168.1.", "127.0.0.")

    def serve(self, line):
        line = re.sub(r"\s*(#.*)?$", "", line).removesuffix("&")
        log = open(self.folder / "server.log", "w+", encoding="utf-8", errors="replace")
        server = subprocess.Popen(["bash", "-c", f"exec {line}" if "=" not in line.split()[0] else line], cwd=self.folder,
                                  env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        host = re.search(r"127\.0\.0\.\d+", line)
        port = re.search(r"(?:--port|-p) (\d+)", line)
        if not port:
            raise Wrong("a server without a port")
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection((host.group() if host else "127.0.0.1", int(port.group(1))), 1).close()
                time.sleep(1)
                return server
            except OSError:
                if server.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise Wrong("the server does not start:\n" + log.read()[-2000:]) from None
                time.sleep(0.2)

    def run(self, line):
        """Runs as much as one may paste at once."""
        try:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", line], cwd=self.folder, env=self.environment, timeout=PATIENCE_S,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired:
            raise Wrong(f"still runs after {PATIENCE_S} s") from None
        if done.returncode != 0:
            raise Wrong(f"exit status {done.returncode}:\n" + done.stdout.decode("utf-8", "replace")[-2000:])

    def run_block(self, lines, has_servers):
        servers, waiting = [], []
        try:
            for line in map(self.with_names, lines):
                if SERVER.search(line) and has_servers:
                    servers.append(self.serve(line))
                elif SERVER.search(line):
                    raise Wrong("it starts a server: mark it with <!-- server -->")
                else:
                    waiting.append(line)
                    # Variables hold for the lines after them.
                    if not re.match(r"\w+=\$\(|.*\\$", line):
                        self.run("\n".join(waiting))
                        waiting = []
            if waiting:
                self.run("\n".join(waiting))
        except Wrong as wrong:
            raise Wrong(f"{line.strip()}\n{wrong}") from None
        finally:
            for server in servers:
                os.killpg(server.pid, signal.SIGTERM)
            for server in servers:
                try:
                    server.wait(PATIENCE_S)
                except subprocess.TimeoutExpired:
                    os.killpg(server.pid, signal.SIGKILL)
                    server.wait()


def check_sentences(document, text):
    """Commands within a sentence: the command exists, and has these options."""
    n = 0
    for span in re.findall(r"`(?:build/bin/)?tada ([a-z]+)([^`]*)`", text.replace("\n", " ")):
        known = subprocess.run([BUILD / "bin/tada", "help", span[0]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if known.returncode != 0:
            raise Wrong(f"{document}: there is no command 'tada {span[0]}'")
        if span[0] in OWN_OPTIONS:
            for option in re.findall(r"(?<=\s)(--?[a-z][\w-]*)", span[1]):
                if not re.search(rf"(?<![\w-]){option}(?![\w-])", known.stdout):
                    raise Wrong(f"{document}: 'tada {span[0]}' has no option {option}")
                n += 1
    return n


def check(document, work):
    text = (SOURCE / document).read_text(encoding="utf-8")
    options = check_sentences(document, text)
    ran = skipped = 0
    place = None
    for line, marker, language, lines in blocks(text):
        where = f"{document}:{line}"
        if language != "sh":
            for command in lines:
                if COMMAND.match(command):
                    raise Wrong(f"{where}: a command outside of ```sh: {command}")
            continue
        reason = marker and re.fullmatch(r"not tested here: (\w+)", marker)
        if marker and marker != "server" and not (reason and reason.group(1) in REASONS):
            raise Wrong(f"{where}: unknown marker '{marker}'")
        if reason:
            print(f"  {where}: not run ({reason.group(1)})")
            skipped += 1
            continue
        if not place:
            place = Place(pathlib.Path(tempfile.mkdtemp(dir=work)))
        start = time.monotonic()
        try:
            place.run_block(lines, marker == "server")
        except Wrong as wrong:
            raise Wrong(f"{where}: {wrong}") from None
        print(f"  {where}: ok ({time.monotonic() - start:.0f} s)", flush=True)
        ran += 1
    print(f"{document}: {ran} blocks run, {skipped} not, {options} options within sentences")
    return ran, skipped


def main():
    named = sys.argv[4:] or DOCUMENTS + sorted(str(path.relative_to(SOURCE)) for path in SOURCE.glob("doc/*/*.md"))
    failures, total = 0, [0, 0]
    with tempfile.TemporaryDirectory() as work:
        for document in named:
            try:
                total = [a + b for a, b in zip(total, check(document, work))]
            except Wrong as wrong:
                print(f"FAIL {wrong}", flush=True)
                failures += 1
    print(f"{total[0]} blocks run, {total[1]} not run, {failures} documents with a failure")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
