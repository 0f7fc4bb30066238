"""Chains of frames of live threads, and what tells a live frame from one that is left over.

The process runs on while it is read, so what was read may be a mixture of two moments. Frames say enough of themselves
to tell:
- A frame on the stack of frames lies right above the frame below it, which is as long as its code object says.
- Until 3.10 a frame says whether it is being executed. From 3.11 on it keeps the top of its stack while it waits for
  a frame that it called, and nothing while it runs: so a frame that runs is the innermost one, unless C code lies
  between; what seems to lie above it has returned, and what waits has another one above it.
What is left is a caller that has gone on by the time the frame above it is copied. So a call counts only when it was
confirmed: the called frame was read, live, between two reads of its caller, which stayed where it was. A call that was
confirmed several times is one that the program makes, and needs no further proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from doctor.remote.frames import FrameReader, Frames, Mask
from doctor.remote.memory import Words
from doctor.remote.snapshot import Indices, Snapshot
from doctor.remote.stack_table import StackTable

_PAGE, _CHUNK_HEAD = np.uint64(4096), np.uint64(48)
"""A piece of a stack of frames begins a page, with a head of a few words."""
_ENOUGH = 3
"""Confirmations, after which a call is taken for one that the program makes."""
_MOST_CALLED = 64
"""Frames above the one that the thread state named: they were called between two reads."""


Call = tuple[int, int, int]
"""The code of a caller, its instruction, and the code that it called."""


class Chain(NamedTuple):
    """The Python frames of one thread, innermost first."""

    address: tuple[int, ...]
    code: tuple[int, ...]
    previous: tuple[int, ...]
    instruction: tuple[int, ...]
    """Negative in a frame that has not begun."""
    live: bool
    """The innermost frame has not returned."""

    @property
    def calls(self) -> Iterator[Call]:
        """From the innermost on."""
        return zip(self.code[1:], self.instruction[1:], self.code, strict=False)


NO_FRAMES = Chain((), (), (), (), live=False)
"""What a thread has as it begins and as it ends."""


class ChainReader:
    """Reads the chains of threads out of snapshots."""

    def __init__(self, frames: FrameReader, table: StackTable) -> None:
        self._frames = frames
        self._table = table
        self._confirmed: Counter[Call] = Counter()

    def read(self, snapshot: Snapshot, tops: Words) -> tuple[list[Chain | None], Frames]:
        """The chain below each of these frames, None for one that shows two moments; and all frames that were read."""
        seen = self._frames.follow(snapshot, tops)
        if not seen.code.size:
            return [NO_FRAMES] * len(tops), seen
        ends = self._ends(seen)
        frames = self._without_left_over(seen, ends)
        if not self._frames.on_heap:
            frames = self._with_called(snapshot, frames, ends)
        torn = frames.missing.any(axis=1) | (~_rooted(frames, self._frames) & (tops != 0))
        live = ~frames.left[_innermost(frames)]
        chains = [None if torn[n] else _chain(frames, n, live=bool(live[n])) for n in range(len(tops))]
        return chains, seen

    def is_known(self, chain: Chain) -> bool:
        """Whether the chain is made of calls that were confirmed often enough before."""
        return chain.live and all(self._confirmed[call] >= _ENOUGH for call in chain.calls)

    def forget_doubtful(self) -> None:
        """To be called now and then: chance confirms no call several times in a short time, but in a long one."""
        self._confirmed = Counter({call: count for call, count in self._confirmed.items() if count >= _ENOUGH})

    def forget_calls(self) -> None:
        """To be called when code objects have been replaced."""
        self._confirmed.clear()

    def confirmed(self, chain: Chain) -> Chain | None:
        """As much of a chain, from its root up, as another look confirms: each frame is live between two looks at the
        frame that called it, which stays where it is.
        """
        root_first = np.array(chain.address[::-1], np.uint64)
        order = _in_pairs(len(root_first))
        looks = self._frames.look_again(root_first[order])
        if looks is None:
            return None
        first = np.unique(order, return_index=True)[1]
        last = len(order) - 1 - np.unique(order[::-1], return_index=True)[1]
        live = self._unchanged(looks, first, last, chain)
        still = looks.instruction[first] == looks.instruction[last]
        count = int(np.argmin(np.append(live, False)))
        count = min(count, int(np.argmin(np.append(still, False))) + 1)
        if not count:
            return None
        instructions = looks.instruction[last][:count].astype(np.int64)[::-1]
        begin = len(root_first) - count
        kept = (chain.address[begin:], chain.code[begin:], chain.previous[begin:])
        part = Chain(*kept, tuple(instructions.tolist()), live=not begin)
        self._confirmed.update(part.calls)
        return part

    def _unchanged(self, looks: Frames, first: Indices, last: Indices, chain: Chain) -> Mask:
        """Which frames both looks show as the chain has them, root first."""
        same = np.ones(len(first), np.bool_)
        for field, told in ((looks.code, chain.code), (looks.previous, chain.previous)):
            expected = np.array(told[::-1], np.uint64)
            same &= (field[first] == expected) & (field[last] == expected)
        if self._frames.on_heap:
            runs: Mask = looks.runs[first] & looks.runs[last]
            return same & runs
        same[-1] &= not looks.left[last[-1]]
        return same

    def _without_left_over(self, frames: Frames, ends: Words) -> Frames:
        """The frames without those at the inner end that have returned."""
        stale = (frames.address != 0) & (frames.code == 0) & ~frames.foreign
        if self._frames.on_heap:
            stale |= (frames.code != 0) & ~frames.runs
        else:
            stale |= _above_one_that_runs(frames) | _out_of_place(frames, ends)
        depth = frames.code.shape[1]
        cut = np.where(stale.any(axis=1), depth - np.argmax(stale[:, ::-1], axis=1), 0)
        gone = np.arange(depth) < cut[:, None]
        return Frames(*(np.where(gone, np.zeros(1, field.dtype), field) for field in frames))

    def _with_called(self, snapshot: Snapshot, frames: Frames, ends: Words) -> Frames:
        """The frames with those that the innermost ones have called since, as far as one that is live."""
        rows, top = _innermost(frames)
        current = np.where(frames.stacked[rows, top] & ~frames.runs[rows, top], frames.address[rows, top], np.uint64(0))
        end = ends[rows, top]
        above: list[Frames] = []
        live = np.zeros(len(rows), np.int64)
        while current.any() and len(above) < _MOST_CALLED:
            level = self._frames.find([snapshot], np.where(current == 0, np.uint64(0), end)[:, None])
            called = (level.stacked & ~level.missing & (level.previous == current[:, None]))[:, 0] & (current != 0)
            above.append(_only(level, called))
            end = self._ends(above[-1])[:, 0]
            live[called & ~level.left[:, 0]] = len(above)
            current = np.where(called & ~level.runs[:, 0], level.address[:, 0], np.uint64(0))
        kept = [_only(level, live > number) for number, level in enumerate(above)]
        return Frames(*(np.concatenate(fields, axis=1) for fields in zip(*reversed(kept), frames, strict=True)))

    def _ends(self, frames: Frames) -> Words:
        """Where each frame ends on its thread's stack of frames; frames of what is no code object are missing."""
        ends, unknown = self._table.ends(frames)
        frames.missing[unknown] = True
        return ends


