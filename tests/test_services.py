"""The programs under test reach the state they promise, and nothing of them is left when the test is over."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from interpreters import Interpreter, interpreters, oldest_and_newest
from services import (
    PROGRAMS,
    NotReady,
    Service,
    control_group,
    dependency,
    group_members,
    gunicorn,
    line_of,
    load,
    run_doctor,
    service,
    uvicorn,
)

NOT_UTF8 = b"caf\xe9 \xff"

PLAIN: list[tuple[str | bytes, ...]] = [
    ("blocked_loop", "sick"),
    ("blocked_loop", "blocked-cpu"),
    ("blocked_loop", "healthy"),
    ("consumer",),
    ("cpu_hotspot", "sick"),
    ("cpu_hotspot", "healthy"),
    ("cpu_quota", "sick"),
    ("cpu_quota", "healthy"),
    ("cpu_starved", "sick"),
    ("cpu_starved", "healthy"),
    ("dependency", "hang"),
    ("dependency", "0.1"),
    ("disk_stall", "sick", "."),
    ("disk_stall", "healthy", "."),
    ("fd_leak", "sick"),
    ("fd_leak", "healthy"),
    ("hanging_dependency", "sick"),
    ("hanging_dependency", "healthy"),
    ("idle_executor",),
    ("many_threads", "7", "13"),
    ("memory_limit", "sick"),
    ("memory_limit", "healthy"),
    ("short_lived",),
    ("socket_leak", "sick"),
    ("socket_leak", "healthy"),
    ("unicode_name", NOT_UTF8),
    ("stacks/births",),
    ("stacks/churn", "plain"),
    ("stacks/churn", "mixed"),
    ("stacks/execs", "13"),
    ("stacks/parked",),
    ("stacks/subinterpreters",),
    ("zombie_children", "sick"),
    ("zombie_children", "healthy"),
]


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: "-".join(map(str, case)))
def test_every_program_reaches_its_state_and_is_reaped(
    case: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program says that it is ready, complains about nothing, and leaves no process and no open port."""
    monkeypatch.chdir(tmp_path)
    with service(*case) as running:
        assert running.pid in group_members(running.pid)
        assert running.stderr == ""
    assert_gone(running)


