"""Turns TARGET, as typed, into the processes it means."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping

import psutil

from doctor.errors import AmbiguousTarget, AttachError, UsageError
from doctor.model.target import ProcessRef, Target
from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.parse import parse_status
from doctor.targets.processes import inspect, listening_ports, one_line, parents, printable, python_processes

_LISTED = 10
_LONGEST_PID = 20
"""Digits, far beyond any PID: more than these name no process either, but take long to read as a number."""
_SHOWN_CHARACTERS = 90


def resolve(text: str | None, *, children: bool = True) -> Target:
    """The target a PID, a name or fragment of the command line, or :PORT stands for.

    Without `text` the one Python process of the host, if there is one. Several matches of one process tree, such as
    the workers of a master, mean the topmost.

    Raises:
        AttachError: nothing matches, or the process is not one doctor can diagnose.
        AmbiguousTarget: several processes match.
        UsageError: the text is malformed.
    """
    root = _by_pid(text) if text and text.isdecimal() else _choose(text)
    return Target(root=root, children=_descendants(root) if children else (), host=socket.gethostname())


def _by_pid(text: str) -> ProcessRef:
    pid = int(text[:_LONGEST_PID])
    try:
        proc = ProcDir(pid)
    except GONE:
        raise AttachError("no-such-process", f"there is no process {pid}", "doctor ps lists Python processes") from None
    except PermissionError:
        raise AttachError(
            "hidden-process", f"process {pid} is hidden from this user (/proc is mounted with hidepid)", "run as root"
        ) from None
    try:
        _require_no_thread(proc)
        found = inspect(proc)
        if found is None:
            raise _not_diagnosable(proc)
    finally:
        proc.close()
    if found.implementation != "CPython":
        raise AttachError("not-cpython", f"process {pid} runs {found.implementation}", "doctor reads CPython only")
    return found.ref


def _require_no_thread(proc: ProcDir) -> None:
    """The kernel shows a thread below /proc too, as if it were a process; top -H lists such numbers."""
    try:
        group = int(parse_status(proc.read("status"))["Tgid"])
    except GONE:
        return
    if group != proc.pid:
        raise AttachError("thread", f"{proc.pid} is a thread of process {group}", f"doctor diagnose {group}")


def _not_diagnosable(proc: ProcDir) -> AttachError:
    try:
        stat = proc.stat()
        program = proc.read("comm").decode(errors="replace").strip()
    except GONE:
        return AttachError("no-such-process", f"process {proc.pid} has just ended", "doctor ps lists Python processes")
    if stat.state in "ZX":
        return AttachError(
            "zombie",
            f"process {proc.pid} has exited and is a zombie: its parent, process {stat.ppid}, has not waited for it",
            f"diagnose the parent: doctor diagnose {stat.ppid}",
        )
    below = [found.ref.pid for found in python_processes() if found.ref.ppid == proc.pid]
    hint = f"it started a Python process: doctor diagnose {below[0]}" if below else "doctor ps lists those that are"
    return AttachError("not-python", f"process {proc.pid} ({program}) is not Python", hint)


def _choose(text: str | None) -> ProcessRef:
    hidden = _own_family()
    candidates = {found.ref.pid: found.ref for found in python_processes() if found.ref.pid not in hidden}
    matches = candidates if text is None else _matching(text, candidates)
    tops = _topmost(matches.values())
    if len(tops) == 1:
        return tops[0]
    if not tops:
        raise AttachError(
            "no-match",
            f"no Python process matches {text!r}" if text else "there is no Python process to diagnose",
            _port_hint(text) or "doctor ps lists Python processes; TARGET is a PID, a name, :PORT or a bundle",
        )
    raise AmbiguousTarget(
        "several-match",
        f"{len(tops)} Python processes match:\n" + "\n".join(map(_line, tops[:_LISTED])),
        f"name one by its PID: doctor diagnose {tops[0].pid}",
    )


def _matching(text: str, candidates: Mapping[int, ProcessRef]) -> dict[int, ProcessRef]:
    if text.startswith(":"):
        wanted = _port_number(text)
        return {pid: ref for pid, ref in candidates.items() if wanted in _ports(pid)}
    fragment = printable(os.fsencode(text))
    return {pid: ref for pid, ref in candidates.items() if fragment in " ".join(ref.cmdline)}


def _port_number(text: str) -> int:
    digits = text[1:]
    if not digits.isdecimal() or not 0 < int(digits) < 1 << 16:
        raise UsageError("bad-port", f"{text!r} is not a port", "write a listening port as :8000")
    return int(digits)


def _ports(pid: int) -> tuple[int, ...]:
    try:
        proc = ProcDir(pid)
    except OSError:
        return ()
    try:
        return listening_ports(proc)
    finally:
        proc.close()


def _port_hint(text: str | None) -> str | None:
    """Who does listen on a port that no readable Python process listens on."""
    if not text or not text.startswith(":"):
        return None
    wanted = _port_number(text)
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", None) == wanted:
            owner = f"process {connection.pid}" if connection.pid else "a process this user may not look into"
            return f"port {wanted} belongs to {owner}; run as root, or name the Python process behind it by PID"
    return f"nothing listens on port {wanted} in this network namespace; name the process by PID"


def _topmost(matches: Iterable[ProcessRef]) -> list[ProcessRef]:
    refs = {ref.pid: ref for ref in matches}
    return [ref for ref in refs.values() if ref.ppid not in refs]


def _own_family() -> set[int]:
    """Doctor and whatever started it: their command lines hold the very text that is looked for."""
    own = psutil.Process()
    return {own.pid, *(parent.pid for parent in own.parents())}


def _descendants(root: ProcessRef) -> tuple[ProcessRef, ...]:
    """The Python processes below the root; those behind a process that is no Python are not of the service."""
    hidden, parent_of = _own_family(), parents()
    found = newest = {root.pid: root}
    while newest:
        below = {pid for pid, parent in parent_of.items() if parent in newest} - hidden - found.keys()
        newest = {one.ref.pid: one.ref for one in python_processes(below)}
        found = found | newest
    return tuple(found[pid] for pid in sorted(found.keys() - {root.pid}))


def _line(ref: ProcessRef) -> str:
    return f"  {ref.pid:>8}  {one_line(ref.cmdline, _SHOWN_CHARACTERS)}"
