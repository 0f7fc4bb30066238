"""Bytes of another process by address: of a live one, of a core file, or of a test.

What is not mapped is not an error: a read returns what there was, and a reader of live memory must expect that any of
it changed meanwhile. So nothing here raises for a bad address, and nothing here may be trusted before it was validated.
"""

from __future__ import annotations

import ctypes
import errno
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from doctor.procfs.handle import GONE, ProcDir

Words = npt.NDArray[np.uint64]
"""Addresses, or machine words that were read."""
Buffer = npt.NDArray[np.uint8]
"""Bytes one after the other, in any shape."""

_MAX_IOVECS = 1024
_CHUNK = 1 << 18
_USER_SPACE = 1 << 56
"""No address of a process lies above; aarch64 may tag the byte on top."""


class Memory(ABC):
    """Counts what it reads, for the cost a capture states. Not to be shared by threads."""

    changes = True
    """Whether it may be another at the next read."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self.calls = 0

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """The bytes at an address; shorter where the mapping ends, empty where there is none.

        Raises:
            PermissionError: this user may not read the process.
        """

    def gather(self, addresses: Words, sizes: Words, buffer: Buffer, offsets: Words | None = None) -> Words:
        """Reads `sizes[n]` bytes at `addresses[n]` into the buffer; returns how many bytes came for each.

        They go to `offsets[n]` of the buffer, without offsets into its row n; what is behind them stays as it was.

        Raises:
            PermissionError: this user may not read the process.
            ValueError: they do not fit into the buffer, or it does not lie in one piece.
        """
        flat, places = _placed(sizes, buffer, offsets)
        got = np.zeros(len(addresses), np.uint64)
        rows = zip(addresses.tolist(), sizes.tolist(), places.tolist(), strict=True)
        for n, (address, size, place) in enumerate(rows):
            content = self.read(address, size)
            flat[place : place + len(content)] = np.frombuffer(content, np.uint8)
            got[n] = len(content)
        return got


class LiveMemory(Memory):
    """A running process, which goes on running: `process_vm_readv`, and where that is forbidden `/proc/PID/mem`."""

    def __init__(self, proc: ProcDir) -> None:
        super().__init__()
        self._proc = proc
        self._chunk = memoryview(bytearray(_CHUNK))
        chunk_address = ctypes.addressof(ctypes.c_char.from_buffer(self._chunk))
        self._vectors = (ctypes.c_uint64 * 4)(chunk_address, 0, 0, 0)
        self._local = ctypes.addressof(self._vectors)
        self._remote = self._local + 2 * ctypes.sizeof(ctypes.c_uint64)

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        if size <= _CHUNK:
            return self._read_chunk(address, size)
        pieces, wanted = [], size
        while wanted > 0:
            piece = self._read_chunk(address, min(wanted, _CHUNK))
            pieces.append(piece)
            address += len(piece)
            wanted = wanted - len(piece) if len(piece) == min(wanted, _CHUNK) else 0
        return b"".join(pieces)

    def _read_chunk(self, address: int, size: int) -> bytes:
        if not 0 < address < _USER_SPACE or size <= 0:
            return b""
        vectors = self._vectors
        vectors[1] = vectors[3] = size
        vectors[2] = address
        self.calls += 1
        done: int = _process_vm_readv(self._proc.pid, self._local, 1, self._remote, 1, 0)
        if done >= 0:
            self.bytes_read += done
            return self._chunk[:done].tobytes()
        return self._read_file(address, size) if ctypes.get_errno() in _FORBIDDEN else b""

    def gather(self, addresses: Words, sizes: Words, buffer: Buffer, offsets: Words | None = None) -> Words:
        """See `Memory.gather`; up to 1024 addresses a system call."""
        count = len(addresses)
        flat, places = _placed(sizes, buffer, offsets)
        local, remote = np.empty((count, 2), np.uint64), np.empty((count, 2), np.uint64)
        local[:, 0] = places + np.uint64(flat.ctypes.data)
        remote[:, 0] = addresses
        local[:, 1] = remote[:, 1] = sizes
        got = np.zeros(count, np.uint64)
        ends = np.cumsum(sizes)
        begin = 0
        while begin < count:
            end = min(begin + _MAX_IOVECS, count)
            begin = self._call(local, remote, got, ends, begin, end)
        return got

    def _call(self, local: Words, remote: Words, got: Words, ends: Words, begin: int, end: int) -> int:
        """One system call; returns the row to go on with, behind the first that could not be read whole."""
        done = self._readv(local[begin:end], remote[begin:end])
        before = int(ends[begin] - local[begin, 1])
        whole = int(np.searchsorted(ends[begin:end], before + done, side="right"))
        got[begin : begin + whole] = local[begin : begin + whole, 1]
        if begin + whole < end:
            reached = int(ends[begin + whole - 1]) if whole else before
            got[begin + whole] = before + done - reached
            return begin + whole + 1
        return end

    def _readv(self, local: Words, remote: Words) -> int:
        """Bytes copied, from the first vector on, up to the first byte that is not mapped."""
        self.calls += 1
        count = len(local)
        done: int = _process_vm_readv(self._proc.pid, local.ctypes.data, count, remote.ctypes.data, count, 0)
        if done >= 0:
            self.bytes_read += done
            return done
        return self._read_files(local, remote) if ctypes.get_errno() in _FORBIDDEN else 0

    def _read_files(self, local: Words, remote: Words) -> int:
        done = 0
        for (target, size), (address, _) in zip(local.tolist(), remote.tolist(), strict=True):
            content = self._read_file(address, size)
            ctypes.memmove(target, content, len(content))
            done += len(content)
            if len(content) < size:
                break
        return done

    def _read_file(self, address: int, size: int) -> bytes:
        """The same through /proc/PID/mem, which a sandbox may allow where it forbids the system call."""
        if not self._proc.may_trace():
            raise PermissionError(errno.EPERM, f"this user may not read the memory of process {self._proc.pid}")
        try:
            content = self._proc.read_memory(address, size)
        except GONE:
            return b""
        self.bytes_read += len(content)
        return content


class SegmentedMemory(Memory):
    """Memory that was saved: pieces of bytes with the address of each, as a core file holds them."""

    changes = False

    def __init__(self, segments: Iterable[tuple[int, bytes | memoryview]]) -> None:
        super().__init__()
        self._segments = sorted(
            ((start, memoryview(content)) for start, content in segments if len(content)), key=_start
        )
        self._starts = [start for start, _ in self._segments]

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        self.calls += 1
        pieces = []
        while size > 0:
            index = bisect_right(self._starts, address) - 1
            if index < 0:
                break
            start, content = self._segments[index]
            piece = content[address - start : address - start + size]
            if not piece:
                break
            pieces.append(piece)
            address += len(piece)
            size -= len(piece)
        found = b"".join(pieces)
        self.bytes_read += len(found)
        return found


def _start(segment: tuple[int, memoryview]) -> int:
    return segment[0]


def _placed(sizes: Words, buffer: Buffer, offsets: Words | None) -> tuple[Buffer, Words]:
    """The buffer as one row, and where in it each piece goes."""
    count = len(sizes)
    if offsets is None:
        offsets = np.arange(count, dtype=np.uint64) * np.uint64(buffer.strides[0])
    room = np.uint64(buffer.nbytes)
    if not buffer.flags.c_contiguous or (count and (sizes.max() > room or (offsets + sizes).max() > room)):
        raise ValueError(f"{count} pieces do not fit into this buffer of {room} bytes")
    return buffer.reshape(-1), offsets


def _load() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).process_vm_readv
    function.restype = ctypes.c_ssize_t
    pointer, count = ctypes.c_void_p, ctypes.c_ulong
    function.argtypes = [ctypes.c_int, pointer, count, pointer, count, count]
    return function


_FORBIDDEN = (errno.EPERM, errno.ENOSYS)
_process_vm_readv = _load()
