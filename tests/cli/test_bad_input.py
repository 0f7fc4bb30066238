"""Whatever the circumstances: a clear message, the right exit code, nothing left behind, and the target as it was."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from circumstances import (
    UNPRIVILEGED,
    eventually,
    interpreter_with,
    interpreter_without,
    needs_root,
    needs_setpriv,
    start_doctor,
    taking_pid,
)
from doctor.errors import ExitCode
from services import Service, group_members, service

SHORT = ("--duration", "0.5")
NEVER = ("--duration", "600")
"""For runs that must end before they begin to look."""
FORMATS = ("text", "json", "markdown")
EMPTY_PATH = {"PATH": "/usr/bin:/bin"}


class Ended(NamedTuple):
    """How a run of doctor ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The diagnosis, where it was asked for as JSON."""
        return json.loads(self.stdout)


def end_of(doctor: subprocess.Popen[str], timeout_s: float = 30.0) -> Ended:
    """Waits for a run; it has left no process, and no traceback in place of a message."""
    stdout, stderr = doctor.communicate(timeout=timeout_s)
    assert group_members(doctor.pid) == []
    assert "Traceback" not in stderr
    return Ended(doctor.returncode, stdout or "", stderr)


def run(*args: str, **circumstances: Any) -> Ended:
    """A whole run of doctor."""
    return end_of(start_doctor(*args, **circumstances))


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test leaves a file in the folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    assert list(folder.iterdir()) == []


@contextmanager
def unharmed(target: Service) -> Iterator[str]:
    """The PID of a target that at the end of the block is stopped or not, as before, with no tracer and all threads."""

    def state() -> tuple[bool, str, str]:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{target.pid}/status").read_text().splitlines())
        assert status["State"][0] in "RST"
        return status["State"][0] == "T", status["TracerPid"], status["Threads"]

    before = state()
    assert before[1] == "0"
    yield str(target.pid)
    assert state() == before


def capturing(doctor: subprocess.Popen[str]) -> None:
    """Waits until a run has begun to look: its collectors are threads."""
    eventually(lambda: doctor.poll() is not None or psutil.Process(doctor.pid).num_threads() > 4, bool)
    assert doctor.poll() is None


@pytest.fixture(scope="module")
def idle() -> Iterator[Service]:
    """A healthy service to look at."""
    with service("idle_executor") as target:
        yield target


@pytest.fixture(scope="module")
def bundle(idle: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was saved before."""
    path = tmp_path_factory.mktemp("saved") / "incident.doctor.gz"
    assert run("capture", str(idle.pid), *SHORT, "-o", str(path)).code == ExitCode.OK
    return path


def assert_refused(ended: Ended, code: ExitCode, *words: str) -> None:
    """Nothing on stdout, a message with a hint on stderr, and the exit code for it."""
    assert ended.code == code, ended.stderr
    assert ended.stdout == ""
    assert "\n  → " in ended.stderr
    for word in words:
        assert word in ended.stderr


# Targets that are none


@pytest.mark.parametrize("command", ["diagnose", "preflight"])
def test_no_such_process(command: str) -> None:
    """A PID that nobody has is refused, with the command that lists what there is."""
    assert_refused(run(command, "999999999"), ExitCode.NO_ATTACH, "there is no process 999999999", "doctor ps")


