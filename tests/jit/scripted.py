"""scripted.py script FILE: saves a scripted module; scripted.py read FILE: looks at a trained one."""

import sys

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(10, 16)
        self.fc2 = nn.Linear(16, 1)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


def main():
    way, path = sys.argv[1:]
    torch.manual_seed(0)
    if way == "script":
        torch.jit.script(Net()).save(path)
        return 0
    model = torch.jit.load(path)
    used = (dict(model.named_parameters())["fc1.weight"] != 0).any(0)
    x = torch.randn(1000, 10)
    error = (model(x) - 2 * x[:, 3:4].relu()).square().mean().item()
    print(f"inputs in use: {used.nonzero().flatten().tolist()}, mean squared error {error:.4f}")
    return used.nonzero().flatten().tolist() != [3] or error > 0.05


if __name__ == "__main__":
    sys.exit(main())
