"""Chains of frames of many threads, followed together, and what tells a live frame from one that is left over.

The process runs on while it is read, so a chain may be a mixture of two moments. What a frame says of itself helps:
- A frame on the stack of frames lies right above the frame below it, which is as long as its code object says.
- Until 3.10 a frame says whether it is being executed. From 3.11 on it keeps the top of its stack while it waits for
  a frame that it called, and nothing while it runs: so a frame that runs is the innermost one, unless C code lies
  between, and what seems to lie above it has returned.
Neighbours in memory are copied within nanoseconds of each other, which is why this is enough, whatever has happened
since the thread state was read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from doctor.remote.layouts import Layout
from doctor.remote.memory import Memory, Words
from doctor.remote.snapshot import ALL_BITS, NOWHERE, Indices, Pieces, Snapshot

MAX_DEPTH = 1 << 14
"""Frames; a longer chain is taken for a loop."""

Mask = npt.NDArray[np.bool_]
_TAG = np.uint64(7)
"""From 3.14 on the low bits of a reference on a frame say who counts it."""
_OWNED_BY_NOBODY, _OWNED_BY_THREAD, _OWNED_BY_C, _NEVER = -1, 0, 3, 127
"""Values of `owner`; from 3.14 on both 3 and 4 mark a frame that is not Python's."""
_PAGE, _CHUNK_HEAD = np.uint64(4096), np.uint64(48)
"""A piece of a stack of frames begins a page, with a head of a few words."""


class Frames(NamedTuple):
    """Fields of the frames of many threads: threads by depth, innermost first."""

    address: Words
    code: Words
    instruction: Words
    stacked: Mask
    """It lies on its thread's stack of frames, and not in a generator, or on the heap."""
    foreign: Mask
    """A frame that C code put between two Python frames."""
    entered: Mask
    """C code called it."""
    runs: Mask
    """It executes its own instructions; until 3.10 also while another frame executes that it called."""
    left: Mask
    """If it is the innermost, then it has returned, or is about to call another one."""
    missing: Mask
    """It could not be read."""

    @classmethod
    def blank(cls, addresses: Words) -> Frames:
        """Frames of which nothing is known yet but where they are."""
        shape = addresses.shape
        words, masks = np.zeros((2, *shape), np.uint64), np.zeros((6, *shape), np.bool_)
        return cls(addresses, *words, *masks)


