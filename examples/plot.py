#!/usr/bin/env python3
"""Draws logs of fashion_mnist against epochs: accuracy, data loss and penalty, zeros of each layer.

    python3 examples/plot.py a.csv [b.csv ...] [-o zeros.png]
    python3 examples/plot.py path.csv [-o path.png]     the log of lasso_path: its coefficients
    python3 examples/plot.py sweep.csv [-o sweep.png]   the log of sweep: accuracy against zeros
    python3 examples/plot.py filters.csv [-o filters.png]   the log of prune_filters
    python3 examples/plot.py smaller.csv [-o smaller_model.png]   the log of smaller_model
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


def draw_path(path, output):
    log = columns(path)
    strengths = log.pop("lambda")
    figure, axes = plt.subplots(figsize=(8, 5), constrained_layout=True)
    for i, (name, values) in enumerate(log.items()):
        axes.plot(strengths, values, STYLES[i % len(STYLES)], label=name)
    axes.axhline(0, color="k", linewidth=0.5)
    axes.set(xscale="log", xlabel="lambda", ylabel="coefficient")
    axes.invert_xaxis()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(output, dpi=90)


def draw_sweep(path, output):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = plt.subplots(figsize=(8, 5), constrained_layout=True)
    for i, way in enumerate(dict.fromkeys(row["way"] for row in rows)):
        own = [row for row in rows if row["way"] == way]
        points = []
        for strength in dict.fromkeys(row["strength"] for row in own):
            runs = [row for row in own if row["strength"] == strength]
            zeros = [100 * float(row["zeros"]) for row in runs]
            right = [float(row["test_accuracy"]) for row in runs]
            points.append((sum(zeros) / len(runs), sum(right) / len(runs)))
            axes.plot(zeros, right, "osD"[i % 3], color=f"C{i}", markersize=3, alpha=0.5)
            if i == 2:
                axes.annotate(strength, points[-1], xytext=(0, 6), textcoords="offset points",
                              fontsize="small", ha="center", clip_on=True)
        axes.plot(*zip(*points), STYLES[i % 4], color=f"C{i}", marker="osD"[i % 3], label=way)
    best = max(float(row["test_accuracy"]) for row in rows)  # what collapsed is out of the picture
    axes.set(xlabel="exact zeros among the weights, %", ylabel="test accuracy", xlim=(-3, 103),
             ylim=(best - 0.08, best + 0.01))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(output, dpi=90)


def draw_filters(path, output):
    log = columns(path)
    at = range(len(log["lambda"]))
    figure, (bars, line) = plt.subplots(1, 2, figsize=(9, 4), constrained_layout=True)
    for i, layer in enumerate(("dead_1", "dead_2")):
        bars.bar([x + 0.4 * i - 0.2 for x in at], log[layer], 0.4,
                 label=f"{'first' if i == 0 else 'second'} layer, of {16 << i}")
    dead = [a + b for a, b in zip(log["dead_1"], log["dead_2"])]
    line.plot(dead, log["accuracy"], "o-")
    bars.set(xlabel="lambda", ylabel="filters at zero")
    bars.set_xticks(list(at), [f"{strength:g}" for strength in log["lambda"]])
    bars.legend()
    line.set(xlabel="filters at zero, of 48", ylabel="test accuracy")
    line.grid(alpha=0.3)
    figure.savefig(output, dpi=90)


def draw_smaller(path, output):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    panels = {"parameters": "parameters", "kilobytes": "file, kB", "ms_256": "256 images, ms",
              "ms_1": "one image, ms", "accuracy": "test accuracy"}
    figure, axes = plt.subplots(1, len(panels), figsize=(12, 3.2), constrained_layout=True)
    for own, (name, label) in zip(axes, panels.items()):
        values = [float(row[name]) for row in rows]
        bars = own.bar([row["model"] for row in rows], values, color=["C7", "C0", "C2"])
        own.bar_label(bars, [f"{value:.4g}" for value in values], fontsize="small")
        own.set_title(label, fontsize="medium")
        own.tick_params(axis="x", labelrotation=30)
        own.margins(y=0.15)
        if name == "accuracy":
            own.set_ylim(0.7, 0.9)
    figure.savefig(output, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("logs", nargs="+", type=pathlib.Path)
    parser.add_argument("-o", "--output", default="fashion_mnist.png")
    arguments = parser.parse_args()
    with open(arguments.logs[0], newline="") as file:
        names = next(csv.reader(file))
    draw = (draw_filters if "dead_1" in names else draw_smaller if "ms_256" in names
            else draw_path if "lambda" in names
            else draw_sweep if "way" in names else None)
    if draw:
        draw(arguments.logs[0], arguments.output)
        return print(arguments.output)

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
