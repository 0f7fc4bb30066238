"""Which interpreters doctor reads, and why it does not read the others."""

from __future__ import annotations

import os
from typing import cast

import pytest

from doctor.errors import UnknownLayout
from doctor.remote.attach import attach
from doctor.remote.layouts.tables import Machine, table
from doctor.remote.memory import Memory
from interpreters import Interpreter, free_threaded_interpreters, interpreters
from remote.parked import live, parked

SELF_DESCRIBING = [python for python in interpreters() if python.version >= (3, 13)]
HERE = cast(Machine, os.uname().machine)
VERSION_AT = 8


class Altered(Memory):
    """The memory of a process but for a few bytes, as a build would have them that is not installed here."""

    def __init__(self, memory: Memory, address: int, content: bytes) -> None:
        super().__init__()
        self._memory = memory
        self._address = address
        self._content = content

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        content = bytearray(self._memory.read(address, size))
        for place, byte in enumerate(self._content, self._address - address):
            if 0 <= place < len(content):
                content[place] = byte
        return bytes(content)


def refusal(python: Interpreter, offset: int, content: bytes) -> UnknownLayout:
    """Why a process is not read whose interpreter has something else at this offset."""
    with parked(python.command) as target, live(target.pid) as process:
        process.memory = Altered(process.memory, target.facts["runtime"] + offset, content)
        with pytest.raises(UnknownLayout) as refused:
            attach(process)
    return refused.value


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_every_interpreter_is_read_by_its_own_layout(python: Interpreter) -> None:
    """Version, layout and place of the interpreter are those of the process."""
    with parked(python.command) as target, live(target.pid) as process:
        reader, runtime = attach(process)
    assert reader.version == python.version
    assert runtime.address == target.facts["runtime"]
    assert reader.layout == table(python.version, HERE).layout


@pytest.mark.parametrize("python", SELF_DESCRIBING[:1], ids=str)
@pytest.mark.parametrize(
    ("number", "name"), [(0x03_10_00_F0, "CPython 3.16.0"), (0x03_0D_00_C1, "CPython 3.13.0rc1")], ids=["next", "rc"]
)
def test_an_unknown_version_is_refused_by_name(python: Interpreter, number: int, name: str) -> None:
    """A version that no table is for, and a pre-release, are no guesswork."""
    error = refusal(python, VERSION_AT, number.to_bytes(8, "little"))
    assert error.slug == "unknown-layout"
    assert name in error.message
    assert "3.8 to 3.15" in error.hint


@pytest.mark.parametrize("python", SELF_DESCRIBING, ids=str)
def test_a_process_that_says_it_is_free_threaded_is_refused_by_name(python: Interpreter) -> None:
    """What it says of itself decides, whatever its file is called."""
    error = refusal(python, table(python.version, HERE).debug_offsets["free_threaded"], b"\1")
    assert error.slug == "unknown-layout"
    assert "free-threaded {}.{}".format(*python.version) in error.message


@pytest.mark.parametrize("python", SELF_DESCRIBING[:1], ids=str)
def test_damaged_offsets_are_refused(python: Interpreter) -> None:
    """A process that says of itself what cannot be is not read."""
    place = table(python.version, HERE).debug_offsets["thread_state.next"]
    assert refusal(python, place, b"\xff" * 8).slug == "damaged-debug-offsets"


@pytest.mark.parametrize("python", free_threaded_interpreters(), ids=str)
def test_a_free_threaded_build_is_refused_by_name(python: Interpreter) -> None:
    """It keeps no lock, and doctor says so rather than to read it wrong."""
    expected = pytest.raises(UnknownLayout, match="free-threaded")
    with parked(python.command) as target, live(target.pid) as process, expected as refused:
        attach(process)
    assert refused.value.slug == "unknown-layout"
