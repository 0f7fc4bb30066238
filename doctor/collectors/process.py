"""Each process as a series over the window: CPU, memory, descriptors by kind, sockets, zombie children."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import psutil

from doctor.collectors.base import Capture, Collector, Pace
from doctor.model.bundle import Skipped
from doctor.model.evidence.process import FdGroup, Limits, MemorySplit, Process, ProcessSample
from doctor.procfs.access import Denial, denial
from doctor.procfs.descriptors import Descriptor, Descriptors
from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.parse import parse_kilobytes, parse_soft_limit
from doctor.procfs.sockets import CLOSE_WAIT, Socket, SocketTables

_TICKS = 20
_ZOMBIES_INTERVAL_S = 1.0
"""Finding them means a look at every process of the host."""
_SHARE = 0.04
_GROUPS = 20


class ProcessCollector(Collector):
    """Reads stat, fd, net and limits; smaps_rollup only at both ends, since it walks the target's page tables."""

    kind = Process
    cost = "at most 4 % of a core; two walks of the page tables (about 30 ms a GB each)"
    right = "none for CPU, memory and threads; ptrace rights for descriptors, sockets and the PSS split"
    deadline_s = 5.0
    decisive = True

    def obstacle(self, proc: ProcDir) -> Denial | None:
        """Missing ptrace rights."""
        return denial(proc)

    def collect(self, capture: Capture) -> Iterator[Process | Skipped]:
        """A series for each process; what needs ptrace rights is left out where they are missing."""
        tables = SocketTables()
        series = [_Series(proc, tables) for _, proc in capture.present()]
        for ref, proc in capture.present():
            denied = self.obstacle(proc)
            if denied:
                yield self.skipped(denied, (ref.pid,))
        for one in series:
            one.read_memory()
        zombies_due_s = 0.0
        for at_s in Pace(capture, capture.duration_s / _TICKS, _SHARE).ticks():
            zombies = _zombies() if at_s >= zombies_due_s else None
            zombies_due_s = (
                zombies_due_s if zombies is None else at_s + min(_ZOMBIES_INTERVAL_S, capture.duration_s / 3)
            )
            tables.forget()
            for one in series:
                one.sample(at_s, None if zombies is None else zombies.get(one.pid, ()))
        for one in series:
            one.read_memory()
            if one.samples:
                yield one.evidence()


class _Series:
    """One process, sampled until it ends."""

    def __init__(self, proc: ProcDir, tables: SocketTables) -> None:
        self.pid = proc.pid
        self.samples: list[ProcessSample] = []
        self._proc = proc
        self._descriptors = Descriptors(proc, tables)
        self._memory: list[MemorySplit] = []
        self._first: dict[int, Descriptor] | None = None
        self._last: dict[int, Descriptor] | None = None

    def sample(self, at_s: float, zombies: tuple[int, ...] | None) -> None:
        try:
            stat = self._proc.stat()
            opened = self._open()
        except GONE:
            return
        if stat.state in "ZX":
            return
        sockets = [item.socket for item in (opened or {}).values() if item.socket]
        self.samples.append(
            ProcessSample(
                at_s=round(at_s, 3),
                cpu_s=stat.cpu_s,
                rss_bytes=stat.rss_bytes,
                vms_bytes=stat.vms_bytes,
                threads=stat.threads,
                fds=_count(item.kind for item in opened.values()) if opened is not None else None,
                close_wait=_count(_party(one) for one in sockets if one.state == CLOSE_WAIT)
                if opened is not None
                else None,
                backlog=sum(item.socket.unread for item in opened.values() if _listens(item) and item.socket)
                if opened is not None
                else None,
                unread_inbound=sum(1 for one in sockets if one.inbound and one.unread) if opened is not None else None,
                zombies=zombies,
            )
        )

    def _open(self) -> dict[int, Descriptor] | None:
        try:
            opened = self._descriptors.all()
        except PermissionError:
            return None
        self._first = opened if self._first is None else self._first
        self._last = opened
        return opened

    def read_memory(self) -> None:
        """Adds the memory split, where it may be read."""
        try:
            sizes = parse_kilobytes(self._proc.read("smaps_rollup"))
        except (PermissionError, *GONE):
            return
        if "Rss" not in sizes:
            return
        self._memory.append(
            MemorySplit(
                rss=sizes["Rss"],
                pss=sizes["Pss"],
                anonymous=sizes.get("Pss_Anon", 0),
                file=sizes.get("Pss_File", 0),
                shmem=sizes.get("Pss_Shmem", 0),
                swap=sizes.get("Swap", 0),
            )
        )

    def evidence(self) -> Process:
        last = self._last or {}
        return Process(
            pid=self.pid,
            cpus=self._cpus(),
            samples=tuple(self.samples),
            memory=tuple(self._memory),
            fd_groups=_groups(self._first or {}, last),
            limits=self._limits(),
            listens_on=tuple(sorted({item.target for item in last.values() if _listens(item)})),
        )

    def _cpus(self) -> int:
        try:
            return len(psutil.Process(self.pid).cpu_affinity() or ())
        except psutil.Error:
            return os.cpu_count() or 1

    def _limits(self) -> Limits | None:
        try:
            content = self._proc.read("limits")
        except (PermissionError, *GONE):
            return None
        return Limits(
            open_files=parse_soft_limit(content, "Max open files"),
            address_space=parse_soft_limit(content, "Max address space"),
        )


def _party(socket: Socket) -> str:
    """Who is at the other end; a client comes from another port each time."""
    return socket.peer.rpartition(":")[0] if socket.inbound else socket.peer


def _listens(item: Descriptor) -> bool:
    return item.kind == "tcp-listen"


def _count(names: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _zombies() -> dict[int, tuple[int, ...]]:
    """Exited children that were not waited for, by parent."""
    found: dict[int, list[int]] = {}
    for pid in psutil.pids():
        try:
            proc = ProcDir(pid)
        except (PermissionError, *GONE):
            continue
        try:
            stat = proc.stat()
        except GONE:
            continue
        finally:
            proc.close()
        if stat.state == "Z":
            found.setdefault(stat.ppid, []).append(pid)
    return {parent: tuple(sorted(children)) for parent, children in found.items()}


def _groups(first: Mapping[int, Descriptor], last: Mapping[int, Descriptor]) -> tuple[FdGroup, ...]:
    """Descriptors that lead to the same thing, at both ends of the window, largest growth first."""
    before, after = _by_target(first, last)
    groups = [FdGroup(kind=key[0], target=key[1], first=before[key], last=after[key]) for key in before | after]
    groups.sort(key=lambda group: (group.first - group.last, -group.last, group.kind, group.target))
    return tuple(groups[:_GROUPS])


def _by_target(*moments: Mapping[int, Descriptor]) -> list[Counter[tuple[str, str]]]:
    """Files opened once each count together, by their directory."""
    paths = Counter(item.target for moment in moments for item in moment.values() if item.kind == "file")
    repeated = {path for path, count in paths.items() if count > len(moments)}

    def key(item: Descriptor) -> tuple[str, str]:
        if item.kind != "file" or item.target in repeated:
            return item.kind, item.target
        return item.kind, f"{PurePosixPath(item.target).parent}/*"

    return [Counter(key(item) for item in moment.values()) for moment in moments]
