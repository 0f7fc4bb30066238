"""Writes doctor/remote/layouts/*.json out of CPython's headers; a test fails where they disagree with an interpreter.

A small C file is made for each directory of headers, compiled for each architecture, and what it says is read out of
the object file. Nothing is run, so any machine with both compilers makes the tables of all architectures. Releases
whose headers are not given keep what the tables say of them; where layout_fields.txt has other fields by now they are
left out, so after a change there give all headers that can be had.

    scripts/generate_layouts.py [--check] [--root CHROOT] [INCLUDE_DIR ...]

Without `--root` and directories it reads the headers of all interpreters of pyenv, and of those that
`scripts/make_interpreters.sh` made.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from elftools.elf.elffile import ELFFile

HERE = Path(__file__).parent
TABLES = HERE.parent / "doctor" / "remote" / "layouts"
COMPILERS = {"x86_64": "gcc", "aarch64": "aarch64-linux-gnu-gcc"}
PACKAGES = "gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
MINORS = range(8, 16)

Version = tuple[int, int, int]
Numbers = dict[str, dict[str, int]]
"""A layout as it is stored: struct, field, value."""
Releases = dict[int, dict[str, Numbers]]
"""Patch release, architecture, layout."""

PREAMBLE = """
#define Py_BUILD_CORE 1
#include <Python.h>
#include <frameobject.h>
#include <structmember.h>
#include <internal/pycore_pystate.h>
#include <internal/pycore_gil.h>
#if PY_VERSION_HEX >= 0x03090000
#include <internal/pycore_interp.h>
#include <internal/pycore_runtime.h>
#endif
#if PY_VERSION_HEX >= 0x030b0000
#include <internal/pycore_dict.h>
#include <internal/pycore_frame.h>
#include <internal/pycore_moduleobject.h>
#else
/* Objects/dict-common.h */
struct _dictkeysobject {
    Py_ssize_t dk_refcnt, dk_size;
    void *dk_lookup;
    Py_ssize_t dk_usable, dk_nentries;
    char dk_indices[];
};
/* Objects/moduleobject.c */
typedef struct { PyObject_HEAD PyObject *md_dict; } PyModuleObject;
#endif
#if PY_VERSION_HEX >= 0x030e0000
#include <internal/pycore_interpframe_structs.h>
#include <internal/pycore_debug_offsets.h>
#endif
/* Modules/_collectionsmodule.c */
typedef struct BLOCK { struct BLOCK *leftlink; PyObject *data[64]; struct BLOCK *rightlink; } block;
typedef struct { PyObject_VAR_HEAD block *leftblock, *rightblock; Py_ssize_t leftindex, rightindex; } dequeobject;
"""


class Field(NamedTuple):
    """A line of layout_fields.txt that holds for one minor version."""

    struct: str
    name: str
    type: str
    expression: str


class Headers(NamedTuple):
    """A directory of headers and the release they belong to."""

    path: Path
    version: Version


def fields(minor: int) -> list[Field]:
    """What there is to know of a minor version."""
    found, struct, of_type, holds = [], "", "", True
    for line in (HERE / "layout_fields.txt").read_text().splitlines():
        if section := re.fullmatch(r"\[(\w+) ?([\d.-]*)\] +(.+)", line):
            struct, holds, of_type = section[1], _holds(section[2], minor), section[3]
            continue
        field = re.fullmatch(r"([a-z][\w.]*)(?: +(-?3\.[\d.-]+))?(?: +(\S.*))?", line)
        if field and holds and _holds(field[2] or "", minor):
            found.append(Field(struct, field[1], of_type, field[3] or field[1]))
    return found


def _holds(versions: str, minor: int) -> bool:
    first, dash, last = versions.replace("3.", "").partition("-")
    return int(first or 0) <= minor <= int(last or (99 if dash or not first else first))


def headers(directory: Path) -> Headers | None:
    """The headers in a directory; None for those of versions without a table, pre-releases and other builds."""
    try:
        text = (directory / "patchlevel.h").read_text()
    except FileNotFoundError:
        return None
    major, minor, micro = (int(n) for n in re.findall(r"^#define PY_M[A-Z]+_VERSION\s+(\d+)", text, re.MULTILINE))
    final = "PY_RELEASE_LEVEL_FINAL" in re.findall(r"^#define PY_RELEASE_LEVEL\s+(\w+)", text, re.MULTILINE)
    return Headers(directory, (major, minor, micro)) if major == 3 and minor in MINORS and final else None


def installed() -> list[Headers]:
    """The headers of the interpreters that the tests run on; see tests/interpreters.py."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    made = Path(os.environ.get("DOCTOR_INTERPRETERS", HERE.parent / ".interpreters"))
    return headers_in([*pyenv.glob("versions/*/include/python3.*"), *made.glob("*/usr/include/python3.*")])


