"""Samples the stacks of all threads of a process, while it runs, in a few system calls a sample.

Everything that the last sample needed is copied at once. A thread none of whose memory has changed has not run, and is
where it was. The chains of the others are followed together, and a chain that shows two moments is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from doctor.model.evidence.stacks import Frame
from doctor.remote.chains import NO_FRAMES, Chain, ChainReader
from doctor.remote.frames import FrameReader, Frames
from doctor.remote.interpreters import Interpreters, ThreadState
from doctor.remote.memory import Words
from doctor.remote.plan import ThreadPlan
from doctor.remote.reader import Reader, Unreadable
from doctor.remote.snapshot import NOBODY, Indices, Pieces, Snapshot
from doctor.remote.stack_table import UNKNOWN, StackTable

TORN = UNKNOWN
"""Stands for the stack of a thread that changed too fast to be read."""
_ENOUGH_ATTEMPTS, _ATTEMPTS = 9, 12
"""To see the whole of a stack, and to see any of it."""
_LISTINGS = 5
_CHECK_CODES_EVERY, _FORGET_DOUBTFUL_EVERY = 100, 1000
"""Samples."""


class Sample(NamedTuple):
    """Where all threads were."""

    threads: tuple[ThreadState, ...]
    """The same object as in the last sample if no thread has come or gone."""
    stacks: Indices
    """For each thread an index into `Sampler.stacks`, or `TORN`."""
    gil_holders: frozenset[int]
    """Addresses of thread states; one for each interpreter lock that is held."""
    collecting: bool
    """Whether a garbage collector was at work."""


class Sampler:
    """Samples one process.

    Raises:
        Unreadable: it has no interpreter that could be read.
        PermissionError: this user may not read the process.
    """

    def __init__(self, reader: Reader, runtime: int) -> None:
        self._reader = reader
        self._runtime = runtime
        self._frame_reader = FrameReader(reader.memory, reader.layout, reader.minor)
        self._table = StackTable(reader)
        self._chains = ChainReader(self._frame_reader, self._table)
        self._plans: dict[int, ThreadPlan] = {}
        self._samples = 0
        self._pieces = Pieces.none()
        self._before: Words | None = None
        self._ran = np.empty(0, np.int64)
        self._list_threads()

    @property
    def stacks(self) -> list[tuple[Frame, ...]]:
        """All stacks seen so far, each innermost frame first."""
        return self._table.stacks

    def sample(self) -> Sample:
        """One sample.

        Raises:
            Unreadable: the process has gone, or its list of threads changes faster than it can be read.
            PermissionError: this user may not read the process.
        """
        self._samples += 1
        if self._samples % _CHECK_CODES_EVERY == 0 and self._table.forget_replaced():
            self._chains.forget_calls()
            self._numbers[:] = TORN
        if self._samples % _FORGET_DOUBTFUL_EVERY == 0:
            self._chains.forget_doubtful()
        snapshot, which = self._look()
        if len(which):
            self._numbers[which] = self._walk(snapshot, which)
        found = self._interpreters
        return Sample(found.threads, self._numbers.copy(), found.gil_holders(snapshot), found.collecting(snapshot))

    def _look(self) -> tuple[Snapshot, Indices]:
        """A snapshot of all threads there are, and which of them may have run since the last one."""
        for _ in range(_LISTINGS):
            snapshot = Snapshot(self._reader.memory, self._pieces)
            if self._interpreters.unchanged(snapshot):
                return snapshot, self._that_ran(snapshot)
            self._list_threads()
        raise Unreadable("the list of threads changes faster than it can be read")

    def _that_ran(self, snapshot: Snapshot) -> Indices:
        """Those whose memory changed, now or in the last sample: at rest a stack can be read as it is."""
        before, self._before = self._before, snapshot.words
        if before is None:
            self._ran = np.arange(len(self._plans))
            return self._ran
        changed = snapshot.changed_owners(before)
        before_that, self._ran = self._ran, changed[changed != NOBODY]
        return np.union1d(np.union1d(self._ran, before_that), np.flatnonzero(self._numbers == TORN))

    def _list_threads(self) -> None:
        """Lists them anew, and keeps what is known of those that are still there."""
        for attempt in range(_LISTINGS):
            try:
                self._interpreters = Interpreters(self._reader, self._runtime)
                break
            except Unreadable:
                if attempt == _LISTINGS - 1:
                    raise
        size, known = self._frame_reader.size, self._plans
        self._plans = {
            thread.address: known.get(thread.address) or ThreadPlan(self._reader, thread.address, size)
            for thread in self._interpreters.threads
        }
        self._numbers = np.full(len(self._plans), TORN, np.int64)
        self._pieces = self._all_pieces()
        self._before = None

    def _all_pieces(self) -> Pieces:
        return _pieces(list(enumerate(self._plans.values())), np.array(self._interpreters.words, np.uint64))

    def _walk(self, whole: Snapshot, which: Indices) -> Indices:
        """The stacks of these threads, looked at again as long as they are not confirmed whole."""
        plans = list(self._plans.items())
        best: dict[int, Chain | None] = dict.fromkeys(which.tolist(), NO_FRAMES)
        moved = set[int]()
        snapshot, left = whole, which.tolist()
        for attempt in range(_ATTEMPTS):
            chains, follows = self._read(snapshot, [plans[index] for index in left])
            for index, chain, follow in zip(left, chains, follows, strict=True):
                best[index] = self._better(best[index], chain)
                moved.update([index] if follow else [])
            left = [index for index in left if not _suffices(best[index], attempt)]
            if not left:
                break
            snapshot = Snapshot(self._reader.memory, _pieces([(index, plans[index][1]) for index in left]))
        if moved:
            self._pieces = self._all_pieces()
            self._before = whole.carried_over(self._pieces, sorted(moved))
        return np.array([self._number(chain) for chain in best.values()], np.int64)

    def _better(self, best: Chain | None, chain: Chain | None) -> Chain | None:
        """The one to keep of what is known so far and another look; a thread has no frames if all looks say so."""
        known = best if best and best.code else None
        if chain is None:
            return known
        if not chain.code:
            return best
        if self._chains.is_known(chain):
            return chain
        confirmed = self._chains.confirmed(chain)
        if confirmed and (known is None or confirmed.live or len(confirmed.code) > len(known.code)):
            return confirmed
        return known

    def _number(self, chain: Chain | None) -> int:
        return TORN if chain is None else self._table.number(chain.code, chain.instruction)

    def _read(self, snapshot: Snapshot, plans: list[tuple[int, ThreadPlan]]) -> tuple[list[Chain | None], list[bool]]:
        """The chains of these threads, None for torn ones, and whose frames lie elsewhere than before."""
        addresses = np.array([address for address, _ in plans], np.uint64)
        names = snapshot.words_at(addresses + np.uint64(self._reader.layout.thread.frame))
        chains, frames = self._chains.read(snapshot, self._frame_reader.tops(snapshot, names))
        return chains, self._replan(snapshot, [plan for _, plan in plans], addresses, names, frames)

    def _replan(
        self, snapshot: Snapshot, plans: list[ThreadPlan], addresses: Words, names: Words, frames: Frames
    ) -> list[bool]:
        """Has each plan follow where the thread's frames are; which of them did."""
        layout, cframe = self._reader.layout.thread, self._reader.layout.cframe
        nowhere = np.zeros(len(plans), np.uint64)
        on_heap = layout.datastack_chunk is None
        chunks = nowhere if on_heap else snapshot.words_at(addresses + np.uint64(layout.datastack_chunk or 0))
        tops = nowhere if on_heap else snapshot.words_at(addresses + np.uint64(layout.datastack_top or 0))
        named_in = names + np.uint64(cframe.current_frame) if cframe else None
        elsewhere = (frames.address != 0) & ~frames.stacked
        return [
            plan.follow(
                int(chunks[n]),
                int(tops[n]),
                None if named_in is None else int(named_in[n]),
                frames.address[n][elsewhere[n]].tolist(),
            )
            for n, plan in enumerate(plans)
        ]


def _suffices(chain: Chain | None, attempt: int) -> bool:
    """Whether a chain is whole, or enough of it is confirmed after so many attempts."""
    return chain is not None and (chain.live or (attempt >= _ENOUGH_ATTEMPTS and bool(chain.code)))


def _pieces(plans: Sequence[tuple[int, ThreadPlan]], words: Words | None = None) -> Pieces:
    """The pieces of threads with their numbers, behind single words that belong to none."""
    words = np.empty(0, np.uint64) if words is None else words
    owners = np.array([NOBODY, *(number for number, _ in plans)], np.int64)
    return Pieces(
        np.concatenate([words, *(plan.addresses for _, plan in plans)]),
        np.concatenate([np.full(len(words), 8, np.uint64), *(plan.sizes for _, plan in plans)]),
        np.repeat(owners, [len(words), *(len(plan.addresses) for _, plan in plans)]),
    )
