"""What of one thread is copied for each sample, as far as its last sample can tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from doctor.remote.reader import Reader, Unreadable

_MARGIN = 256
"""Bytes read beyond the top of a thread's stack of frames: it may grow before the next sample."""
_KEPT_WALKS = 32
_MOST_BYTES = 1 << 24
"""Of one thread's stack of frames; what is beyond is read one by one."""
_CHUNK_SIZES = frozenset(1 << bits for bits in range(14, 25))
"""CPython makes no others; what says another size is left of a thread that has ended."""


class ThreadPlan:
    """The thread state first, then its stack of frames, then frames that lie elsewhere."""

    def __init__(self, reader: Reader, thread_state: int, frame_size: int) -> None:
        self._reader = reader
        self._frame_size = frame_size
        self._chunks: list[tuple[int, int]] = []
        self._room = range(0)
        self._elsewhere: dict[int, int] = {}
        self._walks = 0
        thread = reader.layout.thread
        fields = (thread.next, thread.frame, thread.datastack_chunk or thread.next, thread.datastack_top or thread.next)
        self._head = thread_state + min(fields), max(fields) + 8 - min(fields)
        self._named_in: int | None = None
        self._arrange()

    def _arrange(self) -> None:
        named = [] if self._named_in is None else [(self._named_in, 8)]
        first, sizes = zip(self._head, *named, *self._chunks, strict=True)
        self.addresses = np.array([*first, *self._elsewhere], np.uint64)
        """In the order in which they are to be copied."""
        self.sizes = np.array([*sizes, *[self._frame_size] * len(self._elsewhere)], np.uint64)
        """Bytes at each address."""

    def follow(self, chunk: int, top: int, named_in: int | None, elsewhere: Sequence[int]) -> bool:
        """Notes where the thread's frames were seen; whether that changes what is to be copied.

        Args:
            chunk: the newest piece of its stack of frames, 0 for none.
            top: the top of that stack.
            named_in: the word that names the innermost frame, where that is not in the thread state.
            elsewhere: frames that do not lie on the stack of frames.
        """
        moved = not (self._chunks and self._chunks[0][0] == chunk and top in self._room) and bool(chunk)
        if moved:
            self._place(chunk, top)
        if not self._visit(elsewhere) and not moved and named_in == self._named_in:
            return False
        self._named_in = named_in
        self._arrange()
        return True

    def _visit(self, frames: Sequence[int]) -> bool:
        """Keeps frames for a while after they were seen, since calls come back to the same ones."""
        self._walks += 1
        known = len(self._elsewhere)
        self._elsewhere.update(dict.fromkeys(frames, self._walks))
        old = [frame for frame, walk in self._elsewhere.items() if walk <= self._walks - _KEPT_WALKS]
        for frame in old:
            del self._elsewhere[frame]
        return bool(old) or len(self._elsewhere) != known

    def _place(self, chunk: int, top: int) -> None:
        """What cannot be read is left out: then its frames are read one by one."""
        layout = self._reader.layout.chunk
        self._chunks = []
        if layout is None:
            return
        try:
            end = chunk + self._size(chunk + layout.size)
            top = min(max(top, chunk + layout.data) + _MARGIN, end)
            self._chunks.append((chunk, top - chunk))
            self._room = range(chunk, top + 1)
            self._older(self._reader.pointer(chunk + layout.previous))
        except Unreadable:
            return

    def _older(self, chunk: int) -> None:
        layout, left = self._reader.layout.chunk, _MOST_BYTES
        while layout and chunk:
            size = self._size(chunk + layout.size)
            left -= size
            if left < 0:
                return
            self._chunks.append((chunk, size))
            chunk = self._reader.pointer(chunk + layout.previous)

    def _size(self, address: int) -> int:
        size = self._reader.pointer(address)
        if size not in _CHUNK_SIZES:
            raise Unreadable(f"no piece of a stack of frames has {size} bytes")
        return size
