"""The interpreter in a process is found wherever it is, and is what the process itself says it has."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from circumstances import ROOT, UNPRIVILEGED, needs_setpriv, needs_unshare
from doctor.errors import CannotRead
from doctor.remote.runtime import find_runtime
from doctor.remote.version import Version
from interpreters import Interpreter, interpreters
from remote.parked import PROGRAM, Copy, Installation, compiled, installations, live, needs_gcc, parked
from services import Service, running

EMBEDDING = """
    #include <stdio.h>
    #include <stdlib.h>
    extern char _PyRuntime[];
    int Py_BytesMain(int, char **);
    int main(int argc, char **argv) {
        char address[32];
        snprintf(address, sizeof address, "%p", (void *)_PyRuntime);
        setenv("RUNTIME", address, 1);
        return Py_BytesMain(argc, argv);
    }"""

LISTED = [installations()[0], installations()[-1]] if installations() else []
"""The oldest and the newest, where it hardly depends on the version."""

READER = """
import json, sys
from doctor.errors import CannotRead
from doctor.procfs.handle import ProcDir
from doctor.remote.process import LiveProcess
from doctor.remote.runtime import find_runtime
try:
    print(json.dumps(find_runtime(LiveProcess(ProcDir(int(sys.argv[1])))).address))
except (CannotRead, PermissionError) as error:
    print(json.dumps([type(error).__name__, getattr(error, "slug", ""), str(error)]))
"""


def assert_found(target: Service) -> Path:
    """What is found is what the process says; returns the file it was found in, as the process names that."""
    with live(target.pid) as process:
        runtime = find_runtime(process)
        assert runtime.address == target.facts["runtime"]
        assert runtime.version == Version(*target.facts["version"])
        assert runtime.machine == os.uname().machine
        assert runtime.address_of("PyType_Type") == target.facts["type"]
        assert sorted(process.tids()) == sorted(target.facts["tids"])
        return Path(runtime.binaries[-1].path)


def refusal(pid: int) -> CannotRead:
    """Why there is nothing to be found."""
    with live(pid) as process, pytest.raises(CannotRead) as refused:
        find_runtime(process)
    return refused.value


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_every_interpreter(python: Interpreter) -> None:
    """Address and version are right for each that is installed, static or not, and in roots of their own."""
    with parked(python.command) as target:
        assert_found(target)


@needs_gcc
@pytest.mark.parametrize("installation", installations(), ids=str)
def test_a_stripped_interpreter(installation: Installation, tmp_path: Path) -> None:
    """A library keeps enough of its symbols when it is stripped."""
    copy = Copy.of(installation, tmp_path)
    subprocess.run(["strip", str(copy.executable), str(copy.library)], check=True)
    with parked([str(copy.executable)], copy.env) as target:
        assert assert_found(target) == copy.library


@needs_gcc
@pytest.mark.parametrize("installation", LISTED, ids=str)
@pytest.mark.parametrize("options", [["-pie", "-fPIE"], ["-no-pie", "-fno-pie"]], ids=["PIE", "at a fixed address"])
def test_a_program_that_embeds_a_library(options: list[str], installation: Installation, tmp_path: Path) -> None:
    """As uWSGI does; a program at a fixed address takes over the variables of the library that it refers to."""
    folder, name = installation.library.parent, installation.library.name
    program = compiled(EMBEDDING, tmp_path / "server", *options, f"-L{folder}", f"-l:{name}", f"-Wl,-rpath,{folder}")
    with parked([str(program)], installation.env) as target:
        assert_found(target)


@needs_gcc
@pytest.mark.parametrize("installation", installations(), ids=str)
def test_a_program_that_has_python_built_in(installation: Installation, tmp_path: Path) -> None:
    """By its symbols, whatever it is called; once it is stripped by its section, which there is from 3.10 on."""
    program = _static(installation, tmp_path / "server")
    with parked([str(program)], installation.env) as target:
        assert assert_found(target) == program
    subprocess.run(["strip", str(program)], check=True)
    with parked([str(program)], installation.env) as target:
        if installation.python.version >= (3, 10):
            with live(target.pid) as process:
                assert find_runtime(process).address == target.facts["runtime"]
        else:
            assert refusal(target.pid).slug == "no-symbols"


@pytest.mark.parametrize("installation", LISTED, ids=str)
def test_an_upgrade_under_a_running_service(installation: Installation, tmp_path: Path) -> None:
    """Files that were deleted are read as the process still has them, also when other versions took their places."""
    copy = Copy.of(installation, tmp_path)
    other = next(one for one in installations() if one != installation)
    with parked([str(copy.executable)], copy.env) as target:
        for file in (copy.executable, copy.library):
            file.unlink()
        assert assert_found(target) == copy.library
        shutil.copy2(other.library, copy.library)
        assert assert_found(target) == copy.library


@needs_setpriv
@pytest.mark.parametrize("installation", LISTED[:1], ids=str)
def test_without_privileges_a_deleted_library_is_out_of_reach(installation: Installation, tmp_path: Path) -> None:
    """The same user may read the process but not its deleted files: that is said, and what to do."""
    copy = Copy.of(installation, tmp_path)
    with parked([*UNPRIVILEGED, str(copy.executable)], copy.env) as target:
        assert _as_same_user(target) == target.facts["runtime"]
        copy.library.unlink()
        kind, slug, message = _as_same_user(target)
    assert (kind, slug) == ("CannotRead", "file-replaced")
    assert str(copy.library) in message


@needs_unshare
@pytest.mark.parametrize("installation", LISTED[:1], ids=str)
def test_a_service_with_its_own_mounts(installation: Installation, tmp_path: Path) -> None:
    """Files that only the process sees are read through its own root; here they are another version's, or none."""
    other = next(one for one in installations() if one != installation)
    folder, kept = tmp_path / "service", tmp_path / "kept"
    folder.mkdir()
    kept.mkdir()
    copy = Copy.of(installation, kept)
    shutil.copy2(other.library, folder / copy.library.name)
    script = f'mount --bind {kept} {folder} && exec {folder / copy.executable.name} -c "$PROGRAM"'
    env = {**copy.env, "LD_LIBRARY_PATH": str(folder), "PROGRAM": PROGRAM}
    with running(["unshare", "--mount", "sh", "-c", script], env=env) as target:
        assert assert_found(target) == folder / copy.library.name


