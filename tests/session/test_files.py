#!/usr/bin/env python3
"""tada pack and tada unpack as commands: their files, their errors, and what is left when they are killed.

    test_files.py TADA MAKE_SESSION
"""
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import unpack as reader  # noqa: E402

TADA, MAKE = map(os.path.abspath, sys.argv[1:])
SEED = int(os.environ.get("TADA_SEED", "1"))
KILLS = 40
HANGS_S = 3600  # what takes so long hangs
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
        tada("pack", "s", "-o", "p", "-f")
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
    refused("help has an example of what it does", 0, "byte for byte", "help", "pack")
    refused("unknown options are refused", 2, "--nothing", "unpack", "--nothing")
    check("nothing is left of what failed", not os.path.exists("x") and not [f for f in os.listdir() if ".part" in f])


def mode(path):
    return oct(stat.S_IMODE(os.stat(path).st_mode))


def put(path, text, bits=0o644):
    pathlib.Path(path).write_text(text, encoding="utf-8")
    os.chmod(path, bits)


def text_of(path):
    return pathlib.Path(path).read_bytes().decode("utf-8", "replace")


def piped(data, *arguments):
    return subprocess.run([TADA, *arguments], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def as_user(arguments, folder=None):
    """Without the rights of root, in a folder that is made another user's."""
    if os.getuid() == 0:
        ids = {"user": 65534, "group": 65534, "extra_groups": []}
        for path in [folder, *pathlib.Path(folder).iterdir()] if folder else []:
            os.chown(path, 65534, 65534)
    else:
        ids = {}
    return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **ids)


def test_modes():
    make("m", "tada", 64, 64, 1, 320)
    os.chmod("m", 0o600)
    tada("pack", "m", "-o", "private")
    check("a private session is packed to a private file", mode("private") == "0o600", mode("private"))
    tada("unpack", "private", "-o", "opened")
    check("... and unpacked to one", mode("opened") == "0o600", mode("opened"))
    os.chmod("m", 0o640)
    for name, source, command in (("packed", "m", "pack"), ("unpacked", "private", "unpack")):
        put("there", "older", 0o604)
        if os.getuid() == 0:
            os.chown("there", 12, 34)
        result = tada(command, source, "-f", "-o", "there")
        owner = (os.stat("there").st_uid, os.stat("there").st_gid)
        check(f"what is replaced hands on its mode, {name}", mode("there") == "0o604" and result.returncode == 0,
              (mode("there"), result.stdout))
        check("... and its owner, where that is allowed", os.getuid() != 0 or owner == (12, 34), owner)
    os.chmod("m", 0o644)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        for path in ("m", "there"):
            shutil.copy(path, folder)
            os.chmod(f"{folder}/{path}", 0o660)
        shutil.copy(TADA, f"{folder}/tada")
        if os.getuid() == 0: # a group that the one who packs is not in
            os.chown(f"{folder}/m", 65534, 65534)
            os.chown(f"{folder}/there", 65534, 4321)
            run = subprocess.run([f"{folder}/tada", "pack", f"{folder}/m", "-f", "-o", f"{folder}/there"], check=False,
                                 user=65534, group=65534, extra_groups=[])
            check("... a group that cannot be kept gets no rights", run.returncode == 0 and
                  mode(f"{folder}/there") == "0o600", mode(f"{folder}/there"))


