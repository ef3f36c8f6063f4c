#!/usr/bin/env python3
"""Reads in Python what smaller_model has saved, and compares its accuracy.

    examples/run smaller_model --log smaller.csv --state smaller.pt
    python3 examples/smaller_model.py smaller.pt smaller.csv FOLDER_OF_THE_IMAGES [COUNT]
"""

import csv
import pathlib
import sys

import torch
from torch import nn


def read_idx(path, offset):
    return torch.frombuffer(bytearray(path.read_bytes()[offset:]), dtype=torch.uint8)


def main():
    state_path, log_path, folder = map(pathlib.Path, sys.argv[1:4])
    state = dict(torch.load(state_path, weights_only=True))
    first, second = state["1.weight"].shape[0], state["5.weight"].shape[0]
    model = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, first, 3, padding=1), nn.BatchNorm2d(first), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1), nn.BatchNorm2d(second), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(second * 7 * 7, 10))
    model.load_state_dict(state)
    model.eval()
    x = read_idx(folder / "t10k-images-idx3-ubyte", 16).view(-1, 784).float() / 255
    y = read_idx(folder / "t10k-labels-idx1-ubyte", 8).long()
    with open(log_path, newline="") as file:
        rows = list(csv.DictReader(file))
    count = int(sys.argv[4]) if len(sys.argv) > 4 else len(y)
    with torch.no_grad():
        right = model((x[:count] - 0.2860) / 0.3530).argmax(1) == y[:count]
    accuracy = right.double().mean().item()
    print(f"{first} and {second} filters, accuracy {accuracy:.4f} in Python, "
          f"{float(rows[-1]['accuracy']):.4f} in C++")
    return abs(accuracy - float(rows[-1]["accuracy"])) > 0.002


if __name__ == "__main__":
    sys.exit(main())
