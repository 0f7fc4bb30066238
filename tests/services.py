"""Starts the programs of `fixtures/services` and doctor itself, for real, and leaves nothing of them behind.

A program is handed two pipes (see `fixtures/services/handshake.py`): through one it says that it is in the state to
look at, the other ends it when the test is gone, even by SIGKILL. Nothing here sleeps or polls.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from interpreters import OWN, Interpreter

PROGRAMS = Path(__file__).resolve().parents[1] / "fixtures" / "services"

_CLEAR_OF_WORKERS = 200
"""Descriptors are numbered from here, so that a spawned worker that inherits none has nothing else at that number."""


class NotReady(Exception):
    """A program ended, or took too long, before it said that it was ready."""


class Service:
    """A running program that has said it is ready."""

    def __init__(self, process: subprocess.Popen[bytes], life: int, output: IO[bytes], errors: IO[bytes]) -> None:
        self.pid = process.pid
        self.facts: dict[str, Any] = {}
        """What the program said when it was ready."""
        self._process = process
        self._life: int | None = life
        self._output = output
        self._errors = errors

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.facts["port"])

    @property
    def url(self) -> str:
        """Where it listens, for HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return _content(self._output)

    @property
    def stderr(self) -> str:
        """What it has complained about so far."""
        return _content(self._errors)

    @property
    def returncode(self) -> int | None:
        """How it ended; None as long as nobody waited for it."""
        return self._process.returncode

    def release(self) -> None:
        """Close its life pipe: a program that waits for that leaves by itself, any other is ended by the kernel."""
        if self._life is not None:
            os.close(self._life)
            self._life = None

    def finish(self, timeout: float = 10.0) -> str:
        """Release it, wait until it is gone, and return all it printed."""
        self.release()
        pidfd = os.pidfd_open(self.pid)
        try:
            gone, _, _ = select.select([pidfd], [], [], timeout)
        finally:
            os.close(pidfd)
        if not gone:
            raise NotReady(f"process {self.pid} did not end within {timeout} s of being released\n{self.stderr}")
        self.kill()
        return self.stdout

    def kill(self) -> None:
        """End its whole process group and wait until every process of it is gone."""
        if self._process.returncode is None:  # its PID, which is the group's id, is not given to anybody else
            while members := group_members(self.pid):
                _kill(self.pid, members)
            self._process.wait()


@contextmanager
def service(
    program: str,
    *args: str | bytes,
    python: Interpreter = OWN,
    env: Mapping[str, str] | None = None,
    groups: Sequence[Path] = (),
    deadline: float = 20.0,
) -> Iterator[Service]:
    """A program of `fixtures/services` in the state its docstring names, on any interpreter.

    `groups` are folders of control groups to run in, see `control_group`.
    """
    with python.sees(PROGRAMS) as programs:
        environment = {"PYTHONPATH": str(programs), **(env or {}), "CGROUPS": ":".join(map(str, groups))}
        argv = [*python.command, str(programs / f"{program}.py"), *args]
        with running(argv, env=environment, deadline=deadline) as target:
            yield target


def dependency(delay: float | str) -> AbstractContextManager[Service]:
    """An HTTP service that answers after so many seconds, or never with "hang"."""
    return service("dependency", str(delay))


def load(url: str, connections: int, *, pause: float = 0.1, seconds: float = 60.0) -> AbstractContextManager[Service]:
    """Clients of a URL, each asking again `pause` seconds after it was answered; `finish` returns their totals."""
    return service("load", url, str(connections), str(pause), str(seconds))


def gunicorn(
    app: str = "flask_shop:app",
    *options: str,
    workers: int = 1,
    threads: int = 1,
    worker_class: str = "gthread",
    env: Mapping[str, str] | None = None,
) -> AbstractContextManager[Service]:
    """A gunicorn whose workers are all up; facts: port, workers (PIDs)."""
    argv = [_script("gunicorn"), app, "--config", str(PROGRAMS / "gunicorn_ready.py"), "--bind", "127.0.0.1:0"]
    argv += ["--chdir", str(PROGRAMS), "--workers", str(workers), "--threads", str(threads)]
    argv += ["--worker-class", worker_class, "--no-control-socket", *options]
    return running(argv, env={**(env or {}), "PYTHONPATH": str(PROGRAMS)}, says_ready=workers)


