"""What the samples come to: minima, medians, ratios, geomeans, targets, and the
Markdown that shows them."""

import math
import statistics

V8 = "V8"


def geomean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else None


class Series:
    """The samples of one kernel in one configuration, one a round."""

    def __init__(self):
        self.samples = []

    def min(self):
        return min(s.min_ns for s in self.samples)

    def median(self):
        return statistics.median(s.median_ns for s in self.samples)

    def spread(self):
        """How far the rounds' minima lie apart: 0.03 is three per cent."""
        minima = [s.min_ns for s in self.samples]
        return max(minima) / min(minima) - 1


def readable(ns):
    for unit, size in (("ns", 1), ("us", 1e3), ("ms", 1e6)):
        if ns < 1000 * size or unit == "ms":
            return f"{ns / size:.3g} {unit}" if ns < 100 * size else f"{ns / size:.0f} {unit}"
    return ""


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def ratio_text(value):
    return "–" if value is None else f"{value:.2f}"


class Results:
    """Every series of a comparison: series[kernel name][configuration name]."""

    def __init__(self, kernels, configurations):
        self.kernels = kernels
        self.configurations = configurations  # in the order of columns
        self.series = {k.name: {} for k in kernels}
        self.compiled = []  # Samples of the module of all kernels, baseline
        self.compiled_code_bytes = 0

    def add(self, kernel, name, sample):
        self.series[kernel.name].setdefault(name, Series()).samples.append(sample)

    def ratio(self, kernel, name, base):
        """Minimum over minimum, or None where either was not measured."""
        have = self.series[kernel.name]
        if name not in have or base not in have:
            return None
        return have[name].min() / have[base].min()

    def paired(self, kernel, name, base):
        """The median over the rounds of the ratio within a round."""
        have = self.series[kernel.name]
        if name not in have or base not in have:
            return None
        pairs = zip(have[name].samples, have[base].samples)
        return statistics.median(a.min_ns / b.min_ns for a, b in pairs)

    def ratios(self, groups, name, base, how=None):
        how = how or self.ratio
        found = [how(k, name, base) for k in self.kernels if k.group in groups]
        return [each for each in found if each is not None]

    def times_table(self):
        rows = []
        for kernel in self.kernels:
            have = self.series[kernel.name]
            row = [kernel.name, kernel.group]
            for name in self.configurations:
                if name in have:
                    row.append(f"{readable(have[name].min())} / {readable(have[name].median())}")
                else:
                    row.append("–")
            row.append(f"{max(s.spread() for s in have.values()) * 100:.0f} %")
            rows.append(row)
        return table(["kernel", "group", *self.configurations, "worst spread"], rows)

    def ratio_table(self):
        names = [name for name in self.configurations if name != V8]
        rows = []
        for kernel in self.kernels:
            rows.append([kernel.name] + [ratio_text(self.ratio(kernel, name, V8)) for name in names])
        for group in dict.fromkeys(k.group for k in self.kernels):
            for how, label in ((self.ratio, "geomean"), (self.paired, "geomean, by round")):
                cells = []
                for name in names:
                    found = self.ratios([group], name, V8, how)
                    whole = len(found) == sum(k.group == group for k in self.kernels)
                    cells.append(f"**{geomean(found):.2f}**" if found and whole else "–")
                rows.append([f"**{group}: {label}**"] + cells)
        return table(["against V8", *names], rows)


def target_rows(results, off, on, null, policy, baseline_compile):
    """The targets of the design: (what, target, reached or None)."""
    compute = results.ratios(["compute"], off, V8)
    calls = results.ratios(["calls"], off, V8)
    fuel = results.ratios(["compute", "calls"], on, off)

    def of(groups, name):
        return geomean(results.ratios(groups, name, V8))

    return [
        ("execution: compute kernels, geomean against V8", 1.05, geomean(compute)),
        ("execution: the worst compute kernel", 1.35, max(compute, default=None)),
        ("execution: call-heavy kernels, geomean", 0.70, geomean(calls)),
        ("fuel on against off, geomean", 1.07, geomean(fuel)),
        ("fuel on against off, the worst kernel", 1.35, max(fuel, default=None)),
        ("baseline compile, ms per KB of code section", 2.0, baseline_compile),
        ("guest calls host, no hook, against V8's import call", 0.6, of(["host"], off)),
        ("guest calls host, hook set", 2.0, of(["host"], null)),
        ("guest calls host, 50 rules, one about the call", 12.0, of(["host"], policy)),
        ("host calls guest, against V8", 4.0, of(["entry"], off)),
    ]


def target_table(rows):
    cells = []
    for what, target, reached in rows:
        verdict = "not measured" if reached is None else "met" if reached <= target else "**missed**"
        cells.append([what, f"≤ {target:g}", ratio_text(reached), verdict])
    return table(["target", "at most", "reached", ""], cells)
