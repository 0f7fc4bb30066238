"""Targets and files that are none, or that cannot be read: a clear message, the right exit code, and no harm."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from circumstances import (
    UNPRIVILEGED,
    eventually,
    needs_root,
    needs_setpriv,
    start_doctor,
    taking_pid,
)
from doctor.errors import ExitCode
from services import Service, service

from .runs import SHORT, Ended, capturing, end_of, run, unharmed

NEVER = ("--duration", "600")
"""For runs that must end before they begin to look."""


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
    assert "the capture holds no such evidence" not in ended.stdout
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
