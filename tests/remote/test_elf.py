"""What an ELF file says about itself, compared with what binutils say about it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.remote.elf import BadElf, Elf, find_symbol, read_elf
from doctor.remote.mappings import Mapping
from remote.parked import Installation, compiled, installations, needs_gcc

pytestmark = needs_gcc

SOURCE = """
int number = 1;                                           /* exported */
int renumber = 2;                                         /* whose name ends with that of another */
static int hidden = 3;                                    /* only in .symtab */
extern int elsewhere;                                     /* defined by another file */
__attribute__((section(".Marked"))) int marked[5] = {4};
int *use(void) { return hidden ? &elsewhere + hidden : &hidden; }
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A small one."""
    return compiled(SOURCE, tmp_path / "lib.so", "-shared", "-fPIC", "-O0", "-Wl,--build-id")


def address(path: Path, symbol: str) -> int | None:
    """Where the file wants the symbol."""
    return find_symbol(path, read_elf(path), symbol)


def according_to_nm(path: Path, symbol: str, *options: str) -> int:
    """The same according to binutils."""
    listed = subprocess.run(["nm", *options, str(path)], capture_output=True, text=True, check=True).stdout
    (value,) = (line.split()[0] for line in listed.splitlines() if line.split()[-1] == symbol)
    return int(value, 16)


@pytest.mark.parametrize("symbol", ["number", "renumber", "hidden", "marked", "use"])
def test_symbols_are_where_nm_sees_them(library: Path, symbol: str) -> None:
    """Exported symbols and local ones are found, and not those whose names merely end alike."""
    assert address(library, symbol) == according_to_nm(library, symbol)


def test_symbols_that_are_not_defined(library: Path) -> None:
    """What a file only refers to, or does not know, has no address in it."""
    assert [address(library, symbol) for symbol in ("elsewhere", "umber", "numbe")] == [None] * 3


@pytest.mark.parametrize("installation", installations(), ids=str)
@pytest.mark.parametrize("symbol", ["_PyRuntime", "PyType_Type", "PyGC_Collect"])
def test_symbols_of_an_interpreter(installation: Installation, symbol: str) -> None:
    """The interpreters that are installed here are read like the small library."""
    assert address(installation.library, symbol) == according_to_nm(installation.library, symbol, "-D")


def test_stripping_takes_the_local_symbols(library: Path) -> None:
    """A stripped library has what others may refer to; it is another file, though its build id is the same."""
    before = read_elf(library)
    stripped = library.with_name("stripped.so")
    subprocess.run(["strip", "-o", str(stripped), str(library)], check=True)
    after = read_elf(stripped)
    assert after.build_id == before.build_id
    assert find_symbol(stripped, after, "hidden") is None
    assert find_symbol(stripped, after, "number") == find_symbol(library, before, "number")
    assert after.sections[".Marked"] == before.sections[".Marked"]


def test_sections_and_build_id_are_what_readelf_shows(library: Path) -> None:
    """A section of any name is found with its address and size; the build id with the address it is loaded to."""
    shown = subprocess.run(["readelf", "-SWn", str(library)], capture_output=True, text=True, check=True).stdout
    elf = read_elf(library)
    section = re.search(r" \.Marked +PROGBITS +(\w+) \w+ (\w+) ", shown)
    note = re.search(r" \.note\.gnu\.build-id +NOTE +(\w+) ", shown)
    build_id = re.search(r"Build ID: (\w+)", shown)
    assert section is not None
    assert note is not None
    assert build_id is not None
    assert elf.sections[".Marked"] == (int(section[1], 16), int(section[2], 16)) == (address(library, "marked"), 20)
    assert elf.build_id == (bytes.fromhex(build_id[1]), int(note[1], 16) + 16)
    assert (elf.bits, elf.machine) == (64, os.uname().machine)


def test_a_build_is_read_once_wherever_it_lies(library: Path) -> None:
    """A copy of a file, as every container has one, is known by its build id."""
    copy = Path(shutil.copy(library, library.with_name("copy.so")))
    assert read_elf(copy) is read_elf(library)


def test_a_file_without_build_id_is_read_again_when_it_changed(tmp_path: Path) -> None:
    """Without a build id a file is known by what the file system says about it."""
    path = compiled(SOURCE, tmp_path / "lib.so", "-shared", "-fPIC", "-Wl,--build-id=none")
    before = read_elf(path)
    assert before.build_id is None
    assert read_elf(path) is before
    compiled("int number;", path, "-shared", "-fPIC", "-Wl,--build-id=none")
    assert ".Marked" in before.sections
    assert ".Marked" not in read_elf(path).sections


@pytest.mark.parametrize("options", [["-pie", "-fPIE"], ["-no-pie"], ["-pie", "-fPIE", "-Wl,-z,noseparate-code"]])
def test_the_bias_is_told_by_the_pieces_that_are_loaded(options: list[str], tmp_path: Path) -> None:
    """In a process's own account of its mappings the bias is the difference to where it says its symbol is."""
    source = """
        #include <stdio.h>
        int number = 1;
        int main(void) {
            char line[999];
            FILE *maps = fopen("/proc/self/maps", "r");
            printf("%p\\n", (void *)&number);
            while (fgets(line, sizeof line, maps)) fputs(line, stdout);
        }"""
    program = compiled(source, tmp_path / "program", *options)
    told = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split() for line in told[1:] if line.endswith(str(program))]
    mapped = [_mapping(int(row[0].partition("-")[0], 16), int(row[2], 16)) for row in rows]
    as_data = _mapping(0x10000, 0)
    elf = read_elf(program)
    bias = elf.bias([as_data, *mapped])
    assert bias is not None
    assert bias + (address(program, "number") or 0) == int(told[0], 16)
    assert elf.bias([_mapping(mapped[0].start, 0x123000)]) is None


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\2\1\1\0" + bytes(40)])
def test_what_is_no_elf_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """Whatever a process has mapped may be looked at."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadElf):
        read_elf(path)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    """What lies where a library should be is opened only if it is a file."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadElf):
        read_elf(tmp_path / "pipe")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_broken_file_is_refused_or_read(data: st.DataObject) -> None:
    """Bytes that changed and ends that are missing never lead to any other error, or to no end."""
    content = bytearray(_small_library())
    hits = st.tuples(st.integers(0, 1) | st.integers(0, len(content) - 1), st.integers(0, 255))
    headers = st.tuples(st.integers(16, 63) | st.integers(len(content) - 1800, len(content) - 1), st.integers(0, 255))
    for position, value in data.draw(st.lists(hits | headers, max_size=12)):
        content[position] = value
    with tempfile.NamedTemporaryFile() as file:
        file.write(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
        file.flush()
        elf = _read(Path(file.name))
        if elf:
            find_symbol(Path(file.name), elf, "number")


def _read(path: Path) -> Elf | None:
    try:
        return read_elf(path)
    except BadElf:
        return None


@cache
def _small_library() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return compiled(SOURCE, Path(folder, "lib.so"), "-shared", "-fPIC").read_bytes()


def _mapping(start: int, offset: int) -> Mapping:
    return Mapping(start, start + 4096, "r-xp", offset, "/file")
