"""Stops a process for a moment, so that what is read of it shows one moment.

By ptrace: the kernel lets every thread run on as soon as the thread of doctor that stopped it ends, however it ends. A
timer sees to it that it does, should a read never return.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from doctor.procfs.handle import ProcDir

LONGEST_S = 0.5
"""Then the kernel ends doctor, and with that the stop."""

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_ANY_THREAD = 0x40000000
_EVENT_STOP = 128
_ROUNDS = 8
"""A thread that has just started may be missed by a round; more rounds are needed by nothing that behaves."""


@contextmanager
def paused(proc: ProcDir) -> Iterator[None]:
    """Holds all threads of a process during the block, which must be short.

    Raises:
        PermissionError: this user may not trace the process, or a debugger does.
        FileNotFoundError, ProcessLookupError: the process has ended.
    """
    stopped: dict[int, int] = {}
    before = signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        for _ in range(_ROUNDS):
            new = [tid for tid in proc.tids() if tid not in stopped]
            if not new:
                break
            for tid in new:
                _stop(tid, stopped)
        yield
    finally:
        for tid in sorted(stopped, key=lambda tid: tid == proc.pid):
            _let_go(tid, stopped[tid])
        signal.setitimer(signal.ITIMER_REAL, *before)


def _stop(tid: int, stopped: dict[int, int]) -> None:
    """Stops one thread, and notes the signal that it was just about to get."""
    try:
        _require(_ptrace(_SEIZE, tid, 0))
    except ProcessLookupError:
        return
    stopped[tid] = 0
    _ptrace(_INTERRUPT, tid, 0)
    try:
        _, status = os.waitpid(tid, _ANY_THREAD)
    except ChildProcessError:
        return
    if os.WIFSTOPPED(status) and status >> 16 != _EVENT_STOP:
        stopped[tid] = os.WSTOPSIG(status)


def _let_go(tid: int, pending: int) -> None:
    """Lets one thread run on; one that is being killed instead must be waited for, the main thread last."""
    if _ptrace(_DETACH, tid, pending) < 0:
        with suppress(ChildProcessError):
            os.waitpid(tid, _ANY_THREAD)


def _require(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _load() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).ptrace
    function.restype = ctypes.c_long
    function.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return function


_function = _load()


def _ptrace(request: int, tid: int, data: int) -> int:
    result: int = _function(request, tid, None, data)
    return result
