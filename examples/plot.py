#!/usr/bin/env python3
"""Draws test accuracy and the zeros of each layer against epochs from logs of fashion_mnist.

    python3 examples/plot.py a.csv [b.csv ...] [-o zeros.png]
"""

import argparse
import csv
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STYLES = ["-", "--", ":", "-."]


def columns(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("logs", nargs="+", type=pathlib.Path)
    parser.add_argument("-o", "--output", default="fashion_mnist.png")
    arguments = parser.parse_args()

    figure, (accuracy, zeros) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for i, path in enumerate(arguments.logs):
        log = columns(path)
        epoch, style = log["epoch"], STYLES[i % len(STYLES)]
        accuracy.plot(epoch, log["test_accuracy"], "k" + style, marker="o", label=path.stem)
        layers = list(log)[list(log).index("zeros") + 1:]
        for j, layer in enumerate(layers):
            zeros.plot(epoch, [100 * z for z in log[layer]], style, color=f"C{j}", marker="o",
                       label=f"{path.stem}: {layer}")
    accuracy.set(xlabel="epoch", ylabel="test accuracy")
    zeros.set(xlabel="epoch", ylabel="exact zeros, %", ylim=(-2, 102))
    for axes in (accuracy, zeros):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(arguments.output, dpi=120)
    print(arguments.output)


if __name__ == "__main__":
    main()
