"""Parsers of single /proc files: bytes in, values out. Formats are those of proc(5)."""

from __future__ import annotations

import os
from typing import NamedTuple

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that doctor uses."""

    state: str
    ppid: int
    cpu_s: float
    threads: int
    start_ticks: int
    vms_bytes: int
    rss_bytes: int


class SchedStat(NamedTuple):
    """/proc/PID/task/TID/schedstat."""

    run_s: float
    wait_s: float
    """Runnable, without a CPU."""
    slices: int
    """How often it was given a CPU: unchanged means it has not run in between."""


class Syscall(NamedTuple):
    """/proc/PID/task/TID/syscall of a thread that is blocked; `number` is -1 outside a system call."""

    number: int
    args: tuple[int, ...]


def parse_stat(content: bytes) -> Stat:
    """A stat line; the command in it may hold spaces and parentheses."""
    fields = content[content.rindex(b")") + 2 :].split()
    return Stat(
        state=fields[0].decode(),
        ppid=int(fields[1]),
        cpu_s=(int(fields[11]) + int(fields[12])) / TICKS_PER_S,
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        vms_bytes=int(fields[20]),
        rss_bytes=int(fields[21]) * PAGE_BYTES,
    )


def parse_schedstat(content: bytes) -> SchedStat:
    """Three numbers: nanoseconds run, nanoseconds waited, slices."""
    run, wait, slices = content.split()
    return SchedStat(int(run) / 1e9, int(wait) / 1e9, int(slices))


def parse_syscall(content: bytes) -> Syscall | None:
    """A blocked thread's system call; None for a thread that runs."""
    fields = content.split()
    if not fields or fields[0] == b"running":
        return None
    if fields[0] == b"-1":
        return Syscall(-1, ())
    return Syscall(int(fields[0]), tuple(int(field, 16) for field in fields[1:7]))


def parse_kilobytes(content: bytes) -> dict[str, int]:
    """A file of "Name:  123 kB" lines, such as smaps_rollup and meminfo, in bytes; other lines are left out."""
    sizes = {}
    for line in content.decode(errors="replace").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            sizes[name] = int(words[0]) * 1024
    return sizes


def parse_status(content: bytes) -> dict[str, str]:
    """/proc/PID/status as names and texts."""
    lines = (line.partition(":") for line in content.decode(errors="replace").splitlines())
    return {name: value.strip() for name, _, value in lines}


def parse_voluntary_switches(content: bytes) -> int:
    """How often the thread of a /proc/PID/task/TID/status went to sleep of its own accord."""
    return int(content[content.rindex(b"\nvoluntary_ctxt_switches:") :].split()[1])


def parse_soft_limit(content: bytes, name: str) -> int | None:
    """A soft limit of /proc/PID/limits by its name there; None is unlimited."""
    for line in content.decode().splitlines():
        if line.startswith(name):
            soft = line[len(name) :].split()[0]
            return None if soft == "unlimited" else int(soft)
    return None


def parse_pressure_us(content: bytes) -> dict[str, int]:
    """A PSI file as microseconds stalled since boot, by "some" and "full"."""
    totals = {}
    for line in content.decode().splitlines():
        kind, *fields = line.split()
        totals[kind] = int(dict(field.split("=") for field in fields)["total"])
    return totals
