"""The tables of layouts against CPython's headers, against running interpreters, and against what those say."""

from __future__ import annotations

import io
import json
import platform
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from elftools.elf.elffile import ELFFile

from doctor.errors import UnknownLayout
from doctor.procfs.handle import ProcDir
from doctor.remote.layouts import Layout, debug_offsets, tables
from doctor.remote.layouts.tables import Machine, Version
from doctor.remote.memory import LiveMemory
from interpreters import Interpreter, free_threaded_interpreters, interpreters
from scripts import generate_layouts
from scripts.generate_layouts import COMPILERS, Headers
from services import service

MACHINES: tuple[Machine, ...] = get_args(Machine)
HERE: Machine = "aarch64" if platform.machine() == "aarch64" else "x86_64"
MINORS = [(3, minor) for minor in range(8, 16)]

AT_WORK = """
import ctypes, json, sys, collections
at = json.loads(sys.argv[1])

def word(address, kind=ctypes.c_size_t):
    return kind.from_address(address).value

queue = collections.deque(range(1000, 1100))
queue.rotate(7)
first = word(id(queue) + at["deque"]["left_block"])
index = word(id(queue) + at["deque"]["left_index"])
assert word(first + at["deque"]["block_items"] + 8 * index) == id(queue[0])
second = word(first + at["deque"]["block_right"])
assert word(second + at["deque"]["block_items"]) == id(queue[at["deque"]["block_length"] - index])

assert word(id(sys) + at["module"]["dict"]) == id(vars(sys))

table = {"a": 1, "b": 2, "c": 3}
keys = word(id(table) + at["dict"]["keys"])
assert word(keys + at["dict_keys"]["nentries"]) == len(table)
log2 = at["dict_keys"]["log2_size"]
size = word(keys + at["dict_keys"]["size"]) if log2 is None else 1 << word(keys + log2, ctypes.c_ubyte)
assert size == 8
# A table that is split and one that is not are looked up by different functions.
if at["dict_keys"]["lookup"] is not None:
    class Split:
        def __init__(self):
            self.a = 1
    split = word(id(vars(Split())) + at["dict"]["keys"])
    assert word(split + at["dict_keys"]["lookup"]) != word(keys + at["dict_keys"]["lookup"])

for text, kind in (("a", 1), ("\\xe9", 1), ("\\u20ac", 2), ("\\U0001f40d", 4)):
    state = word(id(text) + at["unicode"]["state"], ctypes.c_uint32)
    assert state >> at["unicode"]["kind_shift"] & 7 == kind, text
    assert state >> at["unicode"]["compact_shift"] & 1
    assert state >> at["unicode"]["ascii_shift"] & 1 == (text == "a"), text
    start = at["unicode"]["ascii_size" if text == "a" else "compact_size"]
    assert ord(text) == word(id(text) + start, {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32}[kind])
print("done")
"""


def names(directory: Headers) -> str:
    """A test's id."""
    return ".".join(map(str, directory.version))


def runtime_of(python: Interpreter) -> bytes:
    """The first bytes of `_PyRuntime` of a process that runs."""
    with service("short_lived", python=python) as target, closing(ProcDir(target.pid)) as proc:
        return LiveMemory(proc).read(_runtime_address(target.pid), debug_offsets.ENOUGH)


