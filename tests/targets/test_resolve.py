"""What was typed, turned into the processes it means."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from circumstances import ROOT, eventually, needs_unshare
from doctor.errors import AmbiguousTarget, AttachError, DoctorError, ExitCode, UsageError
from doctor.procfs.handle import ProcDir
from doctor.targets.processes import inspect
from doctor.targets.resolve import resolve
from services import gunicorn, run_doctor, service


@pytest.fixture
def word() -> str:
    """A word that no other command line holds."""
    return f"word-{uuid.uuid4()}"


@contextmanager
def program(*argv: str, inherited: tuple[int, ...] = ()) -> Iterator[int]:
    """A program that waits for the end of the block."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=inherited) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def python_below(pid: int) -> int:
    """The child of a process, once it runs Python; 0 before."""
    for child in psutil.Process(pid).children():
        proc = ProcDir(child.pid)
        found = inspect(proc)
        proc.close()
        if found:
            return child.pid
    return 0


def refusal(text: str | None, kind: type[DoctorError] = AttachError) -> DoctorError:
    """The error that a target gives."""
    with pytest.raises(kind) as caught:
        resolve(text)
    assert caught.value.hint
    return caught.value


def test_a_pid_is_that_process() -> None:
    """A PID gives the process, told apart from a later one by its start, and known by version and command line."""
    with service("short_lived") as target:
        found = resolve(str(target.pid))
        proc = ProcDir(target.pid)
        assert found.root.pid == target.pid
        assert found.root.start_ticks == proc.stat().start_ticks
        assert found.root.python == ".".join(map(str, sys.version_info[:3]))
        assert found.root.cmdline[-1].endswith("short_lived.py")
        assert found.host == socket.gethostname()
        assert found.children == ()
        assert not found.root.stopped
        proc.close()


def test_a_fragment_of_the_command_line(word: str) -> None:
    """Any part of the command line names the process that has it."""
    with service("short_lived", f"--name={word}") as target:
        assert resolve(word).root.pid == target.pid
        assert resolve(f"lived.py --name={word}").root.pid == target.pid


def test_a_master_stands_for_its_workers(word: str) -> None:
    """The workers of a master have its command line and its port, and both names mean the master, with its workers."""
    with gunicorn("flask_shop:app", "--name", word, workers=2) as server:
        for text in (word, f":{server.port}", str(server.pid)):
            found = resolve(text)
            assert found.root.pid == server.pid
            assert [child.pid for child in found.children] == server.facts["workers"]
        assert resolve(word, children=False).children == ()
        assert resolve(str(server.facts["workers"][0])).root.pid == server.facts["workers"][0]


def test_several_matches_are_listed(word: str) -> None:
    """Of several processes none is chosen: all are shown with their command lines, without their secrets."""
    with service("short_lived", word, "--password", "hunter2") as one, service("short_lived", word, "\x1b[2J") as other:
        error = refusal(word, AmbiguousTarget)
    assert error.exit_code == ExitCode.USAGE
    first, *rows = error.message.splitlines()
    assert first == "2 Python processes match:"
    assert sorted(int(row.split()[0]) for row in rows) == sorted([one.pid, other.pid])
    assert "hunter2" not in error.message
    assert "\x1b" not in error.message
    assert error.hint.startswith("name one by its PID: doctor diagnose ")


def test_no_match(word: str) -> None:
    """What no command line holds is refused with what a target may be."""
    error = refusal(word)
    assert error.slug == "no-match"
    assert error.exit_code == ExitCode.NO_ATTACH
    assert word in error.message
    assert "TARGET is a PID, a name, :PORT or a bundle" in error.hint


def test_doctor_does_not_find_itself(word: str) -> None:
    """Neither doctor's own command line nor that of whatever started it matches."""
    assert run_doctor("diagnose", word).exit_code == ExitCode.NO_ATTACH
    started = [sys.executable, "-c", "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"]
    command = [*started, sys.executable, "-m", "doctor", "diagnose", word]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.NO_ATTACH
    assert "[no-match]" in done.stderr


