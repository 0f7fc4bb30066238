"""Samples a process as `doctor` does, at 100 Hz: the sampler alone, without collector or report.

    python benchmarks/sampler.py PID SECONDS

What it keeps is what the other samplers keep for a flame graph: how often each stack was seen. Prints a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from contextlib import closing

from doctor.procfs.handle import ProcDir
from doctor.remote.attach import attach
from doctor.remote.process import LiveProcess
from doctor.remote.sampler import TORN, Sampler

INTERVAL_S = 0.01


def main(pid: int, seconds: float) -> None:
    seen = Counter[int]()
    samples = 0
    with closing(ProcDir(pid)) as proc:
        reader, runtime = attach(LiveProcess(proc))
        sampler = Sampler(reader, runtime.address)
        began = due = time.perf_counter()
        while due < began + seconds:
            seen.update(sampler.sample().stacks.tolist())
            samples += 1
            due = max(due + INTERVAL_S, time.perf_counter())
            time.sleep(max(0.0, due - time.perf_counter()))
    sampled_s = time.perf_counter() - began
    print(json.dumps({"rate": samples / sampled_s, "unread": seen[TORN] / max(1, seen.total())}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
