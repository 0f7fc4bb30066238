"""What of one thread is copied for each sample, as far as its last sample can tell."""

from __future__ import annotations

import numpy as np

from doctor.remote.memory import Words
from doctor.remote.reader import Reader, Unreadable

_MARGIN = 1024
"""Bytes read beyond the top of a thread's stack of frames: it may grow before the next sample."""
_MAX_CHUNKS = 1 << 12
_MAX_CHUNK = 1 << 24


class ThreadPlan:
    """The thread state first, then its stack of frames, then frames that lie elsewhere."""

    def __init__(self, reader: Reader, thread_state: int, frame_size: int) -> None:
        self._reader = reader
        self._frame_size = frame_size
        self._chunks: list[tuple[int, int]] = []
        self._room = range(0)
        self._elsewhere = np.empty(0, np.uint64)
        thread = reader.layout.thread
        fields = (thread.next, thread.frame, thread.datastack_chunk or thread.next, thread.datastack_top or thread.next)
        self._head = thread_state + min(fields), max(fields) + 8 - min(fields)
        self._named_in: int | None = None
        self._arrange()

    def _arrange(self) -> None:
        named = [] if self._named_in is None else [(self._named_in, 8)]
        first, sizes = zip(self._head, *named, *self._chunks, strict=True)
        self.addresses = np.concatenate([np.array(first, np.uint64), self._elsewhere])
        """In the order in which they are to be copied."""
        elsewhere = np.full(len(self._elsewhere), self._frame_size, np.uint64)
        self.sizes = np.concatenate([np.array(sizes, np.uint64), elsewhere])
        """Bytes at each address."""

    def follow(self, chunk: int, top: int, named_in: int | None, elsewhere: Words) -> bool:
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
        if not moved and named_in == self._named_in and np.array_equal(elsewhere, self._elsewhere):
            return False
        self._named_in, self._elsewhere = named_in, elsewhere
        self._arrange()
        return True

    def _place(self, chunk: int, top: int) -> None:
        """What cannot be read is left out: then its frames are read one by one."""
        layout = self._reader.layout.chunk
        self._chunks = []
        if layout is None:
            return
        try:
            end = chunk + min(self._reader.pointer(chunk + layout.size), _MAX_CHUNK)
            top = min(max(top, chunk + layout.data) + _MARGIN, end)
            self._chunks.append((chunk, top - chunk))
            self._room = range(chunk, top + 1)
            self._older(self._reader.pointer(chunk + layout.previous))
        except Unreadable:
            return

    def _older(self, chunk: int) -> None:
        layout = self._reader.layout.chunk
        while layout and chunk and len(self._chunks) < _MAX_CHUNKS:
            size = self._reader.pointer(chunk + layout.size)
            self._chunks.append((chunk, min(size, _MAX_CHUNK)))
            chunk = self._reader.pointer(chunk + layout.previous)
