"""The interpreter states of a process, the threads each of them knows, and who holds their locks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from doctor.remote.reader import Reader, Unreadable
from doctor.remote.snapshot import Snapshot

_MAX_THREADS = 1 << 16
_MAX_INTERPRETERS = 1 << 12
"""Longer lists are taken for torn ones, as are those that come back to where they were."""


class ThreadState(NamedTuple):
    """A `PyThreadState` of the process, by its address."""

    address: int
    interpreter: int
    following: int
    """The next one of its list."""
    thread_id: int
    """The pthread id."""
    native_thread_id: int | None
    """The kernel's id, as the process's own PID namespace counts; None before 3.11."""


class _Lock(NamedTuple):
    """Where an interpreter lock says whether it is held, and by which thread state."""

    locked: int
    last_holder: int


class Interpreters:
    """All lists as they were at one moment, and the words by which a snapshot shows that they still are.

    Raises:
        Unreadable: there are none, or they changed while they were read.
    """

    def __init__(self, reader: Reader, runtime: int) -> None:
        layout = reader.layout
        self.addresses = tuple(_interpreters(reader, runtime))
        self.threads = tuple(thread for one in self.addresses for thread in _threads(reader, one))
        if not self.threads:
            raise Unreadable("there are no Python threads")
        links = {runtime + layout.runtime.interpreters_head: self.addresses[0]}
        for one, following in zip(self.addresses, (*self.addresses[1:], 0), strict=True):
            first = next((thread.address for thread in self.threads if thread.interpreter == one), 0)
            links[one + layout.interpreter.next] = following
            links[one + layout.interpreter.threads_head] = first
        self._locks = tuple(_locks(reader, runtime, self.addresses))
        self._collecting = tuple(_collecting(reader, runtime, self.addresses))
        flags = (*self._collecting, *(lock.locked for lock in self._locks))
        self.words = tuple({*links, *(lock.last_holder for lock in self._locks), *(flag & ~7 for flag in flags)})
        """The addresses of words that a snapshot needs, besides the thread states."""
        links |= {thread.address + layout.thread.next: thread.following for thread in self.threads}
        self._links = np.array(list(links), np.uint64)
        self._targets = np.array(list(links.values()), np.uint64)

    def unchanged(self, snapshot: Snapshot) -> bool:
        """Whether no thread and no interpreter has come or gone."""
        return bool((snapshot.words_at(self._links) == self._targets).all())

    def gil_holders(self, snapshot: Snapshot) -> frozenset[int]:
        """The thread states that hold an interpreter lock."""
        return frozenset(
            int(snapshot.words_at(np.array([lock.last_holder], np.uint64))[0])
            for lock in self._locks
            if snapshot.int32_at(lock.locked) == 1
        )

    def collecting(self, snapshot: Snapshot) -> bool:
        """Whether a garbage collector is at work."""
        return any(snapshot.int32_at(flag) == 1 for flag in self._collecting)


def _interpreters(reader: Reader, runtime: int) -> Iterator[int]:
    address = reader.pointer(runtime + reader.layout.runtime.interpreters_head)
    seen = set[int]()
    while len(seen) < _MAX_INTERPRETERS and address not in seen:
        if not address:
            return
        seen.add(address)
        yield address
        address = reader.pointer(address + reader.layout.interpreter.next)
    raise Unreadable("the list of interpreters has no end")


def _threads(reader: Reader, interpreter: int) -> Iterator[ThreadState]:
    layout = reader.layout.thread
    address = reader.pointer(interpreter + reader.layout.interpreter.threads_head)
    seen = set[int]()
    while len(seen) < _MAX_THREADS and address not in seen:
        if not address:
            return
        seen.add(address)
        if reader.pointer(address + layout.interp) != interpreter:
            raise Unreadable(f"no thread state at {address:#x}")
        native = None if layout.native_thread_id is None else reader.pointer(address + layout.native_thread_id)
        following = reader.pointer(address + layout.next)
        yield ThreadState(address, interpreter, following, reader.pointer(address + layout.thread_id), native)
        address = following
    raise Unreadable("the list of threads has no end")


def _locks(reader: Reader, runtime: int, interpreters: tuple[int, ...]) -> Iterator[_Lock]:
    """One for the process until 3.11, then one an interpreter, which several may share."""
    layout = reader.layout
    if layout.gil is None:
        if layout.runtime.gil_locked is not None and layout.runtime.gil_last_holder is not None:
            yield _Lock(runtime + layout.runtime.gil_locked, runtime + layout.runtime.gil_last_holder)
        return
    gils = dict.fromkeys(reader.pointer(one + (layout.interpreter.gil or 0)) for one in interpreters)
    for gil in filter(None, gils):
        lock = _Lock(gil + layout.gil.locked, gil + layout.gil.last_holder)
        reader.pointer(lock.last_holder)  # an address that leads nowhere need not even be one
        yield lock


def _collecting(reader: Reader, runtime: int, interpreters: tuple[int, ...]) -> Iterator[int]:
    layout = reader.layout
    if layout.runtime.gc_collecting is not None:
        yield runtime + layout.runtime.gc_collecting
    if layout.interpreter.gc_collecting is not None:
        yield from (one + layout.interpreter.gc_collecting for one in interpreters)
