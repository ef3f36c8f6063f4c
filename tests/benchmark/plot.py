#!/usr/bin/env python3
"""Prints the tables of a benchmark in Markdown and draws the time per entry against the size.

    python3 tests/benchmark/plot.py benchmark.csv [-o benchmark.png]
"""

import argparse
import csv
import pathlib

NAMES = ["build", "device", "threads", "list", "work", "way", "ms", "low", "ratio", "high", "mib"]
WORKS = ["L1 value", "L1 term and gradient", "L1 prox_", "L2 prox_", "ElasticNet prox_",
         "L1 step after SGD", "L1 step after Adam", "memory after SGD", "memory after Adam"]
BIG, SMALL = "4 x 16777216", "1000 x 4096"


class Results:
    def __init__(self, path):
        with open(path, newline="") as file:
            rows = [dict(zip(NAMES, row)) for row in csv.reader(file)]
        self.rows = {(r["build"], r["threads"], r["list"], r["work"], r["way"]): r for r in rows}
        self.lists = list(dict.fromkeys(r["list"] for r in rows))

    def number(self, column, *key):
        return float(self.rows[key][column]) if key in self.rows else None

    def cells(self, build, threads, name, work):
        """The ratio to the limit, and how many times faster than the naive way."""
        ratio = self.number("ratio", build, threads, name, work, "torchreg")
        ours = self.number("ms", build, threads, name, work, "torchreg")
        naive = self.number("ms", build, threads, name, work, "naive")
        return (f"{ratio:.2f}" if ratio else "–", f"{naive / ours:.1f}" if ours and naive else "–")


def table(header, rows):
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def print_tables(results):
    for build, threads in (("release", "1"), ("release", "2"), ("debug", "1")):
        print(f"{build} build, threads: {threads}\n")
        table(["work", "4 × 16 Mi: ratio to the limit", "× faster than naive",
               "1000 × 4096: ratio to the limit", "× faster than naive"],
              [(work, *results.cells(build, threads, BIG, work),
                *results.cells(build, threads, SMALL, work)) for work in WORKS])

    models = [name for name in ("MLP", "ResNet-50", "GPT-2 small") if name in results.lists]
    table(["work, ratio to the limit", *models],
          [(work, *(results.cells("release", "1", name, work)[0] for name in models))
           for work in WORKS])

    mib = [results.number("mib", "release", "1", BIG, work, "torchreg") for work in WORKS[2:]]
    print(f"Memory above the parameters, at most: {max(mib):.1f} MiB for a step of {BIG}\n")
    others = [row for key, row in results.rows.items()
              if key[0] == "release" and (key[3].startswith("fixed") or key[3] == "training step")]
    table(["list", "work", "way", "ms", "ratio to the first"],
          [(r["list"], r["work"], r["way"], r["ms"], r["ratio"]) for r in others])


def draw(results, output):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sizes = sorted(int(name[4:]) for name in results.lists if name.startswith("1 x "))
    works = ["L1 value", "L1 term and gradient", "L1 prox_", "L1 step after Adam"]
    figure, axes = plt.subplots(1, len(works), figsize=(15, 3.6), constrained_layout=True)
    for axis, work in zip(axes, works):
        for way, style in (("limit", "k--"), ("naive", "C3"), ("LibTorch", "C1"), ("torchreg", "C0")):
            times = [results.number("ms", "release", "1", f"1 x {n}", work, way) for n in sizes]
            if all(times):
                axis.plot(sizes, [1e6 * ms / n for ms, n in zip(times, sizes)], style, label=way)
        axis.set(title=work, xscale="log", yscale="log", xlabel="entries of one tensor")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("ns per entry, one thread")
    axes[0].legend()
    figure.savefig(output, dpi=120)
    print(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("-o", "--output", help="a picture, which needs matplotlib")
    arguments = parser.parse_args()
    results = Results(arguments.results)
    print_tables(results)
    if arguments.output:
        draw(results, arguments.output)


if __name__ == "__main__":
    main()
