#!/usr/bin/env python3
"""Times the prox of torchao's PAT on the tensors of groups.cpp, with one thread: its ratio to mul_.

    python3 tests/benchmark/pat.py [SIDE]

Needs a Python with torchao (0.18 was tried), else says so and ends well.
"""

import statistics
import sys
import time

try:
    import torch
    from torchao.prototype.pat.optim import ProxGroupLassoVectorized, ProxLasso
except ImportError as error:
    sys.exit(print(f"pat.py: left out, as {error}"))

ROUNDS = 15
WEAK = 1e-7  # so that the tensors stay as they are


def seconds(act):
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def main():
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    torch.set_num_threads(1)
    w = torch.randn(side, side)
    work = {
        "L1": ProxLasso(WEAK),
        "group lasso, rows": ProxGroupLassoVectorized(WEAK, reduce_dim=1),
        "group lasso, columns": ProxGroupLassoVectorized(WEAK, reduce_dim=0),
    }
    print("\n| torchao PAT, one thread | limit | ratio to it |\n|---|---|---|")
    with torch.no_grad():
        for name, prox in work.items():
            pairs = [
                (seconds(lambda: w.mul_(1.0000001)), seconds(lambda: prox.apply_(w, 1e-3)))
                for _ in range(ROUNDS)
            ]
            ratio = statistics.median(own / limit for limit, own in pairs)
            print(f"| {name} | `mul_` | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
