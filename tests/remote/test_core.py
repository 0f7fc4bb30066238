"""A core file is read like the process that it is of: plain, packed, cut off, and without the files it refers to."""

from __future__ import annotations

import gzip
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from doctor.errors import CannotRead
from doctor.remote.core import CoreProcess
from doctor.remote.runtime import Runtime, find_runtime
from doctor.remote.version import Version
from interpreters import Interpreter, local_interpreters
from remote.parked import Copy, installations, live, parked
from services import Service, running

needs_gcore = pytest.mark.skipif(shutil.which("gcore") is None, reason="takes gcore, which comes with gdb")

_PATTERN = Path("/proc/sys/kernel/core_pattern").read_text()
needs_kernel_cores = pytest.mark.skipif(
    _PATTERN.startswith(("|", "/")), reason="the kernel hands core files to somebody else here"
)

CRASHING = """\
import ctypes, json, os, threading
def crash():
    os.read(int(os.environ["LIFE_FD"]), 1)
    ctypes.string_at(8)
thread = threading.Thread(target=crash)
thread.start()
runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
facts = {"tids": [thread.native_id, threading.get_native_id()], "runtime": runtime}
os.write(int(os.environ["READY_FD"]), json.dumps(facts).encode() + b"\\n")
thread.join()
"""


def gcore(pid: int, folder: Path) -> Path:
    """A core file of a process that goes on."""
    subprocess.run(["gcore", "-o", str(folder / "core"), str(pid)], check=True, capture_output=True)
    return folder / f"core.{pid}"


