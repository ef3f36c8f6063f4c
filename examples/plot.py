#!/usr/bin/env python3
"""Draws logs of fashion_mnist against epochs: accuracy, data loss and penalty, zeros of each layer.

    python3 examples/plot.py a.csv [b.csv ...] [-o zeros.png]
"""

import argparse
import csv
import pathlib
import sys

try:
    import matplotlib
except ModuleNotFoundError:
    sys.exit("plot.py needs matplotlib: python3 -m pip install matplotlib")

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

    figure, (accuracy, loss, zeros) = plt.subplots(1, 3, figsize=(15, 5), constrained_layout=True)
    for i, path in enumerate(arguments.logs):
        log = columns(path)
        epoch, style = log["epoch"], STYLES[i % len(STYLES)]
        accuracy.plot(epoch, log["test_accuracy"], "k" + style, marker="o", label=path.stem)
        loss.plot(epoch, log["data_loss"], "C0" + style, marker="o", label=f"{path.stem}: data loss")
        loss.plot(epoch, log["penalty"], "C1" + style, marker="s", label=f"{path.stem}: penalty")
        layers = list(log)[list(log).index("zeros") + 1:]
        for j, layer in enumerate(layers):
            # Markers of their own show runs that lie on each other, as those without zeros do.
            zeros.plot(epoch, [100 * z for z in log[layer]], style, color=f"C{j}",
                       marker="osD^v"[i % 5], markersize=9 - 2 * min(i, 3), fillstyle="none",
                       label=f"{path.stem}: {layer}")
    accuracy.set(xlabel="epoch", ylabel="test accuracy")
    loss.set(xlabel="epoch", ylabel="data loss, penalty")
    zeros.set(xlabel="epoch", ylabel="exact zeros, %", ylim=(-2, 102))
    for axes in (accuracy, loss, zeros):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.15))
    figure.savefig(arguments.output, dpi=120)
    print(arguments.output)


if __name__ == "__main__":
    main()
