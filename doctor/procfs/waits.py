"""Says what a thread waits for, from its state and its system call.

Signatures were measured on CPython 3.8 to 3.13: a lock is a futex; the GIL is a futex inside the interpreter's own
static data; a socket with a timeout polls one descriptor and then reads; `time.sleep` is clock_nanosleep, or a select
of nothing.
"""

from __future__ import annotations

import re
import struct
import sys
from typing import NamedTuple

from doctor.model.evidence.threads import Wait, WaitReason
from doctor.procfs.descriptors import Descriptors
from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.parse import Syscall, parse_stat, parse_syscall
from doctor.procfs.sockets import SocketTables
from doctor.procfs.syscalls import NAMES

_READS = {"read", "readv", "recvfrom", "recvmsg", "recvmmsg", "pread64", "preadv", "splice"}
_WRITES = {"write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile", "pwrite64", "pwritev"}
_FILE_CALLS = {
    "fsync", "fdatasync", "sync_file_range", "msync", "open", "openat", "getdents64", "statx", "ftruncate",
    "fallocate", "rename", "renameat", "renameat2", "unlink", "unlinkat", "io_getevents",
}  # fmt: skip
_FSYNCS = {"fsync", "fdatasync", "sync_file_range", "ftruncate", "fallocate", "getdents64"}
_BY_NAME: dict[str, WaitReason] = {
    "connect": "connect", "accept": "accept", "accept4": "accept", "wait4": "child", "waitid": "child",
    "epoll_wait": "epoll", "epoll_pwait": "epoll", "epoll_pwait2": "epoll", "nanosleep": "sleep",
    "clock_nanosleep": "sleep", "pause": "sleep", "rt_sigtimedwait": "sleep", "rt_sigsuspend": "sleep",
    "futex_waitv": "lock", "flock": "lock", "fcntl": "lock",
}  # fmt: skip
_STATES: dict[str, WaitReason] = {"R": "running", "T": "stopped", "t": "stopped"}
_MAX_POLLED = 8
_ATTEMPTS = 3
"""A thread may wake between the read of its state and that of its system call."""
_MAX_SELECT_BYTES = 128
_INTERPRETER = re.compile(r"/(lib)?python[\d.]*[a-z]*(\.so[\d.]*)?( \(deleted\))?$")
_MAP = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)\s*(.*)")


class _Span(NamedTuple):
    start: int
    end: int