def headers_in(directories: Iterable[Path]) -> list[Headers]:
    """Those of these directories that hold headers there can be a table for; not of free-threaded or debug builds."""
    plain = (path for path in directories if re.fullmatch(r"python3\.\d+", path.name))
    return [found for path in plain if (found := headers(path))]


def numbers(directory: Headers, machine: str) -> Numbers:
    """The layout of one release on one architecture.

    Raises:
        subprocess.CalledProcessError: the compiler refuses the probe; it has told why.
        FileNotFoundError: there is no compiler for this architecture.
    """
    rows = fields(directory.version[1])
    with tempfile.TemporaryDirectory() as scratch:
        values = _compiled(rows, directory.path, machine, Path(scratch))
    table: Numbers = {}
    for row, value in zip(rows, values, strict=True):
        table.setdefault(row.struct, {})[row.name] = value
    return table


def _compiled(rows: list[Field], include: Path, machine: str, scratch: Path) -> list[int]:
    probe, output = scratch / "probe.c", scratch / "probe.o"
    probe.write_text(_probe(rows))
    # Debian's pyconfig.h includes one of a directory for each architecture. All that matters here is alike for both.
    for config in include.parent.glob(f"*-linux-gnu/{include.name}/pyconfig.h"):
        for triplet in ("x86_64-linux-gnu", "aarch64-linux-gnu"):
            copy = scratch / triplet / include.name / "pyconfig.h"
            copy.parent.mkdir(parents=True)
            copy.symlink_to(config.resolve())
    directories = (scratch, include, include / "internal")
    options = ["-w", "-c", *(f"-I{path}" for path in directories), "-o", str(output), str(probe)]
    subprocess.run([COMPILERS[machine], *options], check=True)
    return list(_values(rows, output))


def _probe(rows: list[Field]) -> str:
    """The C file: one array for all that is an expression, one object for each bit field."""
    expressions = ",\n".join("0" if _bits(row) else _expression(row) for row in rows)
    objects = (
        f'__attribute__((section("doctor.{n}"), used)) {row.type} bits_{n} = {{.{bits[1]}.{bits[2]} = -1}};\n'
        f'__attribute__((section("doctor.at.{n}"), used)) long at_{n} = offsetof({row.type}, {bits[1]});\n'
        for n, row in enumerate(rows)
        if (bits := _bits(row))
    )
    array = f'__attribute__((section("doctor.values"), used)) long values[] = {{\n{expressions}}};\n'
    return PREAMBLE + array + "".join(objects)


def _bits(row: Field) -> re.Match[str] | None:
    return re.fullmatch(r"bits\((\w+), (\w+)\)", row.expression)


def _expression(row: Field) -> str:
    return row.expression if "(" in row.expression else f"offsetof({row.type}, {row.expression})"


def _values(rows: list[Field], output: Path) -> Iterator[int]:
    with output.open("rb") as file:
        sections = {section.name: section.data() for section in ELFFile(file).iter_sections()}
    array = sections["doctor.values"]
    for n, row in enumerate(rows):
        if _bits(row):
            bits = int.from_bytes(sections[f"doctor.{n}"], "little")
            lowest = (bits & -bits).bit_length() - 1
            yield lowest - 8 * int.from_bytes(sections[f"doctor.at.{n}"], "little")
        else:
            yield int.from_bytes(array[8 * n : 8 * n + 8], "little")


def load(minor: int) -> Releases:
    """What the table of a minor version says now."""
    path = TABLES / f"3.{minor}.json"
    releases: Releases = {}
    for entry in json.loads(path.read_text()) if path.exists() else []:
        table = entry["layout"] | ({"debug_offsets": entry["debug_offsets"]} if "debug_offsets" in entry else {})
        for release in entry["releases"]:
            patch = int(release.rpartition(".")[2])
            releases.setdefault(patch, {}).update(dict.fromkeys(entry["machines"], table))
    return releases