def test_not_python() -> None:
    """A process of another program is refused by its name."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
        assert_refused(run("diagnose", str(cat.pid)), ExitCode.NO_ATTACH, f"process {cat.pid} (cat) is not Python")
        assert psutil.Process(cat.pid).status() == psutil.STATUS_SLEEPING
        cat.kill()


def test_a_zombie() -> None:
    """A process that has exited already is refused, and its parent is named."""
    with service("zombie_children", "sick") as target, unharmed(target):
        ended = run("diagnose", str(target.facts["children"][0]))
        assert_refused(ended, ExitCode.NO_ATTACH, "is a zombie", f"doctor diagnose {target.pid}")


def test_no_match() -> None:
    """A name that no command line holds is refused, with what a target may be."""
    word = f"word-{uuid.uuid4()}"
    assert_refused(run("diagnose", word), ExitCode.NO_ATTACH, f"no Python process matches '{word}'", "doctor ps")


def test_several_matches() -> None:
    """A name that several command lines hold is wrong usage: they are listed, and doctor does not choose."""
    word = f"word-{uuid.uuid4()}"
    with service("short_lived", word) as one, service("short_lived", word) as other:
        with unharmed(one), unharmed(other):
            ended = run("diagnose", word)
        assert_refused(ended, ExitCode.USAGE, "2 Python processes match", str(one.pid), str(other.pid))


@pytest.mark.parametrize(
    "arguments",
    [
        ("diagnose", "--duration", "0"),
        ("diagnose", "--duration", "nan"),
        ("demo", "--duration", "nan"),
        ("diagnose", "--duration", "1", "--quick"),
        ("diagnose", "--format", "pdf"),
        ("diagnose", "1", "2"),
        ("capture", "1"),
        ("diagnoze",),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    """Options that cannot be are refused at once, with where to read what can."""
    ended = run(*arguments)
    assert (ended.code, ended.stdout) == (ExitCode.USAGE, "")
    assert "--help" in ended.stderr
    assert "\nError: " in ended.stderr


# Targets that cannot be read, or not to the end


@needs_setpriv
def test_without_rights_what_needs_none_is_still_found() -> None:
    """Without ptrace rights zombies are found all the same; what could not be seen names the capability it takes."""
    with service("zombie_children", "sick") as target, unharmed(target) as pid:
        ended = run("diagnose", pid, "--quick", "--format", "json", prefix=UNPRIVILEGED)
    assert ended.code == ExitCode.WARN
    assert [finding["id"] for finding in ended.json["findings"]] == ["zombie-children"]
    denied = {skip["collector"]: skip for skip in ended.json["skipped"] if "CAP_SYS_PTRACE" in skip["reason"]}
    assert set(denied) == {"process", "stacks", "threads"}
    assert all("--cap-add SYS_PTRACE" in skip["remedy"] for skip in denied.values())
    assert "slow-dependency" in denied["stacks"]["rules"]


@needs_setpriv
def test_without_rights_nothing_found_is_not_healthy(idle: Service) -> None:
    """A service that may not be read is not called healthy, and the remedy is on the screen."""
    with unharmed(idle) as pid:
        ended = run("diagnose", pid, *SHORT, prefix=UNPRIVILEGED)
    assert ended.code == ExitCode.INCONCLUSIVE
    assert "doctor lacks the capability CAP_SYS_PTRACE" in " ".join(ended.stdout.split())
    assert "run doctor as root with CAP_SYS_PTRACE" in ended.stdout


@pytest.mark.parametrize("reaped", [True, False])
def test_the_target_exits_half_way(reaped: bool) -> None:
    """What was seen before the end is kept, the verdict says that it is partial, and no collector crashes."""
    with service("short_lived") as target:
        doctor = start_doctor("diagnose", str(target.pid), "--duration", "1", "--format", "json")
        capturing(doctor)
        target.finish() if reaped else target.release()
        ended = end_of(doctor)
    assert ended.code == ExitCode.INCONCLUSIVE
    assert f"process {target.pid} ended during the capture" in ended.json["verdict"]["summary"]
    assert "doctor ps" in ended.json["skipped"][0]["remedy"]
    assert "crashed" not in ended.stdout
    assert ended.json["rule_errors"] == []


@needs_root
def test_the_pid_is_given_to_another_process() -> None:
    """A process that takes the target's PID during the capture is not taken for the target."""
    with service("short_lived") as target:
        doctor = start_doctor("diagnose", str(target.pid), "--duration", "1.5", "--format", "json")
        capturing(doctor)
        target.finish()
        with taking_pid(target.pid):
            ended = end_of(doctor)
    assert ended.code == ExitCode.INCONCLUSIVE
    assert "its PID was reused by another process" in ended.json["verdict"]["summary"]
    assert ended.json["target"]["cmdline"][-1].endswith("short_lived.py")
    assert "input()" not in ended.stdout