def _runtime_address(pid: int) -> int:
    rows = [line.split(maxsplit=5) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    files = {row[5]: int(row[0].partition("-")[0], 16) for row in reversed(rows) if len(row) == 6 and row[5][0] == "/"}
    for path, lowest in files.items():
        content = Path(path).read_bytes()
        if content.startswith(b"\x7fELF"):
            elf = ELFFile(io.BytesIO(content))
            first = min(segment["p_vaddr"] for segment in elf.iter_segments("PT_LOAD")) & -4096
            if section := elf.get_section_by_name(".PyRuntime"):
                return int(lowest - first + section["sh_addr"])
    raise AssertionError(f"process {pid} has no .PyRuntime")


def with_debug_offsets() -> list[Interpreter]:
    """The interpreters that describe themselves."""
    return [python for python in interpreters() if python.version >= (3, 13)]


def first_release(minor: tuple[int, int], machine: Machine) -> Version:
    """One that a table is for."""
    path = Path(tables.__file__).with_name(f"{minor[0]}.{minor[1]}.json")
    releases = [entry["releases"] for entry in json.loads(path.read_bytes()) if machine in entry["machines"]]
    return tables.final_release(releases[0][0])


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("minor", MINORS, ids=str)
def test_every_minor_version_has_a_table(minor: tuple[int, int], machine: Machine) -> None:
    """From 3.8 to 3.15 there is a layout for either architecture, with the parts that this version has."""
    table = tables.table(first_release(minor, machine), machine)
    layout = table.layout
    assert table.checked
    assert (layout.gil is not None) == (layout.interpreter.gil is not None) == (minor >= (3, 12))
    assert (layout.chunk is not None) == (layout.dict_values is not None) == (minor >= (3, 11))
    assert (layout.cframe is not None) == (minor in ((3, 11), (3, 12)))
    assert (layout.frame.is_entry is not None) == (minor == (3, 11))
    assert bool(table.debug_offsets) == (minor >= (3, 13))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("directory", generate_layouts.installed(), ids=names)
def test_the_tables_are_what_the_headers_say(directory: Headers, machine: Machine) -> None:
    """What the headers of each interpreter here give when they are read anew is in the committed table."""
    if not shutil.which(COMPILERS[machine]):
        pytest.skip(f"{COMPILERS[machine]} is missing")
    found = generate_layouts.numbers(directory, machine)
    table = tables.table(directory.version, machine)
    assert table.debug_offsets == found.pop("debug_offsets", {})
    assert table.layout == msgspec.convert(found, Layout)


@pytest.mark.parametrize("minor", MINORS, ids=str)
def test_writing_a_table_again_changes_nothing(minor: tuple[int, int]) -> None:
    """The form of a file depends on nothing but its content, so a diff shows what CPython changed."""
    assert generate_layouts.difference(minor[1], generate_layouts.text(minor[1], generate_layouts.load(minor[1]))) == ""


def test_releases_and_architectures_that_differ_are_held_apart() -> None:
    """A minor version whose releases or architectures differ keeps each layout with those that have it."""
    old, new = {"thread": {"next": 8}}, {"thread": {"next": 16}}
    releases = {0: {"x86_64": old, "aarch64": old}, 1: {"x86_64": new, "aarch64": old}}
    entries = json.loads(generate_layouts.text(8, releases))
    assert [(entry["releases"], entry["machines"], entry["layout"]) for entry in entries] == [
        (["3.8.0"], ["x86_64"], old),
        (["3.8.0", "3.8.1"], ["aarch64"], old),
        (["3.8.1"], ["x86_64"], new),
    ]


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_structs_and_bits_are_where_the_tables_say(python: Interpreter) -> None:
    """Structs that no header shows, and bit fields, are found by these offsets in objects of each interpreter."""
    layout = json.dumps(msgspec.to_builtins(tables.layout(python.version, HERE)))
    done = subprocess.run([*python.command, "-c", AT_WORK, layout], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_release_between_known_ones_has_their_layout() -> None:
    """A final release whose headers nobody read is taken for its neighbours, and does not pass for checked."""
    table = tables.table((3, 13, 250), "x86_64")
    assert not table.checked
    assert table.layout == tables.layout(first_release((3, 13), "x86_64"), "x86_64")


@pytest.mark.parametrize("version", [(3, 7, 16), (3, 16, 0), (2, 7, 18)])
def test_unknown_versions_are_refused(version: Version) -> None:
    """A version without a table is refused by name, with the versions there are."""
    with pytest.raises(UnknownLayout, match=r"\.".join(map(str, version))) as refusal:
        tables.layout(version, "x86_64")
    assert refusal.value.slug == "unknown-layout"
    assert "3.8 to 3.15" in refusal.value.hint


@pytest.mark.parametrize("version", ["3.13.0rc1", "3.15.0a3", "3.12.0+", "3.12"])
def test_only_final_releases_have_a_layout(version: str) -> None:
    """A pre-release or a build from a checkout may keep its data anywhere, so it is refused by its name."""
    with pytest.raises(UnknownLayout, match=version.replace("+", r"\+")):
        tables.final_release(version)


@pytest.mark.parametrize("python", with_debug_offsets(), ids=str)
def test_a_live_process_agrees_with_its_table(python: Interpreter) -> None:
    """What a running interpreter says of its own layout is what the headers of its release say."""
    version, table = debug_offsets.read(runtime_of(python), HERE)
    assert version == python.version
    assert table.layout == tables.layout(version, HERE)


@pytest.mark.parametrize("python", with_debug_offsets()[:1], ids=str)
def test_an_unknown_release_is_believed_before_its_table(python: Interpreter) -> None:
    """Where no headers were read, what the process says holds; where they were, a contradiction is an error."""
    moved = changed(runtime_of(python), "thread_state.next", 64)
    version, table = debug_offsets.read(of_release(moved, 250), HERE)
    assert version == (*python.version[:2], 250)
    assert (table.checked, table.layout.thread.next) == (False, 64)
    assert table.layout.frame == tables.layout(version, HERE).frame
    with pytest.raises(UnknownLayout, match=r"thread\.next would be 64"):
        debug_offsets.read(moved, HERE)


@pytest.mark.parametrize(
    ("word", "value"), [("thread_state.next", 1 << 20), ("code_object.name", 13), ("interpreter_frame.size", 0)]
)
def test_impossible_offsets_are_refused(word: str, value: int) -> None:
    """An offset behind the end of its struct, one that is not aligned, and a struct of no size are all refused."""
    start = changed(runtime_of(with_debug_offsets()[0]), word, value)
    with pytest.raises(UnknownLayout) as refusal:
        debug_offsets.read(of_release(start, 250), HERE)
    assert refusal.value.slug == "damaged-debug-offsets"
    assert word in refusal.value.message


def test_other_builds_are_refused_by_name() -> None:
    """Free-threaded builds and pre-releases say what they are; bytes that are no debug offsets are no interpreter."""
    start = runtime_of(with_debug_offsets()[0])
    with pytest.raises(UnknownLayout, match=r"free-threaded 3\.13"):
        debug_offsets.read(changed(start, "free_threaded", 1), HERE)
    with pytest.raises(UnknownLayout, match=r"pre-release of CPython 3\.13"):
        debug_offsets.read(start[:8] + bytes([0xC1]) + start[9:], HERE)
    with pytest.raises(UnknownLayout, match="does not begin with debug offsets"):
        debug_offsets.read(bytes(len(start)), HERE)
    with pytest.raises(UnknownLayout, match="too few"):
        debug_offsets.read(start[:100], HERE)


@pytest.mark.parametrize("python", free_threaded_interpreters(), ids=str)
def test_a_live_free_threaded_build_is_refused(python: Interpreter) -> None:
    """A build without a GIL is told by what it says of itself."""
    start = runtime_of(python)
    with pytest.raises(UnknownLayout, match="free-threaded"):
        debug_offsets.read(start, HERE)


@pytest.mark.parametrize("minor", MINORS[5:], ids=str)
def test_enough_is_read_of_every_version(minor: tuple[int, int]) -> None:
    """The bytes that are read of an interpreter before its version is known hold all that it says of itself."""
    assert tables.table(first_release(minor, HERE), HERE).debug_offsets["size"] <= debug_offsets.ENOUGH


def changed(start: bytes, word: str, value: int) -> bytes:
    """The same with another value of a word."""
    place = tables.table(_release(start), HERE).debug_offsets[word]
    return start[:place] + value.to_bytes(8, "little") + start[place + 8 :]


def of_release(start: bytes, patch: int) -> bytes:
    """The same from another patch release."""
    return start[:9] + bytes([patch]) + start[10:]


def _release(start: bytes) -> Version:
    return start[11], start[10], start[9]
