"""Reads the text form of Prometheus as strictly as its specification lets one, and more so for names."""
import re

NAME, LABEL = r"tada_[a-z0-9_]+", r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\d+(?:\.\d+)?)")


class Metrics(dict):
    """{(name, (label value, ...)): value}; raises ValueError with the line that is wrong."""

    def __init__(self, text):
        super().__init__()
        self.kinds, self.labels, helped, current = {}, {}, set(), None
        if not text.endswith("\n"):
            raise ValueError("the last line has no end")
        for line in text[:-1].split("\n"):
            if match := re.fullmatch(rf"# HELP ({NAME}) (\S.*\.)", line):
                current = match[1]
                if current in helped:
                    raise ValueError(f"second HELP: {line}")
                helped.add(current)
            elif match := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge)", line):
                if match[1] != current or current in self.kinds:
                    raise ValueError(f"TYPE in a wrong place: {line}")
                if (match[2] == "counter") != current.endswith("_total"):
                    raise ValueError(f"counters, and they only, end in _total: {line}")
                self.kinds[current] = match[2]
            elif match := SAMPLE.fullmatch(line):
                self.sample(line, match, current)
            else:
                raise ValueError(f"not of the text form: {line}")
        if without := helped - self.kinds.keys():
            raise ValueError(f"no TYPE: {without}")

    def sample(self, line, match, current):
        name, labels = match[1], re.findall(LABEL, match[2] or "")
        if name != current or name not in self.kinds:
            raise ValueError(f"sample without its HELP and TYPE before it: {line}")
        names = tuple(label for label, _ in labels)
        if self.labels.setdefault(name, names) != names or len(set(names)) != len(names):
            raise ValueError(f"other labels than before: {line}")
        key = name, tuple(re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value) for _, value in labels)
        if key in self:
            raise ValueError(f"twice: {line}")
        self[key] = float(match[match.lastindex])

    def at(self, name, *labels):
        return self[f"tada_{name}", labels]

    def total(self, name):
        """Sum over all labels."""
        return sum(value for (at, _), value in self.items() if at == f"tada_{name}")

    def follows(self, earlier):
        """Counters that decreased or went away since then."""
        return [key for key, value in earlier.items()
                if earlier.kinds[key[0]] == "counter" and self.get(key, -1) < value]
