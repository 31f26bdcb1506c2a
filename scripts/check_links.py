#!/usr/bin/env python3
"""Checks the links of the documents: files and headings within the source must be there, other addresses well formed.
check_links.py [DOCUMENT...]; without one, all that git knows.
check_links.py --installed FOLDER: those that an installation has, which are for users: links to CONTRIBUTING.md may lead
nowhere."""
import pathlib
import re
import subprocess
import sys
import unicodedata
from urllib.parse import urlparse

TOP = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")


def without_code(text):
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    """Of the headings, as hosts of git repositories make them."""
    found = set()
    for title in re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL),
                            re.MULTILINE):
        title = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title)
        name = "".join(c for c in title.lower() if c in " -_" or unicodedata.category(c)[0] in "LN").replace(" ", "-")
        unique, n = name, 0
        while unique in found:
            n += 1
            unique = f"{name}-{n}"
        found.add(unique)
    return found


def problem(top, document, link):
    """What is wrong with a link of a document that lies below `top`, or None."""
    address = urlparse(link)
    if address.scheme:
        good = address.scheme in ("http", "https") and "." in address.netloc or address.scheme == "mailto" and "@" in address.path
        return None if good else "is no address"
    target = (document.parent / address.path).resolve() if address.path else document
    if not target.is_relative_to(top):
        return "leads out of the source"
    if not target.exists():
        return "is not there"
    if address.fragment and address.fragment not in anchors(target):
        return "has no such heading"
    return None


def main():
    installed = sys.argv[1:2] == ["--installed"]
    top = pathlib.Path(sys.argv[2]).resolve() if installed else TOP
    names = sorted(top.rglob("*.md")) if installed else sys.argv[1:] or subprocess.run(["git", "-C", TOP, "ls-files", "-co", "--exclude-standard", "*.md"], check=True,
                                           stdout=subprocess.PIPE, text=True).stdout.split()
    n = failures = 0
    for document in (top / name for name in names):
        for link in LINK.findall(without_code(document.read_text(encoding="utf-8"))):
            n += 1
            wrong = problem(top, document, link)
            if wrong and not (installed and link.endswith("CONTRIBUTING.md")):
                print(f"{document.relative_to(top)}: {link} {wrong}")
                failures += 1
    print(f"{n} links in {len(names)} documents, {failures} wrong")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