@needs_unshare
def test_without_a_target_the_only_one_is_meant() -> None:
    """Where one Python process runs beside doctor and its parents it need not be named; where none, that is told."""
    script = (
        "import subprocess, sys\n"
        "from doctor.errors import DoctorError\n"
        "from doctor.targets.resolve import resolve\n"
        "try: resolve(None)\n"
        "except DoctorError as error: print(error.slug)\n"
        "pipe = subprocess.PIPE\n"
        "code = 'print(flush=True); input()'\n"
        "with subprocess.Popen([sys.executable, '-c', code], stdin=pipe, stdout=pipe) as only:\n"
        "    only.stdout.readline()\n"
        "    print(resolve(None).root.pid == only.pid)\n"
        "    only.communicate()\n"
    )
    alone = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", script]
    done = subprocess.run(alone, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["no-match", "True"]


def test_a_zombie_leads_to_its_parent() -> None:
    """A process that has exited and was not waited for is refused with the parent that should have."""
    with service("zombie_children", "sick") as target:
        error = refusal(str(target.facts["children"][0]))
    assert error.slug == "zombie"
    assert error.hint == f"diagnose the parent: doctor diagnose {target.pid}"


def test_what_is_not_python_is_refused() -> None:
    """Another program is refused by its name."""
    with program("cat") as pid:
        error = refusal(str(pid))
    assert (error.slug, error.message) == ("not-python", f"process {pid} (cat) is not Python")


def test_a_wrapper_leads_to_what_it_started() -> None:
    """A shell around the service is refused with the PID of the service."""
    script = f"{sys.executable} -c 'input()'; true"
    with program("sh", "-c", script) as pid:
        service_pid = eventually(lambda: python_below(pid), bool)
        error = refusal(str(pid))
        os.kill(service_pid, signal.SIGKILL)
    assert error.hint == f"it started a Python process: doctor diagnose {service_pid}"


def test_a_thread_leads_to_its_process() -> None:
    """The number of a thread, as top -H shows it, is refused with the process it belongs to."""
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    error = refusal(str(thread.native_id))
    leave.set()
    thread.join()
    assert (error.slug, error.hint) == ("thread", f"doctor diagnose {os.getpid()}")


@pytest.mark.parametrize("pid", ["0", "999999999", "9" * 30, "9" * 5000])
def test_there_is_no_such_process(pid: str) -> None:
    """A number that is no process, however large, is refused."""
    error = refusal(pid)
    assert (error.slug, error.exit_code) == ("no-such-process", ExitCode.NO_ATTACH)


def test_a_command_line_that_is_not_utf8(word: str) -> None:
    """Bytes that are no text are found by what the shell passes on for them, and shown as escapes."""
    odd = word.encode() + b"-caf\xe9"
    with service("unicode_name", odd) as target:
        found = resolve(os.fsdecode(odd))
        assert found.root.pid == target.pid
        assert found.root.cmdline[-1] == f"{word}-caf\\xe9"
        assert resolve(f"{word}-caf\\xe9").root.pid == target.pid


def test_a_stopped_process_is_resolved() -> None:
    """A process held by a signal can be named, and is known to be held."""
    with service("short_lived") as target:
        os.kill(target.pid, signal.SIGSTOP)
        eventually(lambda: resolve(str(target.pid)).root.stopped, bool)


@pytest.mark.parametrize("text", [":", ":0", ":65536", ":http", ":-1"])
def test_what_is_no_port(text: str) -> None:
    """A colon must be followed by a port."""
    error = refusal(text, UsageError)
    assert (error.slug, error.exit_code) == ("bad-port", ExitCode.USAGE)


def test_nobody_listens_on_a_port() -> None:
    """A port that is closed is refused as such."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refusal(f":{port}").hint.startswith(f"nothing listens on port {port}")


def test_a_port_that_is_not_python_s() -> None:
    """A port another program listens on is refused with that program's PID."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with program("cat", inherited=(listener.fileno(),)) as pid:
            listener.close()
            assert refusal(f":{port}").hint.startswith(f"port {port} belongs to process {pid};")