@pytest.mark.parametrize("python", oldest_and_newest(), ids=str)
def test_the_plain_programs_run_on_old_and_new_interpreters(
    python: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every program without a framework runs on the oldest and on the newest Python there is."""
    monkeypatch.chdir(tmp_path)
    for case in PLAIN:
        if case[0] != "memory_limit" and case[:2] != ("blocked_loop", "blocked-cpu"):  # slow, and nothing version-bound
            with service(str(case[0]), *case[1:], python=python) as running:
                assert running.stderr == ""
            assert_gone(running)


def test_the_hot_function_takes_a_core_or_a_twentieth() -> None:
    """Sick and healthy differ in how much of a core the same function takes."""
    with service("cpu_hotspot", "sick") as sick, service("cpu_hotspot", "healthy") as healthy:
        idle = cpu_s(healthy.pid)
        use_cpu(sick.pid, 0.5)
        assert cpu_s(healthy.pid) - idle < 0.25


def test_seven_workers_hang_on_the_dependency() -> None:
    """Each of the 7 workers has its own connection to the dependency, asked, and got no byte back."""
    with service("hanging_dependency", "sick") as running:
        peers = [peer.raddr for peer in connections(running.pid)]
        assert [peer.port for peer in peers] == [running.facts["dependency_port"]] * 7
        assert psutil.Process(running.pid).num_threads() == 1 + 7
        assert [child.pid for child in psutil.Process(running.pid).children()] == [running.facts["dependency_pid"]]


def test_files_leak_13_a_second_from_23_on() -> None:
    """The sick program holds 23 descriptors of its own file when it is ready, the healthy one none."""
    with service("fd_leak", "sick") as sick, service("fd_leak", "healthy") as healthy:
        assert open_paths(sick.pid).count(sick.facts["path"]) >= 23
        assert open_paths(healthy.pid).count(healthy.facts["path"]) <= 1


def test_sockets_stay_in_close_wait() -> None:
    """The sick program has 23 sockets in CLOSE_WAIT when it is ready, the healthy one none."""
    with service("socket_leak", "sick") as sick, service("socket_leak", "healthy") as healthy:
        assert [peer.status for peer in connections(sick.pid)].count(psutil.CONN_CLOSE_WAIT) >= 23
        assert [peer.status for peer in connections(healthy.pid)].count(psutil.CONN_CLOSE_WAIT) <= 1


def test_zombies_are_kept_or_reaped() -> None:
    """The sick program has exactly 7 zombies, the healthy one no child at all."""
    with service("zombie_children", "sick") as sick, service("zombie_children", "healthy") as healthy:
        children = psutil.Process(sick.pid).children()
        assert sorted(child.pid for child in children) == sorted(sick.facts["children"])
        assert [child.status() for child in children] == [psutil.STATUS_ZOMBIE] * 7
        assert psutil.Process(healthy.pid).children() == []


def test_names_and_arguments_beyond_ascii_arrive() -> None:
    """A command line that is not UTF-8 reaches the program byte for byte."""
    with service("unicode_name", NOT_UTF8) as running:
        assert Path(f"/proc/{running.pid}/cmdline").read_bytes().split(b"\0")[2] == NOT_UTF8
        assert running.facts["threads"] == ["заказ-🐍", "größe-ß"]


def test_the_idle_ones_have_the_threads_they_promise() -> None:
    """Workers of an executor and listeners of a broker are there when the program is ready."""
    with service("idle_executor") as executor, service("consumer") as consumer:
        assert psutil.Process(executor.pid).num_threads() == 1 + 1 + 7
        ports = [peer.raddr.port for peer in connections(consumer.pid)]
        assert ports == [consumer.facts["broker_port"]] * 3


def test_memory_stays_within_its_control_group() -> None:
    """A program enters the group before it fills its memory, so the group is charged for all of it."""
    with control_group(memory_mib=251) as groups, service("memory_limit", "sick", groups=groups) as running:
        (group,) = groups
        assert str(running.pid) in (group / "cgroup.procs").read_text().split()
        assert psutil.Process(running.pid).memory_info().rss > 229 * 1024 * 1024
        charged = next(file for name in ("memory.current", "memory.usage_in_bytes") if (file := group / name).exists())
        assert 229 * 1024 * 1024 < int(charged.read_text()) <= 251 * 1024 * 1024
    assert not group.exists()


def test_a_quota_throttles() -> None:
    """The threads of the sick program are throttled by a group with a tenth of a core."""
    with control_group(cpu_cores=0.1) as groups, service("cpu_quota", "sick", groups=groups) as running:
        while "nr_throttled 0\n" in (groups[0] / "cpu.stat").read_text():
            assert group_members(running.pid), "it was never throttled before its own alarm ended it"


def test_a_slow_disk_stalls(tmp_path: Path) -> None:
    """On a disk with few writes a second the journal's thread is often found in uninterruptible sleep."""
    with control_group(slow_disk=tmp_path) as groups:
        with service("disk_stall", "sick", str(tmp_path), groups=groups) as running:
            tasks = Path(f"/proc/{running.pid}/task").iterdir()
            (thread,) = (task for task in tasks if task.name != str(running.pid))
            states, until = Counter[str](), time.monotonic() + 1
            while time.monotonic() < until:
                states[(thread / "stat").read_text().rpartition(")")[2].split()[0]] += 1
        assert states["D"] > 0.25 * states.total()


@pytest.mark.parametrize(("worker_class", "threads"), [("gthread", 7), ("sync", 1)])
def test_gunicorn_is_ready_when_all_workers_are(worker_class: str, threads: int) -> None:
    """Both workers of a gunicorn are its children, it asks the dependency, and none of it is left."""
    with dependency(0.01) as upstream:
        with gunicorn(
            workers=2, threads=threads, worker_class=worker_class, env={"DEPENDENCY_URL": upstream.url}
        ) as server:
            assert sorted(child.pid for child in psutil.Process(server.pid).children()) == server.facts["workers"]
            assert get(f"{server.url}/orders") == b"ok"
            assert json.loads(get(f"{server.url}/price")) == {"discount": 100}
        assert_gone(server)
    assert_gone(upstream)


@pytest.mark.parametrize("fault", ["", "blocked"])
@pytest.mark.parametrize(("loop", "workers"), [("asyncio", 1), ("uvloop", 1), ("asyncio", 2)])
def test_uvicorn_is_ready_when_all_workers_are(loop: str, workers: int, fault: str) -> None:
    """Either loop, alone or with spawned workers, answers through the loop and through the thread pool."""
    with dependency(0.01) as upstream:
        with uvicorn(workers=workers, loop=loop, env={"DEPENDENCY_URL": upstream.url, "FAULT": fault}) as server:
            assert len(set(server.facts["workers"]) & set(group_members(server.pid))) == workers
            assert get(f"{server.url}/orders") == b'"ok"'
            assert get(f"{server.url}/sync") == b'"ok"'
        assert_gone(server)


def test_load_is_ready_when_every_connection_has_asked() -> None:
    """Thirteen clients of a service that never answers are all connected, and have nothing to count."""
    with dependency("hang") as upstream, load(upstream.url, 13) as clients:
        assert len(connections(clients.pid)) == 13
        assert json.loads(clients.finish()) == {"answers": 0, "errors": 0}


def test_load_counts_answers_and_ends_by_itself() -> None:
    """The load is bounded: after its seconds it leaves, having counted what it got."""
    with dependency(0.01) as upstream, load(upstream.url, 3, pause=0.01, seconds=0.5) as clients:
        wait_for([os.pidfd_open(clients.pid)])
        totals = json.loads(clients.finish())
        assert totals["answers"] >= 3
        assert totals["errors"] == 0


def test_a_program_that_leaves_in_order_has_its_last_words() -> None:
    """Released, the short-lived one exits with 0 and the counting one prints its count."""
    with service("short_lived") as short, service("many_threads", "7", "13", "0.01") as many:
        assert short.finish() == ""
        assert short.returncode == 0
        assert set(json.loads(many.finish())) == {"units", "seconds"}


def test_a_program_that_fails_is_named_with_its_own_words() -> None:
    """A program that dies before it is ready fails the test with what it wrote to stderr."""
    with pytest.raises(NotReady, match=r"(?s)ended before it was ready.*IndexError"), service("cpu_hotspot"):
        pass
    assert psutil.Process().children() == []


def test_a_program_that_takes_too_long_is_ended() -> None:
    """A program that is not ready in time fails the test and is not left behind."""
    late = service("memory_limit", "sick", deadline=0.0)
    with pytest.raises(NotReady, match="was not ready within"), late:
        pass
    assert psutil.Process().children() == []


@pytest.mark.parametrize(
    "start",
    [
        "service('hanging_dependency', 'sick')",
        "service('cpu_starved', 'sick')",
        "gunicorn(workers=2)",
        "uvicorn(workers=2)",
    ],
)
def test_no_program_outlives_a_test_that_is_killed(start: str) -> None:
    """A test that dies of SIGKILL takes every process of its programs with it."""
    code = f"from services import *\nwith {start} as s: print(*group_members(s.pid), flush=True); input()"
    command = [sys.executable, "-c", code]
    here = Path(__file__).parent
    with subprocess.Popen(command, cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as test:
        assert test.stdout is not None
        programs = [os.pidfd_open(int(pid)) for pid in test.stdout.readline().split()]
        assert programs
        test.send_signal(signal.SIGKILL)
        wait_for(programs)


def test_interpreters_are_found_once_each() -> None:
    """The interpreter that runs the tests is among those found, and no version twice."""
    found = [interpreter.version for interpreter in interpreters()]
    assert sys.version_info[:3] in found
    assert found == sorted(set(found))
    assert found[0] >= (3, 8)


@pytest.mark.parametrize("python", [python for python in interpreters() if python.root], ids=str)
def test_a_program_runs_in_a_root_of_its_own(python: Interpreter) -> None:
    """An interpreter that sees nothing of this machine is handed the program, and nothing of that is left there."""
    with service("unicode_name", NOT_UTF8, python=python) as running:
        assert Path(f"/proc/{running.pid}/root").readlink() == Path(str(python.root))
        assert running.stderr == ""
    assert_gone(running)
    assert list(Path(str(python.root), "tmp").glob("doctor-test-*")) == []


@pytest.mark.parametrize(("program", "marker"), [("cpu_hotspot", "hot"), ("hanging_dependency", "call")])
def test_a_marked_line_is_found(program: str, marker: str) -> None:
    """`line_of` gives the number of the one line that carries the marker."""
    lines = (PROGRAMS / f"{program}.py").read_text(encoding="utf-8").splitlines()
    assert f"# marker: {marker}" in lines[line_of(program, marker) - 1]


def test_doctor_runs_as_a_user_runs_it() -> None:
    """A run of doctor ends with an exit code and parses JSON only where that was asked for."""
    done = run_doctor("--version")
    assert done.exit_code == 0
    assert done.json is None


def assert_gone(running: Service) -> None:
    """No process of the service runs, and none of the ports it named is open."""
    assert group_members(running.pid) == []
    assert not psutil.pid_exists(running.pid)
    for name, value in running.facts.items():
        if name.endswith("port"):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", value)).close()


def connections(pid: int) -> Sequence[Any]:
    """The TCP connections of one process."""
    return psutil.Process(pid).net_connections("tcp")


def open_paths(pid: int) -> list[str]:
    """What the descriptors of one process lead to."""
    return [file.path for file in psutil.Process(pid).open_files()]


def cpu_s(pid: int) -> float:
    """The CPU time a process has used so far."""
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def use_cpu(pid: int, seconds: float) -> None:
    """Wait until a process has used so much CPU; one that computes nothing is ended by its own alarm."""
    until = cpu_s(pid) + seconds
    while cpu_s(pid) < until:
        pass


def get(url: str) -> bytes:
    """The body of an answer."""
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310  # loopback
        return bytes(response.read())


def wait_for(pidfds: list[int]) -> None:
    """Wait until processes have ended, and close their descriptors."""
    with ExitStack() as stack:
        close: Callable[[int], None] = os.close
        for pidfd in pidfds:
            stack.callback(close, pidfd)
        waiting = set(pidfds)
        while waiting:
            ended, _, _ = select.select(waiting, [], [], 10.0)
            assert ended, "a process does not end"
            waiting -= set(ended)
