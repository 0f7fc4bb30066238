"""Finds the interpreter in a process: where its state begins, and which version of CPython it is.

It may be in the executable, whatever that is called, or in a library; the file may be stripped, deleted, or in another
mount namespace.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from doctor.errors import CannotRead
from doctor.remote.mappings import Mapping, by_file
from doctor.remote.process import Binary, Process
from doctor.remote.version import Version, is_python_file, version_in

MACHINES = ("x86_64", "aarch64")
"""The architectures doctor reads."""
OLDEST = (3, 8)
"""The first minor version doctor reads."""

_RUNTIME, _TYPE = "_PyRuntime", "PyType_Type"
_RUNTIME_SECTION = ".PyRuntime"
_COOKIE = b"xdebugpy"
"""From 3.13 on the state begins with it, and with the version."""


@dataclass(frozen=True)
class Runtime:
    """The interpreter of a process."""

    address: int
    """Of `_PyRuntime`."""
    version: Version
    machine: str
    """Such as "x86_64" and "aarch64"."""
    binaries: tuple[Binary, ...]
    """The executable and, if that is another file, the one that the interpreter is in."""

    def address_of(self, symbol: str) -> int | None:
        """Where a symbol of the interpreter is; the executable may have made itself a copy, which is then in use."""
        addresses = (binary.address(symbol) for binary in self.binaries)
        return next((address for address in addresses if address is not None), None)


def find_runtime(process: Process) -> Runtime:
    """The interpreter in a process.

    Raises:
        CannotRead: there is none that doctor can read.
        FileNotFoundError, ProcessLookupError: the process has ended.
        PermissionError: this user may not read the process.
    """
    binaries: list[Binary] = []
    missing: list[str] = []
    address = None
    for mapped in _likely_first(by_file(process.mappings())):
        binary = process.binary(mapped)
        if binary is None:
            missing.append(mapped[0].path)
            continue
        _require_known_machine(process, binary)
        address = address or _runtime_address(binary)
        text = version_in(binary.file) if address else None
        if address and text:
            version = _version(process, address) or Version.of_text(text)
            _require_known_version(process, version)
            return Runtime(address, version, binary.elf.machine, (*binaries[:1], binary))
        binaries.append(binary)
    raise _no_runtime(process, binaries, missing)


def _likely_first(files: list[list[Mapping]]) -> list[list[Mapping]]:
    """The executable, which may have taken over a library's variables; then what is called Python; then all else."""
    return files[:1] + sorted(files[1:], key=lambda mapped: not is_python_file(mapped[0].path))


def _require_known_machine(process: Process, binary: Binary) -> None:
    if binary.elf.bits != 64 or binary.elf.machine not in MACHINES:
        raise CannotRead(
            "unknown-machine",
            f"{process.name} runs {binary.elf.bits}-bit code for {binary.elf.machine}",
            "doctor reads 64-bit processes on x86_64 and aarch64",
        )


def _runtime_address(binary: Binary) -> int | None:
    """By the symbol; stripping takes that from some executables, and leaves the section."""
    address = binary.address(_RUNTIME)
    if address is not None:
        return address
    section = binary.section(_RUNTIME_SECTION)
    return section.address if section else None


def _version(process: Process, address: int) -> Version | None:
    """As the interpreter itself has it, from 3.13 on; None where it has none."""
    head = process.memory.read(address, 16)
    if len(head) < 16:
        raise process.lacks_memory()
    if head.startswith(_COOKIE):
        with suppress(ValueError):
            return Version.of_hex(int.from_bytes(head[8:], "little"))
    return None


def _require_known_version(process: Process, version: Version) -> None:
    if version < OLDEST:
        raise _too_old(process, str(version))


def _no_runtime(process: Process, binaries: list[Binary], missing: list[str]) -> CannotRead:
    paths = [*(binary.path for binary in binaries), *missing]
    if any("pypy" in Path(path).name for path in paths):
        return CannotRead("not-cpython", f"{process.name} runs PyPy", "doctor reads CPython only")
    lost = [path for path in missing if is_python_file(path)] or ([] if binaries else missing)
    if lost:
        return process.lacks_file(lost[0])
    if any(binary.address(_TYPE) for binary in binaries):
        return _too_old(process, "older than 3.7")
    stripped = next((binary.path for binary in binaries[:1] if version_in(binary.file)), None)
    if stripped:
        hint = "run a Python whose symbols were not stripped, or one of version 3.10 or later"
        return CannotRead("no-symbols", f"the interpreter in {stripped} has no symbols to find its state by", hint)
    return CannotRead("not-python", f"{process.name} is not Python", "doctor ps lists Python processes")


def _too_old(process: Process, version: str) -> CannotRead:
    oldest = ".".join(map(str, OLDEST))
    return CannotRead("too-old", f"{process.name} runs Python {version}", f"doctor reads CPython {oldest} and later")