def crashed(python: Interpreter, folder: Path) -> tuple[Service, Path]:
    """A process whose second thread made it crash, and what the kernel kept of it."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    try:
        command = ["sh", "-c", f'cd {folder} && exec {python.path} -c "$PROGRAM"']
        with running(command, env={"PROGRAM": CRASHING}) as target:
            target.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)
    (core,) = folder.glob("*core*")
    return target, core


def refusal(path: Path) -> CannotRead:
    """Why there is nothing to be found in a file."""
    with pytest.raises(CannotRead) as refused:
        find_runtime(CoreProcess(path))
    return refused.value


@needs_gcore
@pytest.mark.parametrize("python", local_interpreters(), ids=str)
def test_a_core_file_has_what_the_process_has(python: Interpreter, tmp_path: Path) -> None:
    """Interpreter, threads, and memory: what the process wrote, and what it has from its files."""
    with parked(python.command) as target, live(target.pid) as process:
        core = CoreProcess(gcore(target.pid, tmp_path))
        runtime = find_runtime(core)
        assert (runtime.address, runtime.version) == (target.facts["runtime"], Version(*target.facts["version"]))
        assert runtime.address_of("PyType_Type") == target.facts["type"]
        assert (core.pid, core.signal, core.truncated) == (target.pid, 0, False)
        assert sorted(core.tids()) == sorted(target.facts["tids"])
        assert core.command == python.path
        binary = runtime.binaries[-1].path
        kept = [one for one in process.mappings() if one.path in (binary, "[heap]")]
        assert len(kept) > 4
        for mapping in kept:
            size = mapping.end - mapping.start
            assert core.memory.read(mapping.start, size) == process.memory.read(mapping.start, size), mapping
        files = [(one.start, one.end, one.offset) for one in process.mappings() if one.path == binary]
        assert [(one.start, one.end, one.offset) for one in core.mappings() if one.path == binary] == files


@needs_gcore
def test_a_packed_core_file_is_read_like_a_plain_one(tmp_path: Path) -> None:
    """It is known by its content, whatever its name."""
    with parked(local_interpreters()[0].command) as target:
        plain = gcore(target.pid, tmp_path)
    packed = tmp_path / "packed"
    with plain.open("rb") as content, gzip.open(packed, "wb", compresslevel=1) as out:
        shutil.copyfileobj(content, out)
    one, other = CoreProcess(plain), CoreProcess(packed)
    assert _address_and_version(find_runtime(one)) == _address_and_version(find_runtime(other))
    assert one.mappings() == other.mappings()
    for mapping in one.mappings():
        assert one.memory.read(mapping.start, 1 << 16) == other.memory.read(mapping.start, 1 << 16)
    assert not other.truncated
    with packed.open("r+b") as file:
        file.truncate(packed.stat().st_size - 100)
    assert refusal(packed).slug == "truncated-core"


@needs_kernel_cores
@pytest.mark.parametrize("python", local_interpreters(), ids=str)
def test_what_the_kernel_keeps_of_a_crash(python: Interpreter, tmp_path: Path) -> None:
    """The thread that crashed comes first, with the signal that it got."""
    target, path = crashed(python, tmp_path)
    core = CoreProcess(path)
    runtime = find_runtime(core)
    assert (core.pid, core.signal, core.tids()) == (target.pid, signal.SIGSEGV, target.facts["tids"])
    assert core.command.startswith(f"{python.path} -c import ctypes")
    assert (runtime.address, runtime.version[:3]) == (target.facts["runtime"], python.version)


@needs_kernel_cores
def test_a_core_file_that_was_cut_off(tmp_path: Path) -> None:
    """Wherever it ends, it is read as far as it goes, or refused because it is cut off."""
    python = local_interpreters()[0]
    target, path = crashed(python, tmp_path)
    whole = CoreProcess(path)
    find_runtime(whole)
    size = path.stat().st_size
    outcomes = []
    for end in (size - 1, size - 5000, *range(size * 9 // 10, 0, -size // 20), 5000, 64, 5):
        os.truncate(path, end)
        outcomes.append(_outcome(path, target.facts["runtime"]))
    assert outcomes[0] == "found"
    assert outcomes[-4:] == ["truncated-core"] * 4
    assert set(outcomes) == {"found", "truncated-core"}


@needs_gcore
def test_a_core_file_that_was_damaged(tmp_path: Path) -> None:
    """Bytes that changed in its headers and lists lead to a wrong answer at worst, and to no other error."""
    with parked(local_interpreters()[0].command) as target:
        path = gcore(target.pid, tmp_path)
    content = path.read_bytes()
    lists = content.index(struct.pack("<III", 5, 136, 3) + b"CORE")
    chance = random.Random(0)  # noqa: S311 - nothing is kept secret by it
    for _ in range(200):
        position = chance.choice([chance.randrange(2500), lists + chance.randrange(6000)])
        with path.open("r+b") as file:
            file.seek(position)
            file.write(bytes([chance.randrange(256)]))
            file.flush()
            with suppress(CannotRead):
                find_runtime(CoreProcess(path))
            file.seek(position)
            file.write(content[position : position + 1])


@needs_gcore
def test_a_core_file_without_the_files_of_the_process(tmp_path: Path) -> None:
    """The library that is missed is named, and so it is if another version is in its place."""
    installation = installations()[0]
    copy = Copy.of(installation, tmp_path)
    with parked([str(copy.executable)], copy.env) as target:
        path = gcore(target.pid, tmp_path)
    copy.library.unlink()
    missing = refusal(path)
    assert missing.slug == "core-without-executable"
    assert missing.message.endswith(f"{copy.library}, which is not here")
    shutil.copy2(installations()[-1].library, copy.library)
    assert refusal(path).message.endswith(f"{copy.library}, which is another version here")
    copy.executable.unlink()
    shutil.copy2(installation.library, copy.library)
    assert find_runtime(CoreProcess(path)).address == target.facts["runtime"]


@needs_gcore
def test_a_core_file_of_another_program(tmp_path: Path) -> None:
    """It is no Python, and that is said."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
        path = gcore(other.pid, tmp_path)
    assert (refusal(path).slug, refusal(path).message) == ("not-python", f"the process of {path} is not Python")


@needs_gcore
def test_what_was_not_dumped_is_not_made_up(tmp_path: Path) -> None:
    """Memory that the process could write to is never taken from a file, as that may have other content."""
    with parked(local_interpreters()[0].command) as target:
        Path(f"/proc/{target.pid}/coredump_filter").write_text("0x10")
        path = gcore(target.pid, tmp_path)
    assert refusal(path).slug == "core-without-data"


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"no core", b"\x1f\x8b" + bytes(50)])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    """A file that is no core file is said to be none."""
    path = tmp_path / "file"
    path.write_bytes(content)
    assert refusal(path).slug == "not-a-core"


def test_an_executable_is_no_core_file() -> None:
    """It has the same format, but no process in it."""
    assert refusal(Path(local_interpreters()[0].path).resolve()).slug == "not-a-core"


def _outcome(path: Path, expected: int) -> str:
    try:
        core = CoreProcess(path)
        assert core.truncated
        assert find_runtime(core).address == expected
    except CannotRead as error:
        return error.slug
    return "found"


def _address_and_version(runtime: Runtime) -> tuple[int, Version]:
    return runtime.address, runtime.version
