"""Frames of many threads, their chains followed together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from doctor.remote.layouts import Layout
from doctor.remote.memory import Memory, SegmentedMemory, Words
from doctor.remote.snapshot import NOWHERE, Indices, Pieces, Snapshot

MAX_DEPTH = 1 << 14
"""Frames; a longer chain is taken for a loop."""

_SET_UP, _INTERRUPTED = 50, 2.0
"""A system call takes about as long as reading so many frames; one that takes this much longer than the quickest was
interrupted."""

Mask = npt.NDArray[np.bool_]
_TAG = np.uint64(7)
"""From 3.14 on the low bits of a reference on a frame say who counts it."""
_OWNED_BY_NOBODY, _OWNED_BY_THREAD = -1, 0
_OWNED_BY_C = (3, 4)
"""Values of `owner`; from 3.14 on both of the last mark a frame that is not Python's, before that 3 alone exists."""


class Frames(NamedTuple):
    """Fields of the frames of many threads: threads by depth, innermost first."""

    address: Words
    code: Words
    previous: Words
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
        words, masks = np.zeros((3, *shape), np.uint64), np.zeros((6, *shape), np.bool_)
        return cls(addresses, *words, *masks)


class FrameReader:
    """Reads frames as the version keeps them."""

    def __init__(self, memory: Memory, layout: Layout, minor: tuple[int, int]) -> None:
        self._memory = memory
        self._layout = layout.frame
        self._minor = minor
        self.on_heap = layout.chunk is None
        """Whether frames are objects of the heap, as until 3.10, and do not lie on a stack of frames."""
        self._cframe = layout.cframe.current_frame if layout.cframe else None
        self._foreign = _OWNED_BY_C if minor >= (3, 12) else ()
        self.size = _hot_size(layout)
        self._quickest_ns = math.inf

    def tops(self, snapshot: Snapshot, pointers: Words) -> Words:
        """The innermost frames, given what the thread states name as such."""
        if self._cframe is None:
            return pointers
        addresses = pointers + np.uint64(self._cframe)
        if (snapshot.locate(addresses, 8) == NOWHERE).any():
            snapshot = self._snapshot(self._memory, np.unique(addresses).tolist(), 8)
        return np.where(snapshot.locate(addresses, 8) == NOWHERE, np.uint64(0), snapshot.words_at(addresses))

    def follow(self, snapshot: Snapshot, tops: Words) -> Frames:
        """The chains that begin at these frames, as wide as the deepest; behind its end a chain's fields are 0."""
        later: dict[int, bytes] = {}
        chains, ended = zip(*(self._chain(snapshot, top, later) for top in tops.tolist()), strict=True)
        addresses = np.zeros((len(chains), max(map(len, chains), default=0)), np.uint64)
        for row, chain in zip(addresses, chains, strict=True):
            row[: len(chain)] = chain
        snapshots = [snapshot]
        if later:
            snapshots.append(self._snapshot(SegmentedMemory(later.items()), list(later)))
        frames = self.find(snapshots, addresses)
        frames.missing[~np.array(ended)] = True
        return frames

    def _chain(self, snapshot: Snapshot, frame: int, later: dict[int, bytes]) -> tuple[list[int], bool]:
        """The frames from this one down, and whether they have an end.

        Those that were not foreseen are read now, so that they show a later moment. Following one pointer after the
        other is faster without numpy, for the few threads that ran.
        """
        chain: dict[int, None] = {}
        words, size, previous = snapshot.view, self.size, self._layout.previous
        while frame and len(chain) < MAX_DEPTH and frame not in chain:
            chain[frame] = None
            place = snapshot.place(frame, size)
            if place != NOWHERE:
                frame = words[(place + previous) // 8]
                continue
            content = later[frame] = later.get(frame) or self._memory.read(frame, size)
            frame = int.from_bytes(content[previous : previous + 8], "little")
        return list(chain), frame == 0

    def is_root(self, frames: Frames, at: tuple[Indices, Indices]) -> Mask:
        """Whether the frames at these places are such as a thread begins with, as far as the version shows it."""
        if self.on_heap:
            return np.ones(len(at[0]), np.bool_)
        by_c = frames.entered if self._minor == (3, 11) else frames.foreign
        root: Mask = by_c[at] & (frames.previous[at] == 0)
        return root

    def _snapshot(self, memory: Memory, addresses: Sequence[int], size: int | None = None) -> Snapshot:
        sizes = np.full(len(addresses), size or self.size, np.uint64)
        return Snapshot(memory, Pieces(np.array(addresses, np.uint64), sizes, np.zeros(len(addresses), np.int64)))

    def find(self, snapshots: Sequence[Snapshot], addresses: Words) -> Frames:
        """The frames at these addresses, threads by depth, each from the first snapshot that has it."""
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

    def look_again(self, addresses: Words) -> Frames | None:
        """Frames read one after the other in this order; an address may stand in it more than once.

        None if the look was interrupted, so that there was time for anything between two frames.
        """
        sizes = np.full(len(addresses), self.size, np.uint64)
        pieces = Pieces(addresses, sizes, np.zeros(len(addresses), np.int64))
        at = pieces.offsets[:-1].astype(np.int64)
        snapshot = Snapshot(self._memory, pieces)
        took_ns = snapshot.took_ns / (_SET_UP + len(addresses))
        self._quickest_ns = min(self._quickest_ns, took_ns)
        if self._memory.changes and took_ns > _INTERRUPTED * self._quickest_ns:
            return None
        fields = self._read(snapshot, addresses, at)
        return Frames(addresses, *fields, missing=np.zeros(len(addresses), np.bool_))

    def _read(
        self, snapshot: Snapshot, addresses: Words, at: Indices
    ) -> tuple[Words, Words, Words, Mask, Mask, Mask, Mask, Mask]:
        """All fields but the address and whether it is missing, in the order of `Frames`."""
        layout, words = self._layout, snapshot.words
        owner = self._owner(snapshot, at)
        return (
            words[(at + layout.code) // 8] & ~_TAG,
            words[(at + layout.previous) // 8],
            self._instruction(snapshot, at),
            owner == _OWNED_BY_THREAD,
            np.isin(owner, self._foreign),
            np.zeros(len(at), np.bool_) if layout.is_entry is None else snapshot.int8[at + layout.is_entry] == 1,
            *self._states(snapshot, addresses, at),
        )

    def _instruction(self, snapshot: Snapshot, at: Indices) -> Words:
        place = at + self._layout.instruction
        words: Words = snapshot.words[place // 8]
        return words if self._minor >= (3, 11) else snapshot.int32[place // 4].astype(np.uint64)

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
