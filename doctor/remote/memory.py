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

from doctor.procfs.handle import ProcDir

Words = npt.NDArray[np.uint64]
"""Addresses, or machine words that were read."""
Rows = npt.NDArray[np.uint8]
"""Two-dimensional: a row of bytes for each address."""

_MAX_IOVECS = 1024
_USER_SPACE = 1 << 56
"""No address of a process lies above; aarch64 may tag the byte on top."""


class Memory(ABC):
    """Counts what it reads, for the cost a capture states."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self.calls = 0

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """The bytes at an address; shorter where the mapping ends, empty where there is none.

        Raises:
            PermissionError: this user may not read the process.
        """

    def gather(self, addresses: Words, sizes: Words, rows: Rows) -> Words:
        """Reads `sizes[n]` bytes at `addresses[n]` into `rows[n]`; returns how many bytes each row got.

        Rows keep what they held beyond that.

        Raises:
            PermissionError: this user may not read the process.
        """
        got = np.zeros(len(addresses), np.uint64)
        for n, (address, size) in enumerate(zip(addresses.tolist(), sizes.tolist(), strict=True)):
            content = self.read(address, size)
            rows[n, : len(content)] = np.frombuffer(content, np.uint8)
            got[n] = len(content)
        return got


class LiveMemory(Memory):
    """A running process, which goes on running: `process_vm_readv`, and where that is forbidden `/proc/PID/mem`."""

    def __init__(self, proc: ProcDir) -> None:
        super().__init__()
        self._proc = proc

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        if not 0 < address < _USER_SPACE or size <= 0:
            return b""
        row = np.empty((1, size), np.uint8)
        got = self.gather(np.array([address], np.uint64), np.array([size], np.uint64), row)
        return row[0, : int(got[0])].tobytes()

    def gather(self, addresses: Words, sizes: Words, rows: Rows) -> Words:
        """See `Memory.gather`; up to 1024 addresses a system call."""
        count = len(addresses)
        local, remote = np.empty((count, 2), np.uint64), np.empty((count, 2), np.uint64)
        local[:, 0] = rows.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(rows.strides[0])
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
        done = int(_process_vm_readv(self._proc.pid, local.ctypes.data, count, remote.ctypes.data, count, 0))
        if done < 0:
            if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
                return self._read_file(local, remote)
            return 0
        self.bytes_read += done
        return done

    def _read_file(self, local: Words, remote: Words) -> int:
        """The same through /proc/PID/mem, which a sandbox may allow where it forbids the system call."""
        if not self._proc.may_trace():
            raise PermissionError(errno.EPERM, f"this user may not read the memory of process {self._proc.pid}")
        done = 0
        for (target, size), (address, _) in zip(local.tolist(), remote.tolist(), strict=True):
            content = self._proc.read_memory(address, size)
            ctypes.memmove(target, content, len(content))
            done += len(content)
            if len(content) < size:
                break
        self.bytes_read += done
        return done


class SegmentedMemory(Memory):
    """Memory that was saved: pieces of bytes with the address of each, as a core file holds them."""

    def __init__(self, segments: Iterable[tuple[int, bytes | memoryview]]) -> None:
        super().__init__()
        self._segments = sorted(((address, memoryview(content)) for address, content in segments), key=lambda s: s[0])
        self._starts = [address for address, _ in self._segments]

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


def _load() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).process_vm_readv
    function.restype = ctypes.c_ssize_t
    pointer, count = ctypes.c_void_p, ctypes.c_ulong
    function.argtypes = [ctypes.c_int, pointer, count, pointer, count, count]
    return function


_process_vm_readv = _load()
