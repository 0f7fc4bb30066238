"""Bytes by address: of a live process, with and without the right to, and of memory that was saved."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circumstances import ROOT, UNPRIVILEGED, needs_setpriv
from doctor.procfs.handle import ProcDir
from doctor.remote.memory import LiveMemory, Memory, SegmentedMemory, Words
from services import Service, running

PAGE = mmap.PAGESIZE
CONTENT = bytes(range(251)) * (3 * PAGE // 251 + 1)

PAGES = """
import ctypes, json, os
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
start = libc.mmap(None, 4 * PAGE, 3, 0x22, -1, 0)
ctypes.memmove(start, bytes(range(251)) * (3 * PAGE // 251 + 1), 3 * PAGE)
libc.munmap(start + 3 * PAGE, PAGE)
"""
"""Three pages of content, and none behind them."""

PARKED = f"""
PAGE = {PAGE}
{PAGES}
os.write(int(os.environ["READY_FD"]), json.dumps({{"start": start}}).encode() + b"\\n")
os.read(int(os.environ["LIFE_FD"]), 1)
"""

READER = """
import json, sys
import numpy as np
from doctor.procfs.handle import ProcDir
from doctor.remote.memory import LiveMemory
memory = LiveMemory(ProcDir(int(sys.argv[1])))
start = int(sys.argv[2])
try:
    read = memory.read(start, 8).hex()
    rows = np.zeros((3, 8), np.uint8)
    got = memory.gather(np.array([start, 8, start + 8], np.uint64), np.full(3, 8, np.uint64), rows)
    print(json.dumps([read, rows.tobytes().hex(), got.tolist(), memory.bytes_read]))
except PermissionError as error:
    print(json.dumps(str(error)))
"""

FORBID = """
import ctypes, platform, struct
number = {"x86_64": 310, "aarch64": 270}[platform.machine()]
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | ERRNO), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0
assert libc.process_vm_readv(0, None, 0, None, 0, 0) == -1 and ctypes.get_errno() == ERRNO
"""
"""A seccomp filter, as a sandbox has it: process_vm_readv fails with ERRNO."""


@pytest.fixture
def target() -> Iterator[Service]:
    """A process with three pages of known content."""
    with running([sys.executable, "-c", PARKED], env={}) as service:
        yield service


@pytest.fixture
def memory(target: Service) -> Iterator[LiveMemory]:
    """Its memory."""
    proc = ProcDir(target.pid)
    yield LiveMemory(proc)
    proc.close()


def test_a_read_ends_where_the_mapping_ends(target: Service, memory: LiveMemory) -> None:
    """What is asked for beyond the last mapped byte is left out, and so is all of it where nothing is mapped."""
    start, end = target.facts["start"], target.facts["start"] + 3 * PAGE
    assert memory.read(start, 3 * PAGE) == CONTENT[: 3 * PAGE]
    assert memory.read(end - 10, 100) == CONTENT[3 * PAGE - 10 : 3 * PAGE]
    assert memory.read(end, 8) == memory.read(start, 0) == memory.read(0, 8) == memory.read(start, -1) == b""
    assert memory.read(1 << 63, 8) == memory.read(-8, 8) == memory.read(start, 1 << 60)[3 * PAGE :] == b""


def test_a_read_of_itself() -> None:
    """A process may read itself, and large pieces come whole."""
    content = os.urandom(3_000_001)
    buffer = ctypes.create_string_buffer(content, len(content))
    memory = LiveMemory(ProcDir(os.getpid()))
    assert memory.read(ctypes.addressof(buffer), len(content)) == content
    assert memory.bytes_read == len(content)


def test_five_thousand_addresses_at_once(target: Service, memory: LiveMemory) -> None:
    """Each row gets what is at its address, though every seventh cannot be read and others only in part."""
    start = target.facts["start"]
    offsets = np.arange(5_000) * 2 % (3 * PAGE)
    addresses = offsets.astype(np.uint64) + np.uint64(start)
    addresses[::7] = np.resize(
        np.array([0, 8, start + 3 * PAGE, 1 << 63, (1 << 64) - 8], np.uint64), len(addresses[::7])
    )
    sizes = np.full(5_000, 16, np.uint64)
    rows = np.full((5_000, 16), 0xEE, np.uint8)
    got = memory.gather(addresses, sizes, rows)
    for n, offset in enumerate(offsets.tolist()):
        expected = b"" if n % 7 == 0 else CONTENT[offset : min(offset + 16, 3 * PAGE)]
        assert (rows[n].tobytes(), got[n]) == (expected.ljust(16, b"\xee"), len(expected))
    assert memory.bytes_read == int(got.sum())


def test_a_call_for_each_thousand_addresses(target: Service, memory: LiveMemory) -> None:
    """Addresses that can all be read take one system call per 1024."""
    rows = np.empty((5_000, 8), np.uint8)
    got = memory.gather(np.full(5_000, target.facts["start"], np.uint64), np.full(5_000, 8, np.uint64), rows)
    assert (got == 8).all()
    assert memory.calls == 5


def test_pieces_of_different_sizes_go_where_they_should(target: Service, memory: LiveMemory) -> None:
    """With offsets, pieces are placed in a flat buffer, and what is between them stays."""
    addresses = np.array([0, 100, 200], np.uint64) + np.uint64(target.facts["start"])
    buffer = np.zeros(40, np.uint8)
    got = memory.gather(addresses, np.array([3, 0, 5], np.uint64), buffer, np.array([30, 0, 10], np.uint64))
    assert got.tolist() == [3, 0, 5]
    assert buffer.tobytes() == bytes(10) + CONTENT[200:205] + bytes(15) + CONTENT[:3] + bytes(7)


@pytest.mark.parametrize("size", [5, 1 << 40, (1 << 64) - 1])
def test_a_buffer_that_is_too_small_is_refused(size: int, memory: LiveMemory) -> None:
    """Nothing is ever written behind the end of the buffer, whatever size was read somewhere and is passed on."""
    addresses, sizes = np.full(2, 4096, np.uint64), np.array([1, size], np.uint64)
    with pytest.raises(ValueError, match="do not fit"):
        memory.gather(addresses, sizes, np.zeros((2, 4), np.uint8))
    with pytest.raises(ValueError, match="do not fit"):
        SegmentedMemory([]).gather(addresses, sizes, np.zeros((2, 4), np.uint8))


def test_a_process_that_ended_has_no_memory(target: Service, memory: LiveMemory) -> None:
    """Reading on after the end finds nothing, and is no error."""
    target.kill()
    assert memory.read(target.facts["start"], 8) == b""
    assert memory.gather(np.array([target.facts["start"]], np.uint64), np.array([8], np.uint64), _row()).tolist() == [0]


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_a_sandbox_that_forbids_the_system_call(error: str, target: Service) -> None:
    """Where process_vm_readv is forbidden the same is read through /proc/PID/mem."""
    forbid = FORBID.replace("ERRNO", f"__import__('errno').{error}")
    found = _read_by([sys.executable, "-c", forbid + READER], target)
    first, second = CONTENT[:8], CONTENT[8:16]
    assert found == [first.hex(), (first + bytes(8) + second).hex(), [8, 0, 8], 24]


@needs_setpriv
def test_without_the_right_it_is_an_error(target: Service) -> None:
    """A user who may not trace the process is told so, and does not take it for an empty one."""
    found = _read_by([*UNPRIVILEGED, sys.executable, "-c", READER], target)
    assert found == f"[Errno 1] this user may not read the memory of process {target.pid}"


Saved = list[tuple[int, bytes]]


@st.composite
def saved(draw: st.DrawFn) -> Saved:
    """Pieces of memory, in any order, some of which touch."""
    pieces, address = [], 1
    for gap, content in draw(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=20)), max_size=8)):
        pieces.append((address + gap, content))
        address += gap + len(content)
    return draw(st.permutations(pieces))


@given(pieces=saved(), wanted=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=9))
def test_saved_memory_is_read_like_live_memory(pieces: Saved, wanted: list[tuple[int, int]]) -> None:
    """A read gets the bytes from its address on up to the first that was not saved, across all pieces that touch."""
    by_address = {start + n: byte for start, content in pieces for n, byte in enumerate(content)}
    expected = [_run_of(by_address, address, size) for address, size in wanted]
    memory = SegmentedMemory(pieces)
    assert [memory.read(address, size) for address, size in wanted] == expected
    assert memory.bytes_read == sum(map(len, expected))
    assert _gathered(memory, wanted) == expected


def _run_of(by_address: dict[int, int], address: int, size: int) -> bytes:
    found: list[int] = []
    while len(found) < size and address + len(found) in by_address:
        found.append(by_address[address + len(found)])
    return bytes(found)


def _gathered(memory: Memory, wanted: list[tuple[int, int]]) -> list[bytes]:
    addresses, sizes = (_words(column) for column in (zip(*wanted, strict=True) if wanted else ((), ())))
    rows = np.zeros((len(wanted), 60), np.uint8)
    got = memory.gather(addresses, sizes, rows).tolist()
    return [row[:size].tobytes() for row, size in zip(rows, got, strict=True)]


def _words(values: tuple[int, ...]) -> Words:
    return np.array(values, np.uint64)


def _row() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.zeros((1, 8), np.uint8)


def _read_by(command: list[str], target: Service) -> object:
    command = [*command, str(target.pid), str(target.facts["start"])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
