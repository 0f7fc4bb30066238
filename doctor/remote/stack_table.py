"""Stacks by number: each code object, frame and stack is decoded once, however often it is seen."""

from __future__ import annotations

import numpy as np

from doctor.model.evidence.stacks import Frame
from doctor.remote.code import Code
from doctor.remote.frames import Frames, Mask
from doctor.remote.memory import Words
from doctor.remote.reader import Reader, Unreadable

UNKNOWN = -1


class StackTable:
    """All stacks of one process that were seen so far."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._codes: dict[int, Code | None] = {0: None}
        self._numbers: dict[tuple[tuple[int, ...], ...], int] = {}
        self._by_frames: dict[tuple[Frame, ...], int] = {}
        self.stacks: list[tuple[Frame, ...]] = []

    def ends(self, frames: Frames) -> tuple[Words, Mask]:
        """Where each frame ends on its thread's stack of frames, and which frames name what is no code object."""
        addresses, index = np.unique(np.where(frames.foreign, np.uint64(0), frames.code), return_inverse=True)
        codes = [self._code(address) for address in addresses.tolist()]
        words = np.array([code.frame_words if code else 0 for code in codes], np.uint64)
        unknown = np.array([code is None for code in codes], np.bool_) & (addresses != 0)
        index = index.reshape(frames.code.shape)
        return frames.address + words[index] * np.uint64(8), unknown[index]

    def number(self, code: tuple[int, ...], instruction: tuple[int, ...]) -> int:
        """The number of a stack, `UNKNOWN` if one of its instructions is none of the code."""
        key = code, instruction
        known = self._numbers.get(key)
        if known is None:
            known = self._numbers[key] = self._decode(*key)
        return known

    def forget_replaced(self) -> bool:
        """Drops what was known of code objects in whose place lies something else; whether there were any."""
        replaced = [address for address, code in self._codes.items() if code and not code.is_still_there(self._reader)]
        for address in replaced:
            del self._codes[address]
        if replaced:
            self._numbers.clear()
        return bool(replaced)

    def _code(self, address: int) -> Code | None:
        if address not in self._codes:
            try:
                self._codes[address] = Code(self._reader, address)
            except Unreadable:
                return None
        return self._codes[address]

    def _decode(self, codes: tuple[int, ...], instructions: tuple[int, ...]) -> int:
        frames = []
        for address, instruction in zip(codes, instructions, strict=True):
            code = self._code(address)
            if code is None:
                return UNKNOWN
            if code.internal:
                continue
            try:
                frames.append(code.frame(instruction))
            except Unreadable:
                return UNKNOWN
        stack = tuple(frames)
        if stack not in self._by_frames:
            self._by_frames[stack] = len(self.stacks)
            self.stacks.append(stack)
        return self._by_frames[stack]
