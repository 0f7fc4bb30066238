"""Samples a process as `doctor` does, at 100 Hz: the sampler alone, without collector or report.

    python benchmarks/sampler.py PID

What it keeps is what the other samplers keep for a flame graph: how often each stack was seen. Goes on until it is
interrupted, and prints a line when it is warm and a line of JSON at the end.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress

from doctor.procfs.handle import ProcDir
from doctor.remote.attach import attach
from doctor.remote.process import LiveProcess
from doctor.remote.sampler import TORN, Sampler

INTERVAL_S = 0.01
WARM_UP_S = 1.0
"""The first samples decode every code object; they do not count for the rate."""


def paced(seconds: float = math.inf) -> Iterator[None]:
    began = due = time.perf_counter()
    while due < began + seconds:
        yield
        due = max(due + INTERVAL_S, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))


def main(pid: int) -> None:
    seen = Counter[int]()
    samples = 0
    with closing(ProcDir(pid)) as proc:
        reader, runtime = attach(LiveProcess(proc))
        sampler = Sampler(reader, runtime.address)
        with suppress(KeyboardInterrupt):
            for _ in paced(WARM_UP_S):
                seen.update(sampler.sample().stacks.tolist())
            print("sampling", flush=True)
            warm_at = time.perf_counter()
            for _ in paced():
                seen.update(sampler.sample().stacks.tolist())
                samples += 1
    rate = samples / (time.perf_counter() - warm_at)
    print(json.dumps({"rate": rate, "unread": seen[TORN] / max(1, seen.total())}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
