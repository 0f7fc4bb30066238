"""Starts the shop, its inventory and its customers, breaks it, and takes everything down again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

from doctor.demo.faults import Fault
from doctor.errors import DoctorError, MissingExtra

THREADS = 7
CUSTOMERS = 13
_START_TIMEOUT_S = 20.0


@contextmanager
def broken_shop(fault: Fault) -> Iterator[int]:
    """A running shop with this fault showing; the value is the PID of its gunicorn master.

    Raises:
        MissingExtra: gunicorn or Flask is not installed.
        DoctorError: the shop did not start.
    """
    for package in ("gunicorn", "flask"):
        if find_spec(package) is None:
            raise MissingExtra(
                "missing-extra", f"the demo needs {package}", "pip install 'service-doctor[demo]', then doctor demo"
            )
    with ExitStack() as stack:
        with _uninterrupted():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doctor-demo-")))
        with as_file(files("doctor.demo").joinpath("shop")) as source:
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        inventory = stack.enter_context(_program(folder, "inventory.py"))
        url, gunicorn = stack.enter_context(_gunicorn(folder, f"http://127.0.0.1:{_line(inventory)}"))
        customers = stack.enter_context(_program(folder, "customers.py", url + fault.page, str(CUSTOMERS)))
        _line(customers)
        if fault.inventory_hangs:
            _break(inventory)
        yield gunicorn.pid


def _break(inventory: subprocess.Popen[str]) -> None:
    """Lets the inventory hang, and waits until it holds every worker thread of the shop."""
    if inventory.stdin:
        inventory.stdin.write("!")
        inventory.stdin.flush()
    for _ in range(THREADS):
        _line(inventory)


@contextmanager
def _gunicorn(folder: Path, inventory_url: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Gunicorn on a socket that is bound here, so that its port is known and nobody else's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        arguments = ["-m", "gunicorn", "shop:app", "--bind", f"fd://{listener.fileno()}", "--workers", "1"]
        arguments += ["--threads", str(THREADS), "--timeout", "600", "--log-level", "critical"]
        environment = {"INVENTORY_URL": inventory_url, "PYTHONDONTWRITEBYTECODE": "1"}
        with _process(folder, arguments, environment, keep=(listener.fileno(),)) as process:
            _await_health(url)
            yield url, process


def _await_health(url: str) -> None:
    """The kernel holds the connection until a worker is there to answer it."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=_START_TIMEOUT_S) as answer:  # noqa: S310 - loopback
            answer.read()
    except OSError as error:
        raise _not_started(f"the shop did not answer: {error}") from error


@contextmanager
def _program(folder: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with _process(folder, [str(folder / name), *arguments], {}) as process:
        yield process


@contextmanager
def _process(
    folder: Path, arguments: list[str], environment: dict[str, str], keep: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A Python process in a session of its own, so that Ctrl-C reaches doctor alone, which then ends it."""
    process = None
    try:
        with _uninterrupted():
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env=os.environ | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                pass_fds=keep,
                start_new_session=True,
            )
        yield process
    finally:
        if process:
            with _uninterrupted():
                _end(process)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Puts off an interrupt to the end of the block: one within Popen would leave a process that nobody knows."""
    interrupts: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: interrupts.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupts:
        raise KeyboardInterrupt


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a program and its workers at once: they hold nothing worth a graceful farewell."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def _line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise _not_started("a part of it ended before it was ready")
    return line.strip()


def _not_started(reason: str) -> DoctorError:
    return DoctorError("demo-failed", f"the demo shop did not start: {reason}", "try again: doctor demo -v")
