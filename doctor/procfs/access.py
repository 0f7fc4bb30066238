"""Why this user may not read a process, and the exact thing that would change it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.parse import parse_status

_CAP_SYS_PTRACE = 1 << 19
_CONTAINER_REMEDY = (
    "in a container: docker run --cap-add SYS_PTRACE, or kubectl debug --profile=general --target=CONTAINER"
)


class Denial(NamedTuple):
    """What is missing, and how to get it."""

    reason: str
    remedy: str


def denial(proc: ProcDir) -> Denial | None:
    """Why ptrace rights on a process are missing; None when they are there, or the process is not."""
    if proc.may_trace():
        return None
    try:
        owner = int(parse_status(proc.read("status"))["Uid"].split()[1])
    except GONE:
        return None
    if owner != os.geteuid() and os.geteuid() != 0:
        return Denial(
            f"process {proc.pid} belongs to uid {owner} and doctor runs as uid {os.geteuid()}",
            f"run doctor as that user (sudo -u '#{owner}' doctor …) or as root; {_CONTAINER_REMEDY}",
        )
    if not _own_capabilities() & _CAP_SYS_PTRACE:
        return Denial(
            f"the kernel denies ptrace access to process {proc.pid}: doctor lacks the capability CAP_SYS_PTRACE"
            + (f" and kernel.yama.ptrace_scope is {_yama_scope()}" if _yama_scope() else ""),
            ("sysctl kernel.yama.ptrace_scope=0, or " if _yama_scope() else "")
            + f"run doctor as root with CAP_SYS_PTRACE (sudo doctor …); {_CONTAINER_REMEDY}",
        )
    return Denial(
        f"a security module or a user namespace denies ptrace access to process {proc.pid}",
        "run doctor in the target's own user namespace, or allow ptrace in its AppArmor or SELinux profile",
    )


def _own_capabilities() -> int:
    return int(parse_status(Path("/proc/self/status").read_bytes())["CapEff"], 16)


def _yama_scope() -> int:
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except FileNotFoundError:
        return 0
