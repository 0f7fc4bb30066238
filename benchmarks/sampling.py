"""What sampling the stacks of all threads costs, by doctor and by its peers, on the same program in one run.

    python benchmarks/sampling.py [--threads N ...] [--seconds S] [--dumps N]

The program (`busy.py`) is held on one CPU and the tool on another. The peers sample CPython 3.15, which is looked for
as the tests do (`make interpreters`; $DOCTOR_INTERPRETERS says where else it lies); doctor samples older ones as well.
Every tool is asked for 100 Hz and told to keep all threads, `py-spy` by --idle; `profiling.sampling` writes its
cheapest format. Columns:

    Hz          samples a second that were read, as the tool tells; for py-spy the stacks it wrote, by threads and time;
                for doctor without its first second
    ms/sample   CPU of the tool and its children a sample, without start-up and output
    cores       the same, by time
    x           the same a sample, by doctor's on the same program
    CPU s       of the whole run, start-up and output included
    target      units of work a second, by those in the stretches without a tool right before and after
    pause       the longest time without a unit of work, and the longest right before and after, without a tool
    unread      share of doctor's stacks, or of the attempts of the others, that could not be read

The one-shots are whole command lines, run in turn. Nothing here fails for being slow.
"""

from __future__ import annotations

import argparse
import json
import math
import mmap
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ctypes import CDLL, get_errno
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from busy import RING

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent / "tests"))
from interpreters import OWN, Interpreter, interpreters  # noqa: E402

TARGET_CPU, TOOL_CPU = 0, 1
WARM_UP_S = 1.0
BUDGET = 0.25
MANY = 1000
"""So many that the slowest tool takes a second for a sample: they are given twice the time."""
PEERS_READ = (3, 15)
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
NEW_MOUNT_NAMESPACE = 0x00020000


class Reading(NamedTuple):
    """What a tool says of itself."""

    rate: float
    """Without the attempts that failed."""
    unread: float


@dataclass(frozen=True)
class Tool:
    name: str
    command: list[str]
    tells: Callable[[str, float], Reading]
    """From its output, and for how long it sampled."""
    sign: str | None = None
    """What it prints when it begins; others are taken to have begun after `WARM_UP_S`."""
    endless: bool = True
    """Whether it samples until it is interrupted."""


@dataclass(frozen=True)
class Row:
    tool: str
    reading: Reading
    cores: float
    cpu_s: float
    throughput: float
    pause_s: float
    usual_pause_s: float

    @property
    def ms(self) -> float:
        return 1000 * self.cores / self.reading.rate if self.reading.rate else math.inf


class Target:
    """A running `busy.py`."""

    def __init__(self, python: Interpreter, threads: int, pid: int, ring: int) -> None:
        self.python = python
        self.threads = threads
        self.pid = pid
        self._ends = np.frombuffer(mmap.mmap(ring, 0, access=mmap.ACCESS_READ), np.float64)

    def units(self, began: float, ended: float) -> tuple[float, float]:
        """Units a second, and the longest pause between two of them."""
        ends = np.sort(self._ends[(self._ends >= began) & (self._ends <= ended)])
        return len(ends) / (ended - began), float(np.diff([began, *ends, ended]).max())


def share_proc(root: str) -> None:
    """Lets programs in a root folder see /proc, for this process and its children only: it ends with them."""
    if CDLL(None, use_errno=True).unshare(NEW_MOUNT_NAMESPACE):
        raise OSError(get_errno(), "no mount namespace of its own")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--rbind", "/proc", f"{root}/proc"], check=True)


