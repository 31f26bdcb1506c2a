#!/usr/bin/env python3
"""tada pack and tada unpack as commands: their files, their errors, and what is left when they are killed.

    test_files.py TADA MAKE_SESSION
"""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import unpack as reader  # noqa: E402

TADA, MAKE = map(os.path.abspath, sys.argv[1:])
SEED = int(os.environ.get("TADA_SEED", "1"))
KILLS = 40
random.seed(SEED)
print(f"TADA_SEED={SEED}")
failures = 0


def check(name, good, detail=""):
    global failures
    print(f"{'ok      ' if good else 'FAILED  '}{name}{'' if good else f': {detail}'}", flush=True)
    failures += not good


def tada(*arguments):
    return subprocess.run([TADA, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def refused(name, status, says, *arguments):
    result = tada(*arguments)
    check(name, result.returncode == status and says in result.stdout, (result.returncode, result.stdout))


def make(path, spec, *shape):
    subprocess.run([MAKE, spec, *map(str, shape), path], check=True, stdout=subprocess.DEVNULL)
    return pathlib.Path(path).read_bytes()


def test_format():
    for spec, width, dim in (("tada", 64, 64), ("tada:5:k.rotate=hadamard", 96, 48), ("tada:2:v.axis=channel", 64, 32),
                             ("tada:8:k.axis=token:v.group=32", 64, 64)):
        stock = make("s", spec, width, dim, 1, 320)
        tada("pack", "s", "-o", "p")
        packed = pathlib.Path("p").read_bytes()
        check(f"the document's reader reads {spec}", reader.unpack(packed) == stock and len(packed) < len(stock))


def test_commands():
    stock = make("session.bin", "tada", 64, 64, 2, 640)
    result = tada("pack", "session.bin")
    check("packs beside the file", result.returncode == 0 and "session.bin.tada" in result.stdout, result.stdout)
    os.rename("session.bin", "before")
    result = tada("unpack", "session.bin.tada", "--json")
    sizes = json.loads(result.stdout)
    check("unpacks beside the file", pathlib.Path("session.bin").read_bytes() == stock)
    check("JSON has the sizes", sizes["stock_bytes"] == len(stock) and sizes["planes"] == 4 and
          sizes["packed_bytes"] == os.path.getsize("session.bin.tada") and 0 < sizes["raw_rows"] < sizes["rows"], sizes)
    tada("pack", "session.bin", "-o", "again")
    check("the same file packs to the same bytes",
          pathlib.Path("again").read_bytes() == pathlib.Path("session.bin.tada").read_bytes())
    refused("no file is wrong usage", 2, "Give one file", "pack")
    refused("two files are, too", 2, "Give one file", "unpack", "a", "b")
    refused("a name is needed without the ending", 2, "-o", "unpack", "again")
    refused("a foreign file is refused", 2, "llama.cpp", "pack", TADA, "-o", "x")
    refused("... also by unpack", 2, "not a packed session", "unpack", "session.bin", "-o", "x")
    refused("a missing file is refused", 2, "cannot be read", "pack", "nothing")
    refused("a folder is no output", 2, "it is a folder", "pack", "session.bin", "-o", ".")
    refused("a device is no output", 2, "not a plain file", "pack", "session.bin", "-o", "/dev/null")
    refused("help has an example of what it does", 0, "byte for byte", "help", "pack")
    refused("unknown options are refused", 2, "--nothing", "unpack", "--nothing")
    check("nothing is left of what failed", not os.path.exists("x") and not [f for f in os.listdir() if ".part" in f])


def test_damage():
    packed = bytearray(pathlib.Path("session.bin.tada").read_bytes())
    statuses = set()
    for percent in range(100):
        at = len(packed) * percent // 100
        for cut in (True, False):
            damaged = bytearray(packed[:at]) if cut else bytearray(packed)
            if not cut:
                damaged[at] ^= 1 << random.randrange(8)
            pathlib.Path("damaged").write_bytes(damaged)
            statuses.add(tada("unpack", "damaged", "-o", "x").returncode)
    check("damage at every hundredth is refused", statuses == {2} and not os.path.exists("x"), statuses)


def test_kills():
    """A file under its final name is always one of the whole ones."""
    stock = make("big", "tada:4:window=0", 256, 64, 6, 2000)
    tada("pack", "big", "-o", "big.tada")
    packed = pathlib.Path("big.tada").read_bytes()
    for name, arguments, whole in (("pack", ("pack", "big", "-o", "out"), packed),
                                   ("unpack", ("unpack", "big.tada", "-o", "out"), stock)):
        start = time.monotonic()
        tada(*arguments)
        usual = time.monotonic() - start
        there = killed = 0
        good = True
        for old in (None, b"the one before") * (KILLS // 2):
            pathlib.Path("out").unlink(missing_ok=True)
            if old:
                pathlib.Path("out").write_bytes(old)
            process = subprocess.Popen([TADA, *arguments], stdout=subprocess.DEVNULL)
            time.sleep(random.random() * 1.2 * usual)
            process.kill()
            killed += process.wait() == -signal.SIGKILL
            now = pathlib.Path("out").read_bytes() if os.path.exists("out") else None
            good = good and now in (old, whole)
            there += now == whole
        check(f"{name} killed {killed} times of {KILLS} leaves whole files or none", good and killed > 0)
        print(f"        whole after {there}")
        for part in pathlib.Path(".").glob("out.part*"):
            part.unlink()
    process = subprocess.Popen([TADA, "pack", "big", "-o", "stopped"], stderr=subprocess.PIPE)
    process.send_signal(signal.SIGINT)
    process.communicate()
    check("Ctrl-C leaves nothing", process.returncode in (130, -signal.SIGINT, 0) and
          not list(pathlib.Path(".").glob("stopped.part*")) and
          (process.returncode == 0) == os.path.exists("stopped"), process.returncode)


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    test_format()
    test_commands()
    test_damage()
    test_kills()
    os.chdir("/")
sys.exit(failures > 0)