def test_a_stopped_target_stays_stopped() -> None:
    """A process held by a signal is read, is not let run, and the diagnosis says that nothing in it runs."""
    with service("idle_executor") as target:
        os.kill(target.pid, signal.SIGSTOP)
        eventually(lambda: psutil.Process(target.pid).status(), lambda status: status == psutil.STATUS_STOPPED)
        with unharmed(target) as pid:
            ended = run("diagnose", pid, *SHORT)
    assert ended.code == ExitCode.INCONCLUSIVE
    assert f"process {pid} is stopped by a signal or a debugger" in " ".join(ended.stdout.split())
    assert f"kill -CONT {pid}" in ended.stdout


def test_a_command_line_that_is_not_utf8(tmp_path: Path) -> None:
    """Bytes that are no text are shown as escapes in every format, live and from a bundle."""
    saved = str(tmp_path / "odd.doctor.gz")
    with service("unicode_name", b"caf\xe9 \xff") as target, unharmed(target) as pid:
        ended = run("diagnose", pid, *SHORT, "--save", saved)
    assert ended.code == ExitCode.OK
    assert r"caf\xe9 \xff" in ended.stdout
    for format_name, shown in {"text": r"caf\xe9 \xff", "json": r"caf\\xe9 \\xff", "markdown": r"caf\xe9 \xff"}.items():
        ended = run("diagnose", saved, "--format", format_name)
        assert ended.code == ExitCode.OK
        assert shown in ended.stdout


def test_a_terminal_that_is_not_utf8(idle: Service) -> None:
    """Where the terminal cannot show a character, an escape is shown, and the diagnosis is not lost."""
    with unharmed(idle) as pid:
        ended = run("diagnose", pid, *SHORT, env={"PYTHONIOENCODING": "latin-1"}, encoding="latin-1")
    assert ended.code == ExitCode.OK
    assert ended.stdout.startswith("\\u2713 OK")


# Files