@contextmanager
def uvicorn(
    app: str = "fastapi_shop:app",
    *options: str,
    workers: int = 1,
    loop: str = "asyncio",
    env: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """A uvicorn whose workers are all up; facts: port, workers (PIDs; its own where it has but one)."""
    with socket.create_server(("127.0.0.1", 0), backlog=127) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # uvicorn takes what it is handed for AF_UNIX
        argv = [_script("uvicorn"), app, "--fd", str(listener.fileno()), "--workers", str(workers), "--loop", loop]
        argv += ["--app-dir", str(PROGRAMS), *options]
        ready = running(argv, env=env or {}, says_ready=workers, inherited=(listener.fileno(),))
        port = listener.getsockname()[1]
        with ready as server:
            listener.close()
            server.facts["port"] = port
            yield server


@contextmanager
def running(
    argv: Sequence[str | bytes],
    *,
    env: Mapping[str, str],
    says_ready: int | None = None,
    inherited: Sequence[int] = (),
    deadline: float = 20.0,
) -> Iterator[Service]:
    """A program from the moment it is ready to the end of the block; then its whole process group is gone.

    Servers with workers say it once a worker: `says_ready` times, and `facts["workers"]` has their PIDs.
    """
    with ExitStack() as stack:
        ready, says, lives, life = (_high(end) for end in (*os.pipe(), *os.pipe()))
        stack.callback(os.close, ready)
        output, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        with _closing(says, lives):
            process = subprocess.Popen(
                argv,
                env={**os.environ, **env, "READY_FD": str(says), "LIFE_FD": str(lives)},
                pass_fds=(says, lives, *inherited),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        target = Service(process, life, output, errors)
        stack.callback(target.release)
        stack.callback(target.kill)
        lines = _await_ready(target, ready, says_ready or 1, deadline)
        target.facts = lines[0]
        if says_ready:
            target.facts["workers"] = sorted(line.pop("pid") for line in lines)
        yield target


@contextmanager
def control_group(
    *, cpu_cores: float | None = None, memory_mib: int | None = None, slow_disk: Path | None = None
) -> Iterator[list[Path]]:
    """A new control group with limits, version 1 or 2; skips the test where it may not be made.

    The disk under the folder `slow_disk` does 97 writes a second.
    """
    root = Path("/sys/fs/cgroup")
    unified = (root / "cgroup.controllers").exists()
    groups: list[Path] = []
    try:
        for controller, file, limit in _limits(unified, cpu_cores, memory_mib, slow_disk):
            if unified:
                (root / "cgroup.subtree_control").write_text(f"+{controller}")
            if not groups or not unified:
                parent = root if unified else root / controller
                groups.append(Path(tempfile.mkdtemp(prefix="doctor-test-", dir=parent)))
            (groups[-1] / file).write_text(limit)
    except OSError as error:
        _remove(groups)
        pytest.skip(f"no such control group may be made here: {error}")
    try:
        yield groups
    finally:
        _remove(groups)


@dataclass(frozen=True)
class Completed:
    """What a run of doctor came to."""

    exit_code: int
    stdout: str
    stderr: str
    json: Any
    """The output parsed, where it was asked for as JSON and is."""


def run_doctor(*args: str, timeout: float = 60.0, env: Mapping[str, str] | None = None) -> Completed:
    """`python -m doctor …` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "doctor", *args],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    parsed = None
    if "json" in args or "--format=json" in args:
        with suppress(ValueError):
            parsed = json.loads(done.stdout)
    return Completed(done.returncode, done.stdout, done.stderr, parsed)


def line_of(program: str, marker: str) -> int:
    """The number of the line of a program that ends with "# marker: …"."""
    lines = (PROGRAMS / f"{program}.py").read_text(encoding="utf-8").splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if line.endswith(f"# marker: {marker}"))
    return number


def group_members(group: int) -> list[int]:
    """The processes of a process group that still run."""
    members = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                members.append(pid)
    return members


def _kill(group: int, members: Sequence[int]) -> None:
    with ExitStack() as stack:
        waiting = set()
        for pid in members:
            with suppress(ProcessLookupError):
                waiting.add(os.pidfd_open(pid))
        for pidfd in waiting:
            stack.callback(os.close, pidfd)
        os.killpg(group, signal.SIGKILL)
        while waiting:
            gone, _, _ = select.select(waiting, [], [], 10.0)
            if not gone:
                raise NotReady(f"processes {members} of group {group} do not end")
            waiting -= set(gone)


def _await_ready(target: Service, ready: int, count: int, deadline: float) -> list[dict[str, Any]]:
    until, said = time.monotonic() + deadline, b""
    pidfd = os.pidfd_open(target.pid)
    try:
        while said.count(b"\n") < count:
            heard, _, _ = select.select([ready, pidfd], [], [], max(0.0, until - time.monotonic()))
            more = os.read(ready, 65536) if ready in heard else b""
            if not more:
                why = "ended before it was ready" if heard else f"was not ready within {deadline} s"
                raise NotReady(f"process {target.pid} {why}\n{target.stderr}")
            said += more
    finally:
        os.close(pidfd)
    return [json.loads(line) for line in said.splitlines()]


def _high(fd: int) -> int:
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _CLEAR_OF_WORKERS)
    os.close(fd)
    return copy


@contextmanager
def _closing(*fds: int) -> Iterator[None]:
    try:
        yield
    finally:
        for fd in fds:
            os.close(fd)


def _content(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _limits(
    unified: bool, cpu_cores: float | None, memory_mib: int | None, slow_disk: Path | None
) -> Iterator[tuple[str, str, str]]:
    """Controller, file and content for each limit asked for."""
    if cpu_cores is not None:
        quota = str(round(cpu_cores * 100_000))
        yield ("cpu", "cpu.max", f"{quota} 100000") if unified else ("cpu", "cpu.cfs_quota_us", quota)
    if memory_mib is not None:
        yield "memory", "memory.max" if unified else "memory.limit_in_bytes", str(memory_mib * 1024 * 1024)
    if slow_disk is not None:
        device = slow_disk.stat().st_dev
        disk = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve(strict=True)
        number = ((disk.parent if (disk / "partition").exists() else disk) / "dev").read_text().strip()
        if unified:
            yield "io", "io.max", f"{number} wiops=97"
        else:
            yield "blkio", "blkio.throttle.write_iops_device", f"{number} 97"


def _remove(groups: Sequence[Path]) -> None:
    for group in groups:
        group.rmdir()
