"""How long `doctor --version` takes, against the bare import of the library its command line is made with.

    python benchmarks/startup.py [RUNS]

Both are run in turn, so that a machine that changes its speed changes both. Aim: a ratio of at most 1.5.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

AIM = 1.5


def wall_s(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(runs: int) -> None:
    doctor, click = [sys.executable, "-m", "doctor", "--version"], [sys.executable, "-c", "import click"]
    pairs = [(wall_s(doctor), wall_s(click)) for _ in range(runs + 1)][1:]
    ratios = [ours / bare for ours, bare in pairs]
    ours_ms, bare_ms = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"doctor --version {ours_ms:.0f} ms, import click {bare_ms:.0f} ms, {runs} runs")
    print(f"ratio: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}; aim {AIM}")


main(int(sys.argv[1]) if len(sys.argv) > 1 else 21)