class WaitReader:
    """Reads the waits of one process's threads."""

    def __init__(self, proc: ProcDir, tables: SocketTables | None = None) -> None:
        self._proc = proc
        self._descriptors = Descriptors(proc, tables)
        self._interpreter_data = _interpreter_data(proc)
        self._cache: dict[tuple[str, Syscall], Wait] = {}

    def read(self, tid: int, state: str) -> Wait:
        """What a thread in this state waits for now.

        Raises:
            FileNotFoundError, ProcessLookupError: the thread has ended.
        """
        try:
            for _ in range(_ATTEMPTS):
                if state in _STATES:
                    return Wait(reason=_STATES[state])
                call = parse_syscall(self._proc.read(f"task/{tid}/syscall"))
                if call is not None:
                    return self._classify(state, call)
                state = parse_stat(self._proc.read(f"task/{tid}/stat")).state
        except PermissionError:
            return Wait(reason="unreadable")
        return Wait(reason="running")

    def forget(self) -> None:
        """Drops what is known of descriptors, which the process may have opened and closed since."""
        self._cache.clear()

    def _classify(self, state: str, call: Syscall) -> Wait:
        key = (state, call)
        if key not in self._cache:
            self._cache[key] = self._uninterruptible(call) if state == "D" else self._blocked(call)
        return self._cache[key]

    def _uninterruptible(self, call: Syscall) -> Wait:
        """A wait no signal ends: on a file, in a page fault, or on something that is not a disk."""
        name = NAMES.get(call.number)
        if call.number == -1:
            return Wait(reason="disk", syscall="page fault")
        if name in _READS | _WRITES | _FSYNCS:
            target = self._descriptors.get(call.args[0])
            reason: WaitReason = "disk" if target and target.kind == "file" else "uninterruptible"
            return Wait(reason=reason, syscall=name, fd=call.args[0], resource=target.target if target else None)
        return Wait(reason="disk" if name in _FILE_CALLS else "uninterruptible", syscall=name)

    def _blocked(self, call: Syscall) -> Wait:
        name = NAMES.get(call.number)
        if name == "futex":
            return self._futex(call)
        if name in ("poll", "ppoll", "select", "pselect6"):
            return self._poll(name, call)
        reason = "read" if name in _READS else "write" if name in _WRITES else _BY_NAME.get(name or "", "other")
        if reason in ("read", "write", "connect"):
            return self._on_descriptor(reason, name, call.args[0])
        return Wait(reason=reason, syscall=name or f"syscall {call.number}")

    def _futex(self, call: Syscall) -> Wait:
        address = call.args[0]
        is_gil = any(span.start <= address < span.end for span in self._interpreter_data)
        return Wait(reason="gil" if is_gil else "lock", syscall="futex", address=address)

    def _poll(self, name: str, call: Syscall) -> Wait:
        fds, timeout_s = self._polled(name, call.args)
        if fds == []:
            return Wait(reason="sleep", syscall=name, timeout_s=timeout_s)
        if fds is None or len(fds) != 1:
            return Wait(reason="poll", syscall=name, timeout_s=timeout_s)
        return self._on_descriptor("poll", name, fds[0], timeout_s)

    def _polled(self, name: str, args: tuple[int, ...]) -> tuple[list[int] | None, float | None]:
        """The descriptors a thread polls, None where they are many or unreadable, and for how long."""
        if name in ("poll", "ppoll"):
            count = args[1]
            fds = self._poll_array(args[0], count) if count <= _MAX_POLLED else None
            timeout_s = _milliseconds(args[2]) if name == "poll" else self._timespec(args[2], 1e-9)
            return fds, timeout_s
        fds = self._select_sets(args[0], args[1:4])
        return fds, self._timespec(args[4], 1e-9 if name == "pselect6" else 1e-6)

    def _poll_array(self, address: int, count: int) -> list[int] | None:
        content = self._memory(address, 8 * count)
        return [fd for fd, _, _ in struct.iter_unpack("=ihh", content)] if len(content) == 8 * count else None

    def _select_sets(self, limit: int, addresses: tuple[int, ...]) -> list[int] | None:
        size = min((limit + 63) // 64 * 8, _MAX_SELECT_BYTES)
        bits = 0
        for address in addresses:
            bits |= int.from_bytes(self._memory(address, size), "little") if address and size else 0
        fds = [fd for fd in range(limit) if bits >> fd & 1] if limit <= 8 * _MAX_SELECT_BYTES else None
        return fds if fds or limit == 0 else None

    def _timespec(self, address: int, fraction: float) -> float | None:
        content = self._memory(address, 16) if address else b""
        if len(content) < 16:
            return None
        seconds, rest = struct.unpack("=qq", content)
        return float(seconds + rest * fraction)

    def _memory(self, address: int, size: int) -> bytes:
        try:
            return self._proc.read_memory(address, size)
        except (PermissionError, *GONE):
            return b""

    def _on_descriptor(self, reason: WaitReason, name: str | None, fd: int, timeout_s: float | None = None) -> Wait:
        target = self._descriptors.get(fd)
        if target is None or target.kind == "socket":
            return Wait(reason=reason, syscall=name, fd=fd, timeout_s=timeout_s)
        return Wait(
            reason="accept" if target.kind == "tcp-listen" else reason,
            syscall=name,
            fd=fd,
            resource=f"{target.kind} {target.target}",
            peer=target.target if target.kind == "tcp" else None,
            inbound=target.kind == "tcp-inbound",
            timeout_s=timeout_s,
        )


def _milliseconds(argument: int) -> float | None:
    (signed,) = struct.unpack("=i", (argument & 0xFFFFFFFF).to_bytes(4, sys.byteorder))
    return None if signed < 0 else float(signed) / 1000


def _interpreter_data(proc: ProcDir) -> list[_Span]:
    """Where the interpreter's static data lies: its writable mappings, and the anonymous rest of .bss behind them."""
    try:
        lines = proc.read("maps").decode(errors="replace").splitlines()
    except PermissionError:
        return []
    spans: list[_Span] = []
    for line in lines:
        match = _MAP.match(line)
        if match is None or not match[3].startswith("rw"):
            continue
        start, end = int(match[1], 16), int(match[2], 16)
        follows = bool(spans) and spans[-1].end == start and match[4] == "0" and not match[5]
        if _INTERPRETER.search(match[5]) or follows:
            spans.append(_Span(start, end))
    return spans
