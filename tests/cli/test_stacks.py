"""`doctor stacks` on real services: one look and many, every format, and targets that cannot be read."""

from __future__ import annotations

import gzip
import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from circumstances import UNPRIVILEGED, eventually, needs_setpriv, start_doctor
from doctor.errors import ExitCode
from services import Service, line_of, service

from .runs import Ended, end_of, run, unharmed
from .test_bad_input import assert_refused

ELF_CORE = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\x00" + bytes(46)


def stacks(target: Service, *args: str) -> Ended:
    """A run on a service, which is left as it was."""
    with unharmed(target) as pid:
        ended = run("stacks", pid, *args)
    assert ended.code == ExitCode.OK, ended.stderr
    return ended


def test_one_look_at_a_hanging_service() -> None:
    """Seven threads that hang are one group with the peer they wait for, the line, and the text of that line."""
    with service("hanging_dependency", "sick") as target:
        (group,) = [one for one in stacks(target, "--format", "json").json["groups"] if one["count"] == 7]
        text = stacks(target).stdout
    assert group["state"] == "waiting"
    assert [thread["name"] for thread in group["threads"]] == [f"checkout-{number}" for number in range(1, 8)]
    (wait,) = group["waits"]
    assert (wait["reason"], wait["timeout_s"]) == ("read", None)
    where = group["frames"][group["where"]]
    assert (where["function"], where["line"]) == ("call_inventory", line_of("hanging_dependency", "call"))
    assert where["source"].startswith("answer = connection.getresponse().read()")
    assert "7 threads  checkout-1 … -7" in text
    assert f"on {wait['peer']} (tcp), no timeout" in " ".join(text.split())


def test_one_look_takes_no_time_and_looks_at_nothing_else(idle: Service) -> None:
    """Without --duration each thread is seen once, and no evidence but stacks and threads is gathered."""
    report = stacks(idle, "--format", "json").json
    assert report["window"]["duration_s"] == 0.0
    assert [process["samples"] for process in report["processes"]] == [1]
    assert {stay[2] for timeline in report["timelines"] for stay in timeline["stays"]} == {1}


def test_a_pause_is_counted(idle: Service) -> None:
    """With --allow pause the target is stopped for a moment, which the cost tells; without it, never."""
    assert stacks(idle, "--allow", "pause", "--format", "json").json["cost"]["target_paused_ms"] > 0
    assert stacks(idle, "--format", "json").json["cost"]["target_paused_ms"] == 0


def test_idle_workers_are_one_line(idle: Service) -> None:
    """Workers without work are one line at the end, and --all shows where they wait."""
    (line,) = [line for line in stacks(idle).stdout.splitlines() if "7 threads  worker_0 … _6" in line]
    assert line.startswith("· ")
    assert "thread.py" in line
    assert "in _worker" in stacks(idle, "--all").stdout.partition("worker_0")[2].partition("\n\n")[0]


def test_samples_tell_shares() -> None:
    """With --duration groups carry their samples, and of threads that fight for the interpreter lock one runs."""
    with service("waits") as target:
        report = stacks(target, "--duration", "1", "--format", "json").json
    assert report["window"]["duration_s"] == 1.0
    busy = [group for group in report["groups"] if group["state"] == "running"]
    names = {thread["name"] for group in busy for thread in group["threads"]}
    assert names >= {"busy-1", "busy-2", "busy-3"}
    assert report["groups"][0]["state"] == "running"
    total = sum(group["samples"] for group in busy)
    assert 0 < sum(group["samples"] * group["owns_gil"] for group in busy) < total


@pytest.mark.parametrize(
    ("format_name", "begins"),
    [("collapsed", "process "), ("speedscope", '{"$schema"'), ("json", "{\n"), ("text", "pid ")],
)
def test_a_file_holds_what_stdout_would(format_name: str, begins: str, bundle: Path, tmp_path: Path) -> None:
    """Each format of a saved bundle is printed, and written with -o, alike and without colours."""
    file = tmp_path / "stacks"
    printed = run("stacks", str(bundle), "--format", format_name)
    written = run("stacks", str(bundle), "--format", format_name, "-o", str(file))
    assert (printed.code, written.code, written.stdout) == (ExitCode.OK, ExitCode.OK, "")
    assert printed.stdout == file.read_text(encoding="utf-8")
    assert printed.stdout.startswith(begins)
    assert "\x1b" not in printed.stdout
    assert "worker_6" in printed.stdout or format_name == "text"


def test_no_secret_is_shown() -> None:
    """Passwords of a command line are hidden in every format."""
    with service("short_lived", "--password", "hunter2") as target:
        for format_name in ("text", "json", "collapsed", "speedscope"):
            assert "hunter2" not in stacks(target, "--format", format_name).stdout


# Targets that are none, or that cannot be read