def test_places():
    stock = make("place", "tada", 64, 64, 1, 320)
    tada("pack", "place")
    packed = pathlib.Path("place.tada").read_bytes()
    for force in ((), ("-f",), ("--force",)):
        for name, arguments in (("pack", ("pack", "place", "-o", "place")),
                                ("pack, by another name", ("pack", "place", "-o", "./place")),
                                ("unpack", ("unpack", "place.tada", "-o", "place.tada"))):
            status, says = tada(*arguments, *force).returncode, tada(*arguments, *force).stdout
            check(f"{name} {' '.join(force)} refuses its own input", status == 2 and says.count("\n") == 1 and
                  "a file that is read" in says, (status, says))
    os.link("place", "second")
    refused("... by a second name", 2, "a file that is read", "pack", "place", "-f", "-o", "second")
    check("... which is still there", pathlib.Path("place").read_bytes() == stock and
          pathlib.Path("place.tada").read_bytes() == packed)
    put("mine", "of mine")
    refused("what is there is not replaced", 2, "--force", "pack", "place", "-o", "mine")
    refused("... nor under the usual name", 2, "--force", "pack", "place")
    refused("... nor by unpack", 2, "--force", "unpack", "place.tada")
    os.symlink("target", "loose")
    refused("... nor a link that leads nowhere", 2, "--force", "pack", "place", "-o", "loose")
    check("... and stays", text_of("mine") == "of mine" and not os.path.exists("target"))
    check("it is, if that is asked for", tada("pack", "place", "-f", "-o", "mine").returncode == 0 and
          pathlib.Path("mine").read_bytes() == packed)
    put("target", "of others")
    check("a link is replaced, not followed", tada("pack", "place", "-f", "-o", "loose").returncode == 0 and
          text_of("target") == "of others" and not os.path.islink("loose"))

    result = subprocess.run(["sh", "-c", f"for n in 0 1 2; do ln -s target planted.part$$-$n; done; exec '{TADA}' pack "
                             "place -o planted"], check=False)
    check("links under the names of temporary files are not followed", result.returncode == 0 and
          text_of("target") == "of others" and pathlib.Path("planted").read_bytes() == packed)
    for link in pathlib.Path(".").glob("*.part*"):
        link.unlink()
    name = 255 * "n"
    check("the longest name of a file is none too long", tada("pack", "place", "-o", name).returncode == 0)
    refused("... one more is", 2, "too long", "pack", "place", "-o", name + "n")
    os.mkdir("ro")
    shutil.copy("place", "ro/place")
    shutil.copy(TADA, "ro/tada")
    as_user(["true"], "ro")
    os.chmod(".", 0o755)
    os.chmod("ro", 0o555)
    result = as_user(["ro/tada", "pack", "ro/place"])
    check("a folder that is read-only is told in a line", result.returncode == 2 and result.stdout.count("\n") == 1 and
          "cannot be written (Permission denied)" in result.stdout, result.stdout)
    os.chmod("ro", 0o755)
    put("ro/kept", "kept", 0o444)
    result = as_user(["ro/tada", "pack", "ro/place", "-f", "-o", "ro/kept"])
    check("... a file that is, too", result.returncode == 2 and "Permission denied" in result.stdout and
          text_of("ro/kept") == "kept", result.stdout)
    refused("a folder is no output, with force either", 2, "it is a folder", "pack", "place", "-f", "-o", "ro")
    refused("... nor a path that ends like one", 2, "no file name", "pack", "place", "-o", "none/")
    refused("... nor nothing", 2, "-o needs a value", "pack", "place", "-o", "")