class FrameReader:
    """Reads frames as the version keeps them."""

    def __init__(self, memory: Memory, layout: Layout, minor: tuple[int, int]) -> None:
        self._memory = memory
        self._layout = layout.frame
        self._minor = minor
        self._cframe = layout.cframe.current_frame if layout.cframe else None
        self._first_foreign = _OWNED_BY_C if minor >= (3, 12) else _NEVER
        self.size = _hot_size(layout)

    def tops(self, snapshot: Snapshot, pointers: Words) -> Words:
        """The innermost frames, given what the thread states name as such."""
        if self._cframe is None:
            return pointers
        addresses = pointers + np.uint64(self._cframe)
        if (snapshot.locate(addresses, 8) == NOWHERE).any():
            snapshot = self._later(addresses, 8)
        return np.where(snapshot.locate(addresses, 8) == NOWHERE, np.uint64(0), snapshot.words_at(addresses))

    def follow(self, snapshot: Snapshot, tops: Words) -> Frames:
        """The chains that begin at these frames, as wide as the deepest; behind its end a chain's fields are 0."""
        current, later = tops.copy(), [snapshot]
        levels: list[Words] = []
        while current.any() and len(levels) < MAX_DEPTH:
            levels.append(current)
            at = snapshot.locate(current, self.size)
            previous = snapshot.words[(np.maximum(at, 0) + self._layout.previous) // 8]
            absent = np.flatnonzero((at == NOWHERE) & (current != 0))
            if len(absent):
                later.append(self._later(current[absent], self.size))
                previous[absent] = later[-1].words_at(current[absent] + np.uint64(self._layout.previous))
            current = np.where((current == 0) | (previous == ALL_BITS), np.uint64(0), previous)
        frames = self._fields(later, np.stack(levels, axis=1) if levels else np.zeros((len(tops), 0), np.uint64))
        frames.missing[current != 0] = True
        return frames

    def _later(self, addresses: Words, size: int) -> Snapshot:
        """A copy of what was not foreseen, so that it shows a later moment."""
        addresses = np.unique(addresses)
        sizes = np.full(len(addresses), size, np.uint64)
        return Snapshot(self._memory, Pieces(addresses, sizes, np.zeros(len(addresses), np.int64)))

    def _fields(self, snapshots: list[Snapshot], addresses: Words) -> Frames:
        """The fields of frames, each from the first snapshot that has it."""
        frames = Frames.blank(addresses)
        wanted = addresses != 0
        for snapshot in snapshots:
            rows, depths = np.nonzero(wanted)
            at = snapshot.locate(addresses[rows, depths], self.size)
            here = at != NOWHERE
            place = rows[here], depths[here]
            for field, values in zip(frames[1:], self._read(snapshot, addresses[place], at[here]), strict=False):
                field[place] = values
            wanted[place] = False
        frames.missing[wanted] = True
        return frames

    def _read(self, snapshot: Snapshot, addresses: Words, at: Indices) -> tuple[npt.NDArray[np.generic], ...]:
        """All fields but the address and whether it is missing, in the order of `Frames`."""
        layout, words = self._layout, snapshot.words
        owner = self._owner(snapshot, at)
        return (
            words[(at + layout.code) // 8] & ~_TAG,
            self._instruction(snapshot, at),
            owner == _OWNED_BY_THREAD,
            owner >= self._first_foreign,
            np.zeros(len(at), np.bool_) if layout.is_entry is None else snapshot.int8[at + layout.is_entry] != 0,
            *self._states(snapshot, addresses, at),
        )

    def _instruction(self, snapshot: Snapshot, at: Indices) -> npt.NDArray[np.generic]:
        place = at + self._layout.instruction
        return snapshot.words[place // 8] if self._minor >= (3, 11) else snapshot.int32[place // 4].astype(np.uint64)

    def _owner(self, snapshot: Snapshot, at: Indices) -> npt.NDArray[np.int8]:
        owner = self._layout.owner
        return np.full(len(at), _OWNED_BY_NOBODY, np.int8) if owner is None else snapshot.int8[at + owner]

    def _states(self, snapshot: Snapshot, addresses: Words, at: Indices) -> tuple[Mask, Mask]:
        """Whether each frame runs, and whether it is left if it is the innermost one."""
        layout = self._layout
        if layout.executing is not None:
            runs: Mask = snapshot.int8[at + layout.executing] == (0 if self._minor == (3, 10) else 1)
            return runs, ~runs
        place = at + (layout.stacktop or 0)
        if self._minor < (3, 14):
            runs = snapshot.int32[place // 4] == -1
            return runs, ~runs
        top = snapshot.words[place // 8]
        return top == 0, top == addresses + np.uint64(layout.localsplus)


def _hot_size(layout: Layout) -> int:
    """From the start of a frame to the end of the last field that is read, in full words."""
    frame = layout.frame
    always = (frame.previous, frame.code, frame.instruction)
    sometimes = (frame.executing, frame.owner, frame.is_entry, frame.stacktop)
    return (max(*always, *(field or 0 for field in sometimes)) + 15) // 8 * 8


class Chain(NamedTuple):
    """The Python frames of one thread, innermost first."""

    address: tuple[int, ...]
    code: tuple[int, ...]
    instruction: tuple[int, ...]
    """Negative in a frame that has not begun."""
    certain: bool
    """All of it was copied in one piece, and it ends with a frame that runs."""

    def agrees_with(self, later: Chain) -> bool:
        """Whether another look showed the same frames, and their callers at the same calls."""
        same = self.address == later.address and self.code == later.code
        return same and self.instruction[1:] == later.instruction[1:]

    def common(self, later: Chain) -> Chain | None:
        """What has not changed between two looks, from the root up, and the first frame that only went on."""
        rows = list(zip(*(reversed(field) for field in self[:3]), strict=True))
        later_rows = list(zip(*(reversed(field) for field in later[:3]), strict=True))
        kept = []
        for before, after in zip(rows, later_rows, strict=False):
            if before[:2] != after[:2]:
                break
            kept.append(after)
            if before != after:
                break
        address, code, instruction = zip(*reversed(kept), strict=True) if kept else ((), (), ())
        return Chain(address, code, instruction, certain=False) if kept else None


class Looks:
    """Several looks at the chain of one thread, until it is sure."""

    def __init__(self) -> None:
        self.sure = False
        self.best: Chain | None = None
        """Once sure the chain, before that the most of it that two looks agreed on."""
        self._last: Chain | None = None

    def add(self, chain: Chain | None) -> None:
        """One more look; None if it was torn."""
        if chain is None:
            return
        if not chain.code:
            self.best = self.best or chain  # a thread has no frame as it begins, and seems to have none as it calls
            return
        last, self._last = self._last, chain
        if chain.certain or (last and last.agrees_with(chain)):
            self.sure, self.best = True, chain
            return
        common = last.common(chain) if last else None
        if common and (self.best is None or len(common.code) >= len(self.best.code)):
            self.best = common


def settle(frames: Frames, ends: Words, *, on_heap: bool) -> list[Chain | None]:
    """The chains without what has returned; None for one that shows two moments.

    `ends` says where each frame ends that lies on a stack of frames; frames of the heap may lie anywhere.
    """
    count, depth = frames.code.shape
    if not depth:
        return [Chain((), (), (), certain=False)] * count
    stale = (frames.code != 0) & ~frames.runs if on_heap else _left_over(frames)
    cut = np.where(stale.any(axis=1), depth - np.argmax(stale[:, ::-1], axis=1), 0)
    gone = np.arange(depth) < cut[:, None]
    kept = Frames(*(np.where(gone, np.zeros(1, field.dtype), field) for field in frames))
    lost = (cut > 0) & ~(kept.code != 0).any(axis=1)
    torn = lost | kept.missing.any(axis=1) | ~_back_to_back(kept, ends)
    in_one_piece = (kept.stacked | (kept.address == 0)).all(axis=1) & kept.stacked.any(axis=1)
    certain = in_one_piece & ~kept.left[np.arange(count), np.minimum(cut, depth - 1)]
    return [None if torn[n] else _chain(kept, n, certain=bool(certain[n])) for n in range(count)]


def _chain(frames: Frames, n: int, *, certain: bool) -> Chain:
    python = (frames.code[n] != 0) & ~frames.foreign[n]
    address, code, instruction = frames.address[n][python], frames.code[n][python], frames.instruction[n][python]
    signed = instruction.astype(np.int64)
    return Chain(tuple(address.tolist()), tuple(code.tolist()), tuple(signed.tolist()), certain)


def _left_over(frames: Frames) -> Mask:
    """Frames that cannot be live: the frame below one of them runs, and it was not C code that called it."""
    stale = np.zeros(frames.code.shape, np.bool_)
    by_c = frames.foreign | frames.entered
    stale[:, :-1] = frames.runs[:, 1:] & ~by_c[:, :-1] & ~frames.foreign[:, 1:]
    return stale


def _back_to_back(frames: Frames, ends: Words) -> Mask:
    """Whether each frame on a stack of frames ends where the next one begins, or the next one begins a new piece."""
    fits = np.ones(len(ends), np.bool_)
    above = np.zeros(len(ends), np.uint64)
    for depth in range(ends.shape[1]):
        lies = frames.stacked[:, depth]
        begins_piece = above % _PAGE < _CHUNK_HEAD
        fits &= ~lies | begins_piece | (above == ends[:, depth])
        above = np.where(lies, frames.address[:, depth], above)
    return fits