@contextmanager
def running(python: Interpreter, threads: int) -> Iterator[Target]:
    ring = os.memfd_create("ring")
    os.truncate(ring, RING * 8)
    with python.sees(FOLDER) as folder:
        process = subprocess.Popen(
            [*python.command, f"{folder}/busy.py", str(ring), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[ring],
            preexec_fn=lambda: os.sched_setaffinity(0, {TARGET_CPU}),
        )
        try:
            process.stdout.readline()
            time.sleep(0.5)
            yield Target(python, threads, process.pid, ring)
        finally:
            process.kill()
            process.communicate()
            os.close(ring)


def tools(target: Target, seconds: int, folder: Path) -> list[Tool]:
    pid, beside = str(target.pid), Path(sys.executable).parent
    doctor = Tool("doctor", [sys.executable, f"{FOLDER}/sampler.py", pid], told_by_doctor, "sampling")
    if target.python.version[:2] != PEERS_READ:
        return [doctor]
    stacks = [sys.executable, "-m", "doctor", "stacks", pid, "--duration", str(seconds), "--format", "json", "--quiet"]
    attach = ["-m", "profiling.sampling", "attach", "-a", "-r", "100", "--binary", "-o", "/dev/null", pid]
    record = [f"{beside}/py-spy", "record", "-p", pid, "-r", "100", "-f", "raw", "-o", f"{folder}/raw", "--idle"]

    def told_by_pyspy(output: str, sampled_s: float) -> Reading:
        return pyspy_reading(output, sampled_s, target.threads + 1)

    return [
        doctor,
        Tool("doctor stacks --duration", stacks, told_by_doctor_stacks, endless=False),
        Tool("profiling.sampling", [*target.python.command, *attach], told_by_profiling),
        Tool("py-spy record --nonblocking", [*record, "--nonblocking"], told_by_pyspy, "Sampling process"),
        Tool("py-spy record", record, told_by_pyspy, "Sampling process"),
    ]


def told_by_doctor(output: str, _: float) -> Reading:
    return Reading(**json.loads(output.splitlines()[-1]))


def told_by_doctor_stacks(output: str, _: float) -> Reading:
    report = json.loads(output)
    process = report["processes"][0]
    attempts = process["samples"] + process["errors"]
    return Reading(process["samples"] / report["window"]["duration_s"], process["errors"] / max(1, attempts))


def told_by_profiling(output: str, _: float) -> Reading:
    rate, errors = (re.search(rf"{what} rate: ([\d.,]+)", output)[1] for what in ("Sample", "Error"))
    unread = float(errors) / 100
    return Reading(float(rate.replace(",", "")) * (1 - unread), unread)


def pyspy_reading(output: str, sampled_s: float, threads: int) -> Reading:
    stacks, errors = map(int, re.search(r"Samples: (\d+) Errors: (\d+)", output).groups())
    samples = stacks / threads
    return Reading(samples / sampled_s, errors / max(1.0, samples + errors))


def tree_cpu_s(pid: int) -> float:
    """The CPU time of a process to the nanosecond, and of its ended children to the tick."""
    children = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]
    return time.clock_gettime(~pid << 3 | 2) + TICK_S * sum(map(int, children))


def on_tool_cpu(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {TOOL_CPU}),
    )


def stretch(target: Target, seconds: float) -> tuple[float, float]:
    """Units a second and the longest pause, without a tool."""
    began = time.perf_counter()
    time.sleep(seconds)
    return target.units(began, time.perf_counter())


def used_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def wait_for_begin(tool: Tool, process: subprocess.Popen[str]) -> None:
    if tool.sign is None:
        time.sleep(WARM_UP_S)
    else:
        next((line for line in process.stdout if tool.sign in line), None)


def run(tool: Tool, seconds: int) -> tuple[str, float, float]:
    """What the tool said, how long it sampled, and the cores it used between its start-up and its output."""
    with on_tool_cpu(tool.command) as process:
        wait_for_begin(tool, process)
        began, cores = time.perf_counter(), 0.0
        with suppress(OSError):  # it has ended, and says why
            cpu_s = tree_cpu_s(process.pid)
            time.sleep(seconds - WARM_UP_S)
            cores = (tree_cpu_s(process.pid) - cpu_s) / (time.perf_counter() - began)
        if tool.endless:
            process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    return output, time.perf_counter() - began, cores


def compare(target: Target, seconds: int, folder: Path) -> Iterator[Row | str]:
    """A row for each tool, or why there is none."""
    before, usual_s = stretch(target, seconds / 2)
    for tool in tools(target, seconds, folder):
        cpu_s, began = used_cpu_s(), time.perf_counter()
        output, sampled_s, cores = run(tool, seconds)
        throughput, pause_s = target.units(began, time.perf_counter())
        cpu_s = used_cpu_s() - cpu_s
        after, pause_without_s = stretch(target, seconds / 2)
        usual_s = max(usual_s, pause_without_s)
        try:
            reading = tool.tells(output, sampled_s)
        except (ValueError, LookupError, TypeError, AttributeError):
            yield f"{tool.name:28}gave no figures: {' '.join(output.split())[-90:] or 'it ended without a word'}"
        else:
            yield Row(tool.name, reading, cores, cpu_s, throughput * 2 / (before + after), pause_s, usual_s)
        before, usual_s = after, pause_without_s


