"""Pieces of memory of a running process, copied in one go, so that they show nearly one moment."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from doctor.remote.memory import Memory, Words

Indices = npt.NDArray[np.int64]
NOWHERE = -1
NOBODY = -1
"""The owner of pieces that belong to none of the things that are numbered."""
_LAST = 1 << 64
ALL_BITS = np.uint64((1 << 64) - 1)


class Pieces:
    """What to copy, in the order in which it is copied."""

    def __init__(self, addresses: Words, sizes: Words, owners: Indices) -> None:
        self.addresses = addresses
        self.sizes = sizes
        self.owners = owners
        """Whose piece each is, ascending."""
        ends = np.cumsum((sizes + np.uint64(7)) & ~np.uint64(7), dtype=np.uint64)
        self.offsets: Words = np.concatenate([np.zeros(1, np.uint64), ends])
        """Where each lies in the copy, which has full words only, and at last where the copy ends."""

    @classmethod
    def none(cls) -> Pieces:
        """Nothing to copy."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64))

    def first_word(self, owner: int) -> int:
        """Where in the copy the words of this owner begin, or would begin."""
        return int(self.offsets[np.searchsorted(self.owners, owner)]) // 8


class Snapshot:
    """A copy of the pieces, in which fields are found by their address in the process.

    Raises:
        PermissionError: this user may not read the process.
    """

    def __init__(self, memory: Memory, pieces: Pieces) -> None:
        self._pieces = pieces
        offsets = pieces.offsets
        self._offsets = offsets[:-1]
        buffer = np.zeros(max(int(offsets[-1]), 8), np.uint8)
        began_ns = time.perf_counter_ns()
        got = memory.gather(pieces.addresses, pieces.sizes, buffer, self._offsets)
        self.took_ns = time.perf_counter_ns() - began_ns
        self.words = buffer.view(np.uint64)
        self.view = memoryview(buffer).cast("Q")  # type: ignore[arg-type]  # numpy's stubs do not know it for a buffer
        """The words, for reading one by one."""
        self.int32 = buffer.view(np.int32)
        self.int8 = buffer.view(np.int8)
        order = np.argsort(pieces.addresses, kind="stable")
        self._starts = pieces.addresses[order]
        self._ends = self._starts + got[order]
        self._begins = self._offsets[order].astype(np.int64)
        self._last = (0, 0, 0)

    @cached_property
    def _rows(self) -> list[tuple[int, int, int]]:
        """Where each piece starts, ends, and begins in the copy, for `place`."""
        return list(zip(self._starts.tolist(), self._ends.tolist(), self._begins.tolist(), strict=True))

    def place(self, address: int, size: int) -> int:
        """`locate` for one address; the next one mostly lies in the same piece."""
        start, end, begin = self._last
        if not start <= address <= end - size:
            index = bisect_right(self._rows, (address, _LAST, _LAST)) - 1
            if index < 0:
                return NOWHERE
            start, end, begin = self._last = self._rows[index]
        if address > end - size or address & 7:
            return NOWHERE
        return begin + address - start

    def locate(self, addresses: Words, size: int) -> Indices:
        """Where in the copy so many bytes at each address lie; `NOWHERE` if they were not copied."""
        if not len(self._starts):
            return np.full(len(addresses), NOWHERE, np.int64)
        index = np.searchsorted(self._starts, addresses, side="right") - 1
        safe = np.maximum(index, 0)
        distance = addresses - self._starts[safe]
        room = self._ends[safe] - self._starts[safe]
        inside = (index >= 0) & (distance < room) & (distance + np.uint64(size) <= room) & (addresses % 8 == 0)
        return np.where(inside, self._begins[safe] + distance.astype(np.int64), NOWHERE)

    def words_at(self, addresses: Words) -> Words:
        """The words at these addresses; all bits set for one that was not copied."""
        at = self.locate(addresses, 8)
        words: Words = self.words[np.maximum(at, 0) // 8]
        return np.where(at == NOWHERE, ALL_BITS, words)

    def int32_at(self, address: int) -> int | None:
        """A C int within a word that was copied."""
        at = int(self.locate(np.array([address & ~7], np.uint64), 8)[0])
        return None if at == NOWHERE else int(self.int32[(at + (address & 7)) // 4])

    def changed_owners(self, before: Words) -> Indices:
        """The owners of pieces that differ from an earlier copy of the same pieces."""
        by_piece = np.logical_or.reduceat(self.words != before, (self._offsets // np.uint64(8)).astype(np.int64))
        return np.unique(self._pieces.owners[by_piece])

    def carried_over(self, pieces: Pieces, replaced: Sequence[int]) -> Words:
        """The words of this copy where they belong in a copy of other pieces; 0 for owners whose pieces are others."""
        words = np.zeros(int(pieces.offsets[-1]) // 8, np.uint64)
        mine, begin = self._pieces, NOBODY
        for owner in (*sorted(replaced), int(mine.owners[-1]) + 1):
            here = slice(mine.first_word(begin), mine.first_word(owner))
            words[pieces.first_word(begin) : pieces.first_word(owner)] = self.words[here]
            begin = owner + 1
        return words