@needs_gcc
def test_a_c_program_is_no_python(tmp_path: Path) -> None:
    """A process that is not Python is refused as such."""
    program = compiled("int pause(void); int main(void) { pause(); }", tmp_path / "python3.12")
    with subprocess.Popen([program]) as other:
        error = refusal(other.pid)
        other.kill()
    assert (error.slug, error.message) == ("not-python", f"process {other.pid} is not Python")


@needs_gcc
def test_pypy_is_refused_by_name(tmp_path: Path) -> None:
    """PyPy is told from other programs by the names of its files, as there is no CPython in them."""
    program = compiled("int pause(void); int main(void) { pause(); }", tmp_path / "pypy3.10")
    with subprocess.Popen([program]) as other:
        error = refusal(other.pid)
        other.kill()
    assert (error.slug, error.message) == ("not-cpython", f"process {other.pid} runs PyPy")


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7"])
def test_an_old_python_is_refused_by_name(version: str) -> None:
    """Versions before 3.8 are Python, but too old."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = list(root.glob(f"versions/{version}*/bin/python{version}"))
    if not found:
        pytest.skip(f"there is no Python {version} here")
    ready = "import json, os; os.write(int(os.environ['READY_FD']), b'{}\\n'); os.read(int(os.environ['LIFE_FD']), 1)"
    with running([str(found[0]), "-c", ready], env={}) as target:
        assert refusal(target.pid).slug == "too-old"


def test_a_32_bit_process_is_refused(tmp_path: Path) -> None:
    """The smallest there is: it only waits."""
    if os.uname().machine != "x86_64":
        pytest.skip("made of x86 instructions")
    code = bytes.fromhex("b81d000000cd80ebf7")  # again: mov eax, 29 (pause); int 0x80; jmp again
    start = 0x08048000
    program = tmp_path / "small"
    head = struct.pack("<16s2H5I6H", b"\x7fELF\1\1\1", 2, 3, 1, start + 84, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    program.write_bytes(head + struct.pack("<8I", 1, 0, start, start, 84 + len(code), 84 + len(code), 5, 4096) + code)
    program.chmod(stat.S_IRWXU)
    try:
        process = subprocess.Popen([program])
    except OSError as error:
        pytest.skip(f"no such programs run here: {error}")
    with process:
        error_of = refusal(process.pid)
        process.kill()
    assert (error_of.slug, error_of.message) == ("unknown-machine", f"process {process.pid} runs 32-bit code for i386")


@needs_setpriv
def test_a_process_of_somebody_with_more_rights() -> None:
    """That is for the caller to tell, who knows the remedies."""
    with parked([sys.executable]) as target:
        assert _as_same_user(target)[0] == "PermissionError"


def _as_same_user(target: Service) -> Any:
    command = [*UNPRIVILEGED, sys.executable, "-c", READER, str(target.pid)]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def _static(installation: Installation, program: Path) -> Path:
    minor = "{}.{}".format(*installation.python.version)
    (archive,) = installation.prefix.glob(f"lib/python{minor}/config-*/libpython{minor}.a")
    return compiled(EMBEDDING, program, "-fPIE", str(archive), "-lm", "-ldl", "-lpthread", "-lutil", "-lrt")