def table(python: Interpreter, rows: list[Row | str]) -> None:
    print(f"\nCPython {python}")
    print(
        f"  {'':28}{'Hz':>6}{'ms/sample':>11}{'cores':>7}{'x':>7}{'CPU s':>7}{'target':>8}{'pause ms':>15}{'unread':>8}"
    )
    doctor_ms = next((row.ms for row in rows if isinstance(row, Row) and row.tool == "doctor"), 0.0)
    for row in rows:
        if isinstance(row, str):
            print(f"  {row}")
            continue
        times = f"{row.ms / doctor_ms:.2f}" if doctor_ms else "-"
        pauses = f"{1000 * row.pause_s:.1f} ({1000 * row.usual_pause_s:.1f})"
        figures = (
            f"{row.reading.rate:6.1f}{row.ms:11.3f}{row.cores:7.3f}{times:>7}{row.cpu_s:7.2f}{row.throughput:8.3f}"
        )
        print(f"  {row.tool:28}{figures}{pauses:>15}{row.reading.unread:8.2%}")


def aims(threads: int, rows: list[Row | str]) -> None:
    """The aims beside the figures, as far as there are any for so many threads."""
    measured = {row.tool: row for row in rows if isinstance(row, Row)}
    doctor = measured.pop("doctor", None)
    if doctor is None:
        return
    print(f"  target >= 0.995: {doctor.throughput:.3f}")
    if threads == 200:
        print(f"  100 Hz in <= {BUDGET} cores: {doctor.reading.rate:.1f} Hz in {doctor.cores:.3f}")
    if threads == MANY:
        affordable = min(doctor.reading.rate, 1000 * BUDGET / doctor.ms)
        print(f"  >= 20 Hz in {BUDGET} cores: {affordable:.1f} Hz")
    for peer, aim in ("profiling.sampling", 0.7), ("py-spy record --nonblocking", 0.1), ("py-spy record", 0.1):
        if threads == 200 and peer in measured:
            print(f"  CPU a sample <= {aim} x {peer}: {doctor.ms / measured[peer].ms:.3f}")


def one_shots(target: Target, times: int) -> None:
    """Whole command lines, from the start to the last byte."""
    beside, pid = Path(sys.executable).parent, str(target.pid)
    commands = [f"{beside}/doctor", "stacks", pid], [f"{beside}/py-spy", "dump", "--pid", pid]
    walls: list[list[float]] = [[], []]
    for _ in range(times):
        for command, seen in zip(commands, walls, strict=True):
            began = time.perf_counter()
            on_tool_cpu(command).communicate()
            seen.append(time.perf_counter() - began)
    doctor, pyspy = map(statistics.median, walls)
    print(f"\nOne shot of {target.threads} threads, CPython {target.python}, median of {times}")
    print(f"  doctor stacks <= 0.5 s: {doctor:.3f} s; py-spy dump {pyspy:.3f} s; ratio {doctor / pyspy:.2f}")


def programs() -> list[Interpreter]:
    """The one that the peers read, doctor's own, and the oldest; without the first the peers are left out."""
    found = interpreters()
    peers = [python for python in found if python.version[:2] == PEERS_READ]
    if not peers:
        print("no CPython 3.15 found: the peers are not measured, see `make interpreters`")
    return list(dict.fromkeys([*peers[:1], OWN, found[0]]))


def main() -> None:
    parser = argparse.ArgumentParser(description="What sampling costs, by doctor and by its peers.")
    parser.add_argument("--threads", type=int, nargs="+", default=[10, 50, 200, MANY], metavar="N")
    parser.add_argument("--seconds", type=int, default=3, help="for each tool, the first is start-up; default 3")
    parser.add_argument("--dumps", type=int, default=7, metavar="N", help="runs of each one-shot command; default 7")
    given = parser.parse_args()
    os.sched_setaffinity(0, {TOOL_CPU})
    print(f"load average at the start {os.getloadavg()[0]:.1f}, which should be near 0")
    pythons = programs()
    if pythons[0].root:
        try:
            share_proc(pythons[0].root)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{pythons[0].root} has no /proc, which profiling.sampling needs: {error}")
    with tempfile.TemporaryDirectory() as folder:
        for threads in given.threads:
            seconds = given.seconds * (2 if threads >= MANY else 1)
            print(f"\n{threads} threads of 30 frames, 100 Hz, {seconds} s a tool", flush=True)
            for python in pythons:
                with running(python, threads) as target:
                    rows = list(compare(target, seconds, Path(folder)))
                    table(python, rows)
                    aims(threads, rows)
                    if threads == 200 and python is pythons[0] and given.dumps:
                        one_shots(target, given.dumps)


if __name__ == "__main__":
    main()