def _in_pairs(count: int) -> list[int]:
    """0 1 0 2 1 3 2 … so that between two looks at one frame there is one at the frame that it called."""
    order = [0]
    for number in range(1, count):
        order += [number, number - 1]
    return [*order, count - 1] if count > 1 else [0, 0]


def _only(frames: Frames, rows: Mask) -> Frames:
    return Frames(*(np.where(rows[:, None], field, np.zeros(1, field.dtype)) for field in frames))


def _innermost(frames: Frames) -> tuple[Indices, Indices]:
    """Indices of the innermost frame of each chain."""
    return np.arange(len(frames.code)), np.argmax(frames.code != 0, axis=1)


def _rooted(frames: Frames, reader: FrameReader) -> Mask:
    """Whether each chain goes down to where C code called it; a generator that has just stopped ends a chain."""
    here = frames.address != 0
    root = np.arange(len(here)), here.shape[1] - 1 - np.argmax(here[:, ::-1], axis=1)
    rooted: Mask = reader.is_root(frames, root) & here.any(axis=1)
    return rooted


def _chain(frames: Frames, n: int, *, live: bool) -> Chain:
    python = (frames.code[n] != 0) & ~frames.foreign[n]
    address, code, previous, instruction = (field[n][python] for field in frames[:4])
    signed = tuple(instruction.astype(np.int64).tolist())
    return Chain(tuple(address.tolist()), tuple(code.tolist()), tuple(previous.tolist()), signed, live)


def _above_one_that_runs(frames: Frames) -> Mask:
    """Frames that cannot be live: the frame below one of them runs, and it was not C code that called it."""
    stale = np.zeros(frames.code.shape, np.bool_)
    by_c = frames.foreign | frames.entered
    stale[:, :-1] = frames.runs[:, 1:] & ~by_c[:, :-1] & ~frames.foreign[:, 1:]
    return stale


def _out_of_place(frames: Frames, ends: Words) -> Mask:
    """Frames that do not begin where the next one below them on the stack of frames ends."""
    wrong = np.zeros(ends.shape, np.bool_)
    above = np.zeros(len(ends), np.uint64)
    for depth in range(ends.shape[1]):
        lies = frames.stacked[:, depth]
        begins_piece = above % _PAGE < _CHUNK_HEAD
        if depth:
            wrong[:, depth - 1] = lies & ~begins_piece & (above != ends[:, depth])
        above = np.where(lies, frames.address[:, depth], above)
    return wrong
