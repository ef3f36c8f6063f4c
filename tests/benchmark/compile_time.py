#!/usr/bin/env python3
"""Times the compilation of a unit that trains a model, without this library and with it, in turn.

    python3 tests/benchmark/compile_time.py BUILD_FOLDER [ROUNDS]
"""

import json
import pathlib
import resource
import shlex
import statistics
import subprocess
import sys


def command_of(build, target):
    """The compiler's own command for a target's unit, without a compiler launcher."""
    for unit in json.loads((build / "compile_commands.json").read_text()):
        if f"/{target}.dir/" in unit["command"]:
            words = shlex.split(unit["command"])
            first = max(i for i, word in enumerate(words) if word.startswith("/") and
                        pathlib.Path(word).name.rstrip("+-0123456789.") in {"c", "g", "clang"})
            return words[first:], unit["directory"]
    raise SystemExit(f"{build} has no {target}")


def main():
    build = pathlib.Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    seconds = {"without": [], "with": []}
    for _ in range(rounds):
        for name, times in seconds.items():
            command, folder = command_of(build, f"compile_time_{name}")
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, cwd=folder, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    without, with_us = (statistics.median(times) for times in seconds.values())
    print("| a unit that trains a model | seconds of processor time |\n|---|---|")
    print(f"| `torch/torch.h` alone | {without:.1f} |")
    print(f"| with `torchreg/torchreg.hpp` and an L1 step | {with_us:.1f} "
          f"(+{100 * (with_us / without - 1):.0f} %) |")


if __name__ == "__main__":
    main()
