"""Which kernel thread a pthread is, on the versions whose threads do not know it themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from doctor.procfs.handle import ProcDir
from doctor.remote.thread_ids import kernel_ids
from interpreters import Interpreter, interpreters
from services import Service, service


@pytest.fixture(params=[python for python in interpreters() if python.version < (3, 11)], ids=str)
def target(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A program with 21 threads that tells both ids of each."""
    python: Interpreter = request.param
    with service("waits", python=python) as running:
        yield running


def told(target: Service) -> dict[int, int]:
    """What the program itself says: `threading.get_native_id()` by `threading.get_ident()`."""
    return {thread["pthread"]: thread["tid"] for thread in target.facts["threads"].values()}


def test_every_thread_s_kernel_id_is_found(target: Service) -> None:
    """The ids found from outside are those the program reports, for all of its threads."""
    proc = ProcDir(target.pid)
    assert len(told(target)) > 13
    assert kernel_ids(proc, list(told(target)), proc.tids()) == told(target)
    proc.close()


def test_threads_of_another_process_fit_nowhere(target: Service) -> None:
    """Where no offset fits all threads nothing is claimed."""
    proc = ProcDir(target.pid)
    pthreads = list(told(target))
    assert kernel_ids(proc, pthreads, [1, 2, 3]) == {}
    assert kernel_ids(proc, [8, 16, 1 << 60], proc.tids()) == {}
    assert kernel_ids(proc, [], proc.tids()) == {}
    proc.close()


def test_a_thread_that_is_gone_does_not_disturb(target: Service) -> None:
    """A pthread whose memory was given back is left out, and the others are still found."""
    proc = ProcDir(target.pid)
    assert kernel_ids(proc, [*told(target), 1 << 60], proc.tids()) == told(target)
    proc.close()