def test_streams():
    stock = pathlib.Path("place").read_bytes()
    packed = pathlib.Path("place.tada").read_bytes()
    for to in ("-", "/dev/stdout"):
        result = piped(b"", "pack", "place", "-o", to)
        check(f"{to} is standard output", result.stdout == packed and b"MiB" in result.stderr, result)
    check("... which is no file", not os.path.exists("-"))
    result = piped(b"", "unpack", "place.tada", "-o", "-", "--json")
    check("... of unpack, too", result.stdout == stock and json.loads(result.stderr)["stock_bytes"] == len(stock))
    check("- is standard input", piped(stock, "pack", "-").stdout == packed and piped(packed, "unpack", "-").stdout == stock)
    check("... of other files", piped(stock, "pack", "-", "-o", "from-pipe").returncode == 0 and
          pathlib.Path("from-pipe").read_bytes() == packed and mode("from-pipe") == "0o600")
    with open("place", "rb") as file:
        result = subprocess.run([TADA, "pack", "-", "-f", "-o", "place"], stdin=file, stderr=subprocess.PIPE, check=False)
        check("... is not replaced, either", result.returncode == 2 and b"is read" in result.stderr)
    damaged = piped(packed[:-9], "unpack", "-")
    check("nothing comes out of a damaged file", damaged.returncode == 2 and damaged.stdout == b"")
    with open("redirected", "wb") as file:
        subprocess.run([TADA, "pack", "place", "-o", "/dev/stdout"], stdout=file, stderr=subprocess.DEVNULL, check=False)
    check("/dev/stdout may be a file", pathlib.Path("redirected").read_bytes() == packed)
    before = os.stat("/dev/null")
    for command, source in (("pack", "place"), ("unpack", "place.tada")):
        check(f"{command} to /dev/null", tada(command, source, "-o", "/dev/null").returncode == 0 and
              (os.stat("/dev/null").st_rdev, os.stat("/dev/null").st_mode) == (before.st_rdev, before.st_mode))
        os.mkfifo("pipe")
        with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE) as reader_process:
            status = tada(command, source, "-o", "pipe").returncode
            data = reader_process.communicate()[0]
        check(f"{command} to a pipe with a name", status == 0 and data == (packed if command == "pack" else stock) and
              stat.S_ISFIFO(os.stat("pipe").st_mode))
        os.unlink("pipe")
        refused("a disk that is full is told", 2, "No space left", command, source, "-o", "/dev/full")

        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

        put("older", "older")
        result = subprocess.run([TADA, command, source, "-f", "-o", "older"], stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.STDOUT, preexec_fn=limited, check=False)
        check("... and nothing is lost", result.returncode == 2 and result.stdout.count("\n") == 1 and
              text_of("older") == "older" and not list(pathlib.Path(".").glob("*.part*")), result.stdout)
    os.mkfifo("silent")
    for command in ("pack", "unpack"):
        result = subprocess.run([TADA, command, "silent", "-o", "x"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                check=False, timeout=HANGS_S)
        check(f"{command} does not wait for who writes to a pipe", result.returncode == 2 and
              "silent is not a plain file" in result.stdout, result)
        result = subprocess.run(["sh", "-c", 'exec "$0" "$@" <&-', TADA, command, "-", "-o", "x"], stderr=subprocess.PIPE, check=False)
        check("... and an input that is closed is told", result.returncode == 2 and
              b"standard input cannot be read (Bad file descriptor)" in result.stderr, result)
    leader, follower = os.openpty()
    result = subprocess.run([TADA, "pack", "place", "-o", "-"], stdout=follower, stderr=subprocess.PIPE, text=True, check=False)
    check("a terminal gets no session", result.returncode == 2 and "terminal" in result.stderr, result.stderr)
    os.close(leader)
    os.close(follower)
    result = tada("pack", "no\x1b]0;title\x07\u009b31m\nfile")
    check("names reach the terminal without what controls it", result.returncode == 2 and
          "no\\x1b]0;title\\x07\\xc2\\x9b31m\\x0afile" in result.stdout, ascii(result.stdout))


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


def test_looking():
    """tada pack -l and -t."""
    sizes = {name: os.path.getsize(name) for name in ("session.bin", "session.bin.tada")}
    result = tada("pack", "-l", "session.bin.tada", "place.tada")
    lines = result.stdout.splitlines()
    check("a list has a line for each file", result.returncode == 0 and len(lines) == 3 and lines[1].startswith("slot ") and
          lines[1].endswith("  session.bin.tada") and all(len(line) < 90 for line in lines), result.stdout)
    result = tada("pack", "-t", "session.bin.tada", "place.tada")
    check("a test has one, too", (result.returncode, result.stdout) == (0, "session.bin.tada is sound\nplace.tada is sound\n"), result.stdout)
    (facts,) = json.loads(tada("pack", "-l", "--json", "session.bin.tada").stdout)
    check("... and says all in JSON", facts["sound"] and facts["kind"] == "slot" and facts["version"] == 2 and
          facts["packed_bytes"] == sizes["session.bin.tada"] and facts["stock_bytes"] == sizes["session.bin"] and
          facts["planes"] > 0 and facts["rows"] == facts["planes"] * facts["cells"] > facts["raw_rows"], facts)
    refused("a missing file is a problem", 1, "nothing cannot be read", "pack", "-t", "nothing")
    refused("... and so is another one, beside a sound one", 1, "place.tada is sound\n", "pack", "-t", TADA, "place.tada")
    refused("... which is said", 1, "is no packed session and no stored prompt", "pack", "-t", TADA)
    refused("one way at once", 2, "do not go together", "pack", "-l", "-t", "place.tada")
    refused("nothing is written", 2, "-t writes no file", "pack", "-t", "place.tada", "-o", "x")
    packed = bytearray(pathlib.Path("session.bin.tada").read_bytes())
    statuses, silent = set(), 0
    for percent in range(0, 100, 4):
        at = len(packed) * percent // 100
        for damaged in (packed[:at], packed[:at] + bytes([packed[at] ^ 16]) + packed[at + 1:]):
            pathlib.Path("damaged").write_bytes(damaged)
            result = tada("pack", "-t", "damaged")
            statuses.add(result.returncode)
            silent += "damaged" not in result.stdout or result.stdout.count("\n") != 1
    check("damage is found, and a sentence says so", statuses == {1} and not silent, (statuses, silent))


def test_kills():
    """A file under its final name is always one of the whole ones."""
    stock = make("big", "tada:4:window=0", 256, 64, 6, 2000)
    tada("pack", "big", "-o", "big.tada")
    packed = pathlib.Path("big.tada").read_bytes()
    for name, arguments, whole in (("pack", ("pack", "big", "-f", "-o", "out"), packed),
                                   ("unpack", ("unpack", "big.tada", "-f", "-o", "out"), stock)):
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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for part in range(10):
            pathlib.Path("stopped").unlink(missing_ok=True)
            process = subprocess.Popen([TADA, "pack", "big", "-o", "stopped"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
            time.sleep(part * usual / 10)
            process.send_signal(number)
            process.communicate()
            good = process.returncode in (130, -number, 0) and not list(pathlib.Path(".").glob("stopped.part*")) and \
                (process.returncode == 0) == os.path.exists("stopped")
            if not good:
                break
        check(f"{number.name} leaves nothing", good, process.returncode)


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    test_format()
    test_commands()
    test_modes()
    test_places()
    test_streams()
    test_damage()
    test_looking()
    test_kills()
    os.chdir("/")
sys.exit(failures > 0)