def test_targets_that_are_none() -> None:
    """A PID that nobody has, a program that is no Python, and a name that no command line holds are refused."""
    assert_refused(run("stacks", "999999999"), ExitCode.NO_ATTACH, "there is no process 999999999")
    assert_refused(run("stacks", f"word-{uuid.uuid4()}"), ExitCode.NO_ATTACH, "no Python process matches")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
        assert_refused(run("stacks", str(cat.pid)), ExitCode.NO_ATTACH, f"process {cat.pid} (cat) is not Python")
        cat.kill()


def test_several_matches_are_listed() -> None:
    """Doctor does not choose between processes."""
    word = f"word-{uuid.uuid4()}"
    with service("short_lived", word) as one, service("short_lived", word) as other:
        assert_refused(run("stacks", word), ExitCode.USAGE, str(one.pid), str(other.pid))


@pytest.mark.parametrize(
    "arguments", [("--duration", "0"), ("--duration", "-1"), ("--duration", "nan"), ("--format", "svg"), ("1", "2")]
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    """Options that cannot be are refused at once."""
    ended = run("stacks", *arguments)
    assert (ended.code, ended.stdout) == (ExitCode.USAGE, "")
    assert "\nError: " in ended.stderr


def test_an_output_that_cannot_be_written(idle: Service) -> None:
    """The folder is looked for before the target is."""
    ended = run("stacks", str(idle.pid), "-o", "/nonexistent/stacks.json")
    assert_refused(ended, ExitCode.USAGE, "/nonexistent/stacks.json has no such folder")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("command", ["stacks", "diagnose"])
def test_a_core_file_that_is_broken(command: str, pack: type[bytes], tmp_path: Path) -> None:
    """A core file, packed or not, is known for what it is, and what is wrong with it is said."""
    core = tmp_path / "core.4242"
    core.write_bytes(pack(ELF_CORE))
    assert_refused(run(command, str(core)), ExitCode.NO_ATTACH, str(core), "core")


def test_a_core_file_shows_the_stacks_of_the_process(idle: Service, tmp_path: Path) -> None:
    """The threads of a core file are those that the process had, under their names."""
    subprocess.run(["gcore", "-o", str(tmp_path / "core"), str(idle.pid)], check=True, capture_output=True)
    alive = run("stacks", str(idle.pid), "--format", "json")
    dead = run("stacks", str(tmp_path / f"core.{idle.pid}"), "--format", "json")
    assert (alive.code, dead.code) == (ExitCode.OK, ExitCode.OK)
    assert frames_of(dead.json) == frames_of(alive.json)


def frames_of(report: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The names of threads and their frames."""
    threads = [(thread["name"], group["frames"]) for group in report["groups"] for thread in group["threads"]]
    unnamed = [(name, [{**frame, "source": None} for frame in frames]) for name, frames in threads]
    return sorted(unnamed, key=lambda thread: thread[0])


@needs_setpriv
def test_without_rights_states_are_told(idle: Service) -> None:
    """Without ptrace rights the threads are counted by their states, with the remedy, and the exit code says so."""
    with unharmed(idle) as pid:
        ended = run("stacks", pid, prefix=UNPRIVILEGED)
    assert ended.code == ExitCode.INCONCLUSIVE
    assert "9 threads  " in ended.stdout
    assert "asleep, for what is not visible" in ended.stdout
    assert "doctor lacks the capability CAP_SYS_PTRACE" in " ".join(ended.stdout.split())
    assert "remedy: run doctor as root with CAP_SYS_PTRACE" in ended.stdout


def test_the_target_exits_while_it_is_sampled() -> None:
    """What was seen before the end is shown, and the end is told."""
    with service("short_lived") as target:
        doctor = start_doctor("stacks", str(target.pid), "--duration", "1", "--format", "json")
        eventually(lambda: doctor.poll() is not None or psutil.Process(doctor.pid).num_threads() > 2, bool)
        target.finish()
        ended = end_of(doctor)
    assert ended.code in (ExitCode.OK, ExitCode.INCONCLUSIVE)
    assert f"process {target.pid} ended during the capture" in json.dumps(ended.json["skipped"])
    assert "crashed" not in ended.stdout


def test_a_bundle_without_stacks(bundle: Path, tmp_path: Path) -> None:
    """A bundle whose stacks are missing shows what the kernel told, and exits as a live look would."""
    content = json.loads(gzip.decompress(bundle.read_bytes()))
    content["evidence"] = [evidence for evidence in content["evidence"] if evidence["kind"] != "stacks"]
    partial = tmp_path / "partial.doctor.gz"
    partial.write_bytes(gzip.compress(json.dumps(content).encode()))
    ended = run("stacks", str(partial))
    assert ended.code == ExitCode.INCONCLUSIVE
    assert "waiting: a lock" in ended.stdout
