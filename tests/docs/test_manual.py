#!/usr/bin/env python3
"""The manual pages say what the command says: the same commands, options and variables.   test_manual.py TADA PAGES SOURCE"""
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

TADA, PAGES, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])


def help_text(*arguments):
    return subprocess.run([TADA, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def commands():
    listed = help_text("--help").split("commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in listed.splitlines()]


def help_options(text):
    """Names of the options that a help describes: lines that begin with them."""
    names = []
    for line in text.splitlines():
        match = re.match(r"  (-[^\s,]*(?:, -[^\s,]+)*)", line)
        if match:
            names += match.group(1).split(", ")
    return names


def page_options(source):
    """Names of the options that a page describes: items of a list that begin with a flag."""
    names = []
    for line in source.splitlines():
        if line.startswith(".It Fl "):
            names += ["-" + name for name in re.findall(r"\bFl (\S+)", line)]
    return names


class Manual(unittest.TestCase):
    def page(self, name):
        path = PAGES / name
        self.assertTrue(path.is_file(), f"{name} is missing")
        return path.read_text(encoding="utf-8")

    def test_options(self):
        for command in commands():
            with self.subTest(command=command):
                if command == "help":
                    continue
                described = page_options(self.page(f"tada-{command}.1"))
                self.assertEqual(sorted(help_options(help_text(command, "--help"))), sorted(described))
        self.assertEqual(sorted(help_options(help_text("--help"))), sorted(page_options(self.page("tada.1"))))

    def test_commands(self):
        listed = re.findall(r"^\.It Cm (\w+)", self.page("tada.1"), re.MULTILINE)
        # A build without llama.cpp has fewer commands than the page.
        self.assertEqual([name for name in listed if name in commands()], commands())
        paged = {path.stem[len("tada-"):] for path in PAGES.glob("tada-*.1")}
        self.assertEqual(paged | {"help"}, set(commands()))

    def test_variables(self):
        named = re.findall(r"^  (TADA_\w+)", help_text("--help"), re.MULTILINE)
        described = re.findall(r"^\.It Ev (\w+)", self.page("tada.1"), re.MULTILINE)
        self.assertLessEqual(set(named), set(described))

    def test_specs(self):
        """Every spec that the help of run names is in tada-spec(7)."""
        page = self.page("tada-spec.7")
        for name in re.findall(r"\b(?:tada|kivi):[a-z0-9]+(?![a-z0-9=])", help_text("run", "--help")):
            if not re.match(r"tada:\d", name):
                self.assertIn(name, page)

    def test_spec_options(self):
        """Options of a spec and what they can be, as its errors name them."""
        def error(spec):
            return subprocess.run([TADA, "run", "--cache", spec], stderr=subprocess.PIPE, text=True, check=False).stderr

        page = self.page("tada-spec.7")
        options = re.search(r"options are ([\w, ]+)", error("tada:nonsense=1")).group(1).split(", ")
        self.assertIn("window", options)
        for option in options:
            item = re.search(rf"^\.It Cm (?:k\.)?{option}=.*$", page, re.MULTILINE)
            self.assertTrue(item, f"{option} is not in tada-spec(7)")
            values = re.search(r"must be ((?:\w+, )*\w+ or \w+)\.", error(f"tada:{option}=?") + error(f"tada:k.{option}=?"))
            for value in re.split(", | or ", values.group(1)) if values else []:
                self.assertIn(value, item.group())

    def test_references(self):
        for path in PAGES.iterdir():
            for name, section in re.findall(r"\bXr (tada\S*) (\d)", path.read_text(encoding="utf-8")):
                self.assertTrue((PAGES / f"{name}.{section}").is_file(), f"{path.name} names {name}({section})")

    def test_see_also(self):
        """tada(1) leads to every page, and every page back to it."""
        names = {f"{path.stem} {path.suffix[1:]}" for path in PAGES.iterdir()}
        for path in PAGES.iterdir():
            text = path.read_text(encoding="utf-8").split(".Sh SEE ALSO\n")[1].split("\n.Sh")[0]
            named = set(re.findall(r"^\.Xr (\S+ \d)", text, re.MULTILINE))
            self.assertLessEqual(names - {"tada 1"} if path.stem == "tada" else {"tada 1"}, named, path.name)

    def test_examples(self):
        """Examples are shown as they are typed: at most 80 columns, with the margin of the page and of the block."""
        for path in PAGES.iterdir():
            text = path.read_text(encoding="utf-8")
            self.assertNotIn("\n.Dl ", text, path.name)
            for block in re.findall(r"\.Bd -literal -offset indent\n(.*?)\.Ed", text, re.DOTALL):
                for line in block.splitlines():
                    self.assertLessEqual(len(line.replace("\\e", "\\")), 69, f"{path.name}: {line}")

    def test_makefile(self):
        """make help names every target."""
        source = (SOURCE / "Makefile").read_text(encoding="utf-8")
        targets = re.search(r"^\.PHONY: (.*)$", source, re.MULTILINE).group(1).split()
        shown = subprocess.run(["make", "-s", "-C", SOURCE, "help"], check=True, stdout=subprocess.PIPE, text=True).stdout
        for target in targets:
            self.assertIn(f"make {target}", shown)

    def test_form(self):
        for path in PAGES.iterdir():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.assertEqual(f".Dt {path.stem.upper()} {path.suffix[1:]}", lines[2])
            self.assertEqual(".Os " + help_text("--version").strip().replace("tada", "TaDA", 1), lines[3])
            if shutil.which("mandoc"):
                run = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], stdout=subprocess.PIPE, text=True,
                                     stderr=subprocess.DEVNULL)
                self.assertEqual("", run.stdout)
            if shutil.which("man") and shutil.which("groff"):
                run = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path.resolve()], text=True,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                self.assertEqual("", run.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