def text(minor: int, releases: Releases) -> str:
    """A table as it is stored: an entry for each layout, with the releases and the architectures that have it."""
    owners: dict[str, dict[str, list[str]]] = {}
    for patch, by_machine in sorted(releases.items()):
        for machine, table in by_machine.items():
            owners.setdefault(_body(table), {}).setdefault(machine, []).append(f"3.{minor}.{patch}")
    entries = []
    for body, machines in owners.items():
        for names in _together(machines):
            head = f'  "releases": {json.dumps(machines[names[0]])},\n  "machines": {json.dumps(names)},\n'
            entries.append("{\n" + head + body + "\n}")
    return "[" + ", ".join(entries) + "]\n"


def _together(machines: dict[str, list[str]]) -> list[list[str]]:
    """The architectures, those with the same releases in one list."""
    lists: dict[str, list[str]] = {}
    for machine in COMPILERS:
        if machine in machines:
            lists.setdefault(str(machines[machine]), []).append(machine)
    return list(lists.values())


def _body(table: Numbers) -> str:
    """One struct a line."""
    structs = (f'    "{name}": {json.dumps(table[name])}' for name in table if name != "debug_offsets")
    body = '  "layout": {\n' + ",\n".join(structs) + "\n  }"
    if "debug_offsets" in table:
        words = (f'    "{name}": {value}' for name, value in table["debug_offsets"].items())
        body += ',\n  "debug_offsets": {\n' + ",\n".join(words) + "\n  }"
    return body


def updated(directories: Iterable[Headers], machines: Iterable[str]) -> dict[int, str]:
    """The tables of the minor versions of these headers, as they should be.

    Raises:
        subprocess.CalledProcessError, FileNotFoundError: see `numbers`.
    """
    tables: dict[int, Releases] = {}
    for directory in directories:
        _, minor, patch = directory.version
        releases = tables.setdefault(minor, _current(minor))
        for machine in machines:
            releases.setdefault(patch, {})[machine] = numbers(directory, machine)
    return {minor: text(minor, releases) for minor, releases in tables.items()}


def _current(minor: int) -> Releases:
    """What the table says of releases, as far as it says all that is asked for now and nothing else."""
    asked = {(row.struct, row.name) for row in fields(minor)}
    releases: Releases = {}
    for patch, by_machine in load(minor).items():
        for machine, table in by_machine.items():
            if asked == {(struct, name) for struct, values in table.items() for name in values}:
                releases.setdefault(patch, {})[machine] = table
    return releases


def difference(minor: int, wanted: str) -> str:
    """How a table is stale, as a diff; empty if it is not."""
    path = TABLES / f"3.{minor}.json"
    present = path.read_text() if path.exists() else ""
    lines = (present.splitlines(keepends=True), wanted.splitlines(keepends=True))
    return "".join(difflib.unified_diff(*lines, f"{path.name} (committed)", f"{path.name} (headers)", n=1))


def main() -> int:
    """The command; 1 if `--check` found a difference or there is nothing to read."""
    parser = argparse.ArgumentParser(description="Writes the tables of layouts out of CPython's headers.")
    parser.add_argument("--check", action="store_true", help="write nothing; show what would change")
    parser.add_argument("--root", type=Path, help="a file system with headers in usr/include/python3.*")
    parser.add_argument("include", nargs="*", type=Path, help="a directory of headers, such as /usr/include/python3.11")
    options = parser.parse_args()
    directories = [*(options.root / "usr" / "include").glob("python3.*")] if options.root else []
    chosen = headers_in([*directories, *options.include]) if options.root or options.include else installed()
    try:
        tables = updated(chosen, COMPILERS)
    except FileNotFoundError as error:
        print(f"{error.filename} is missing: apt-get install {PACKAGES}", file=sys.stderr)
        return 1
    return _check(tables) if options.check else _write(tables)


def _check(tables: dict[int, str]) -> int:
    differences = [difference(minor, wanted) for minor, wanted in tables.items()]
    print("".join(differences), end="")
    return int(any(differences) or not tables)


def _write(tables: dict[int, str]) -> int:
    for minor, wanted in sorted(tables.items()):
        path = TABLES / f"3.{minor}.json"
        path.write_text(wanted)
        print(path.relative_to(TABLES.parents[2]))
    return int(not tables)


if __name__ == "__main__":
    sys.exit(main())