@pytest.mark.parametrize(
    ("spoil", "slug"),
    [
        (lambda whole: whole[: len(whole) // 2], "truncated-bundle"),
        (lambda whole: whole[:-1], "truncated-bundle"),
        (lambda _: b"", "foreign-file"),
        (lambda _: gzip.compress(b"access.log"), "foreign-file"),
        (lambda _: b'{"schema": "doctor.bundle/1"}', "foreign-file"),
        (lambda whole: _recompressed(whole, b"doctor.bundle/1", b"doctor.bundle/7"), "newer-bundle"),
        (lambda whole: _recompressed(whole, b'"kind":"host"', b'"kind":"moon"'), "unknown-content"),
    ],
)
def test_a_bundle_that_is_none(spoil: Callable[[bytes], bytes], slug: str, bundle: Path, tmp_path: Path) -> None:
    """A file that was cut off, is foreign, or comes from another doctor is refused by name, with what to do."""
    file = tmp_path / "spoilt.doctor.gz"
    file.write_bytes(spoil(bundle.read_bytes()))
    assert_refused(run("diagnose", str(file)), ExitCode.USAGE, str(file), f"[{slug}]")


def _recompressed(whole: bytes, old: bytes, new: bytes) -> bytes:
    return gzip.compress(gzip.decompress(whole).replace(old, new))


@pytest.mark.parametrize("arguments", [("diagnose", "-o"), ("diagnose", "--save"), ("capture", "-o")], ids=" ".join)
def test_an_unwritable_output_is_told_before_the_capture(
    arguments: tuple[str, str], idle: Service, tmp_path: Path
) -> None:
    """An output that cannot be written is told at once, and not after minutes of looking."""
    command, option = arguments
    with unharmed(idle) as pid:
        ended = run(command, pid, *NEVER, option, str(tmp_path / "missing" / "file"))
        assert_refused(ended, ExitCode.USAGE, "has no such folder", "name another file")
        assert run(command, pid, *NEVER, option, str(tmp_path)).code == ExitCode.USAGE


@needs_setpriv
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_output_without_permission_is_told_before_the_capture(kind: str, idle: Service, tmp_path: Path) -> None:
    """A folder, or a file, that this user may not write is told at once."""
    file = tmp_path / "diagnosis.json"
    if kind == "file":
        file.touch(mode=0o444)
    tmp_path.chmod(0o555)
    ended = run("diagnose", str(idle.pid), *NEVER, "-o", str(file), prefix=UNPRIVILEGED)
    tmp_path.chmod(0o755)
    assert_refused(ended, ExitCode.USAGE, f"{file} cannot be written", "name another file")


def test_a_disk_that_is_full(idle: Service) -> None:
    """A device that takes nothing is told with its reason, in place of a success."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    ended = run("capture", str(idle.pid), *SHORT, "-o", "/dev/full")
    assert_refused(ended, ExitCode.USAGE, "No space left on device")


# Interruptions


def cpu_s(doctor: subprocess.Popen[str]) -> float:
    """The CPU time a run has taken so far; without end for one that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        return int(Path(f"/proc/{doctor.pid}/schedstat").read_text().split()[0]) / 1e9
    return float("inf")


@pytest.mark.parametrize("begun_s", [0, 0.02, 0.1, 0.2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_before_the_capture(number: signal.Signals, begun_s: float, idle: Service) -> None:
    """A signal at any moment of the start, told by the CPU time taken, ends doctor; before it is up, as any program."""
    with unharmed(idle) as pid:
        doctor = start_doctor("diagnose", pid, "--duration", "60")
        eventually(lambda: cpu_s(doctor), lambda taken_s: taken_s >= begun_s)
        doctor.send_signal(number)
        _, stderr = doctor.communicate(timeout=10)
        assert group_members(doctor.pid) == []
    if doctor.returncode == ExitCode.INTERRUPTED:
        assert stderr == "\ndoctor: interrupted; the target was left as it was\n"
    else:
        assert doctor.returncode == -number or (begun_s < 0.05 and "init_import_site" in stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_during_the_capture(number: signal.Signals, idle: Service, tmp_path: Path) -> None:
    """A signal during the capture ends doctor with its own exit code, and no half of an output is written."""
    with unharmed(idle) as pid:
        file = tmp_path / "incident.doctor.gz"
        doctor = start_doctor("diagnose", pid, "--duration", "60", "--save", str(file))
        capturing(doctor)
        doctor.send_signal(number)
        ended = end_of(doctor, timeout_s=5)
    assert (ended.code, ended.stdout) == (ExitCode.INTERRUPTED, "")
    assert ended.stderr.endswith("doctor: interrupted; the target was left as it was\n")
    assert not file.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_py_spy_hangs(number: signal.Signals, idle: Service, tmp_path: Path) -> None:
    """A signal to doctor alone ends a py-spy that would never have ended."""
    python = interpreter_with(tmp_path / "venv", "exec sleep 1000")
    with unharmed(idle) as pid:
        doctor = start_doctor("diagnose", pid, "--duration", "60", python=python)
        eventually(lambda: psutil.Process(doctor.pid).children(), bool)
        doctor.send_signal(number)
        assert end_of(doctor, timeout_s=5).code == ExitCode.INTERRUPTED


def test_interrupted_after_the_window_while_py_spy_hangs(idle: Service, tmp_path: Path) -> None:
    """The same holds when the window is over and nothing is waited for but py-spy."""
    python = interpreter_with(tmp_path / "venv", "exec sleep 1000")
    with unharmed(idle) as pid:
        doctor = start_doctor("diagnose", pid, *SHORT, python=python)
        capturing(doctor)
        eventually(lambda: psutil.Process(doctor.pid).num_threads(), lambda threads: threads == 2)
        doctor.send_signal(signal.SIGINT)
        assert end_of(doctor, timeout_s=3).code == ExitCode.INTERRUPTED


@pytest.mark.parametrize("arguments", [("rules",), ("ps",), ("explain", "fd-leak"), ("playbook", "show", "fd-leak")])
def test_a_list_that_nobody_reads_to_its_end(arguments: tuple[str, ...]) -> None:
    """A reader that leaves early, as `head` does, is no failure."""
    assert into_nothing(*arguments) == Ended(ExitCode.OK, "", "")


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_diagnosis_that_nobody_reads_to_its_end(format_name: str, bundle: Path) -> None:
    """A reader that leaves early does not change the exit code of a diagnosis."""
    expected = run("diagnose", str(bundle)).code
    assert into_nothing("diagnose", str(bundle), "--format", format_name) == Ended(expected, "", "")


def into_nothing(*args: str) -> Ended:
    """A run whose stdout is closed at the other end."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return end_of(start_doctor(*args, stdout=writer))
    finally:
        os.close(writer)


# py-spy


def assert_without_stacks(ended: Ended, reason: str) -> None:
    """Everything but the stacks is there, and the reason why they are not."""
    assert ended.code == ExitCode.INCONCLUSIVE
    (skip,) = [skip for skip in ended.json["skipped"] if skip["decisive"]]
    assert skip["collector"] == "stacks"
    assert reason in skip["reason"]
    assert skip["remedy"]
    assert "slow-dependency" in skip["rules"]
    assert {"cpu-starved", "fd-leak"} <= set(ended.json["checked"])


def test_py_spy_is_missing(idle: Service, tmp_path: Path) -> None:
    """Without py-spy the rest is diagnosed, and the command that installs it is named."""
    python = interpreter_without(tmp_path / "venv")
    with unharmed(idle) as pid:
        ended = run("diagnose", pid, *SHORT, "--format", "json", python=python, env=EMPTY_PATH)
    assert_without_stacks(ended, "py-spy is not installed")
    assert ended.json["skipped"][0]["remedy"] == "pip install py-spy"
    assert "pip install py-spy" in run("preflight", str(idle.pid), python=python, env=EMPTY_PATH).stdout


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Error: no luck today' >&2; exit 1", "could not read process {pid}: no luck today"),
        ("kill -SEGV $$", "exit code -11"),
        ("printf '\\377\\376 garbage'", "unexpected output"),
        ("echo '[{{\"thread_id\": 1}}]'", "unexpected output"),
        ("exec sleep 1000", "no answer within 5 s"),
    ],
)
def test_py_spy_fails(script: str, reason: str, idle: Service, tmp_path: Path) -> None:
    """A py-spy that fails, prints anything but a dump, or hangs, costs its stacks alone, and its own words are told."""
    python = interpreter_with(tmp_path / "venv", script.format())
    began_s = time.monotonic()
    with unharmed(idle) as pid:
        ended = run("diagnose", pid, *SHORT, "--format", "json", python=python)
    assert_without_stacks(ended, reason.format(pid=idle.pid))
    assert time.monotonic() - began_s < 15


def test_py_spy_cannot_be_run(idle: Service, tmp_path: Path) -> None:
    """A py-spy for another machine, or without permission, is told with the system's own words."""
    python = interpreter_with(tmp_path / "venv", "")
    python.with_name("py-spy").write_bytes(b"\x7fELF")
    with unharmed(idle) as pid:
        ended = run("diagnose", pid, *SHORT, "--format", "json", python=python)
    assert_without_stacks(ended, "Exec format error")
