"""The service under measurement: THREADS threads, 30 frames deep, that do small units of work.

    python benchmarks/workload.py FILE THREADS PACE_S

Each unit's latency is counted in a histogram that lies in FILE, a row a thread, so that a benchmark can read the units
of any stretch of time without asking. A PACE_S of 0 never rests; otherwise each thread begins a unit every PACE_S
seconds, and the latency of a unit runs from the moment it was due. Ends when standard input does.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import time
from pathlib import Path

BINS = 256
BINS_PER_DOUBLING = 12
SHORTEST_S = 1e-6
DEPTH = 30


def bin_of(latency_s: float) -> int:
    if latency_s <= SHORTEST_S:
        return 0
    ratio = latency_s / SHORTEST_S
    whole = int(ratio).bit_length() - 1
    return min(BINS - 1, int((whole + ratio / (1 << whole) - 1) * BINS_PER_DOUBLING))


def work() -> int:
    return sum(item * item for item in range(200))


def descend(depth: int, row: memoryview, pace_s: float) -> None:
    if depth:
        descend(depth - 1, row, pace_s)
    due = time.perf_counter()
    while True:
        work()
        now = time.perf_counter()
        row[bin_of(now - due)] += 1
        due += pace_s
        if not pace_s:
            due = now
        elif due > now:
            time.sleep(due - now)


def main(path: str, threads: int, pace_s: float) -> None:
    size = threads * BINS * 8
    with Path(path).open("w+b") as file:
        file.truncate(size)
        counts = memoryview(mmap.mmap(file.fileno(), size)).cast("q")
    for number in range(threads):
        row = counts[number * BINS : (number + 1) * BINS]
        threading.Thread(target=descend, args=(DEPTH, row, pace_s), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
