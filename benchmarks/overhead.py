"""What looking costs the service: its throughput and its p99 latency under doctor and under py-spy, in one run.

    python benchmarks/overhead.py [SECONDS] [THREADS ...]

The service is held on one CPU and the tool on another. Each tool is measured between two stretches without any, and
the figures are ratios to their mean. The service is measured twice: saturated for its throughput, and at about half
its capacity for its latency. Aims: throughput at least 0.99 at 50 threads and 0.97 at 200, p99 within the noise, which
the row "nothing" shows; doctor's own CPU at most 0.30 of a core.
"""

from __future__ import annotations

import mmap
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

from workload import BINS, BINS_PER_DOUBLING, SHORTEST_S

SERVICE_CPU, TOOL_CPU = 0, 1
SATURATED_S = 0.0
UNIT_S = 20e-6
"""About what a unit costs with the sleep, the wake-up and the interpreter lock around it."""


def tools(pid: int, seconds: int, folder: Path) -> dict[str, list[str]]:
    record = ["py-spy", "record", "-p", str(pid), "-d", str(seconds), "-r", "100", "-f", "raw", "-o", f"{folder}/raw"]
    beside = Path(sys.executable).parent
    return {
        "nothing": ["sleep", str(seconds)],
        "doctor diagnose": [sys.executable, "-m", "doctor", "diagnose", str(pid), "--duration", str(seconds)],
        "py-spy record --nonblocking": [str(beside / record[0]), *record[1:], "--nonblocking"],
        "py-spy record": [str(beside / record[0]), *record[1:]],
    }


class Histogram:
    """The latencies of all units since the start, read from the service's memory."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._counts = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).cast("q")

    def read(self) -> list[int]:
        return [sum(self._counts[bin_::BINS]) for bin_ in range(BINS)]


class Stretch:
    """The units of a stretch of time."""

    def __init__(self, before: list[int], after: list[int], seconds: float) -> None:
        self._counts = [last - first for first, last in zip(before, after, strict=True)]
        self.throughput = sum(self._counts) / seconds

    @property
    def p99_ms(self) -> float:
        wanted = 0.99 * sum(self._counts)
        slowest = next(bin_ for bin_, seen in enumerate(accumulate(self._counts)) if seen >= wanted)
        return 1000 * SHORTEST_S * 2 ** ((slowest + 1) / BINS_PER_DOUBLING)


@contextmanager
def service(folder: Path, threads: int, pace_s: float) -> Iterator[tuple[int, Histogram]]:
    path = folder / f"histogram-{threads}-{pace_s}"
    program = Path(__file__).with_name("workload.py")
    process = subprocess.Popen(
        [sys.executable, str(program), str(path), str(threads), str(pace_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {SERVICE_CPU}),
    )
    try:
        process.stdout.readline()
        yield process.pid, Histogram(path)
    finally:
        process.kill()
        process.communicate()


def measure(histogram: Histogram, command: list[str]) -> tuple[Stretch, float]:
    """The service while a command runs, and the CPU the command used, in cores."""
    used = children_cpu_s()
    before, began = histogram.read(), time.perf_counter()
    subprocess.run(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {TOOL_CPU}),
        check=False,
    )
    seconds = time.perf_counter() - began
    return Stretch(before, histogram.read(), seconds), (children_cpu_s() - used) / seconds


def children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def compare(
    folder: Path, threads: int, pace_s: float, seconds: int
) -> Iterator[tuple[str, float, float, float, float]]:
    """For each tool: ratio of the throughput, ratio of the p99, p99 in ms, cores used."""
    with service(folder, threads, pace_s) as (pid, histogram):
        commands = tools(pid, seconds, folder)
        before, _ = measure(histogram, commands["nothing"])
        for name, command in commands.items():
            under, cores = measure(histogram, command)
            after, _ = measure(histogram, commands["nothing"])
            throughput = under.throughput * 2 / (before.throughput + after.throughput)
            p99 = under.p99_ms * 2 / (before.p99_ms + after.p99_ms)
            yield name, throughput, p99, under.p99_ms, cores
            before = after


def main(seconds: int, counts: list[int]) -> None:
    os.sched_setaffinity(0, {TOOL_CPU})
    with tempfile.TemporaryDirectory() as name:
        for threads in counts:
            print(f"\n{threads} threads of 30 frames, {seconds} s a tool")
            print(f"{'':30}{'throughput':>12}{'p99':>8}{'p99 ms':>9}{'cores':>8}")
            saturated = list(compare(Path(name), threads, SATURATED_S, seconds))
            paced = list(compare(Path(name), threads, 2 * UNIT_S * threads * 1.5, seconds))
            for (tool, throughput, *_, cores), (_, _, p99, p99_ms, _) in zip(saturated, paced, strict=True):
                print(f"{tool:30}{throughput:12.3f}{p99:8.2f}{p99_ms:9.2f}{cores:8.2f}")


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(given[0] if given else 10, given[1:] or [50, 200])
