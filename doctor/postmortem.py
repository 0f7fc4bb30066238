"""What a core file tells: a bundle with the stacks of a process that is no more."""

from __future__ import annotations

import datetime
import socket
import time
from pathlib import Path

from doctor.errors import CannotRead
from doctor.model.bundle import Bundle, Cost, Skipped, Window
from doctor.model.evidence.stacks import Frame, StackRun, Stacks, ThreadStacks
from doctor.model.target import ProcessRef, Target
from doctor.remote.attach import Attached, attach
from doctor.remote.core import CoreProcess
from doctor.remote.interpreters import ThreadState
from doctor.remote.reader import Unreadable
from doctor.remote.sampler import TORN, Sample, Sampler
from doctor.remote.thread_names import thread_names


def read_core(path: Path) -> Bundle:
    """One look at the process that left a core file; the moment is when the file was written.

    Raises:
        CannotRead, UnknownLayout: it holds no interpreter that doctor can read.
    """
    began_s = time.process_time()
    process = CoreProcess(path)
    attached = attach(process)
    try:
        stacks = _stacks(process.pid, attached)
    except Unreadable as error:
        raise CannotRead(
            "core-without-data",
            f"{path} holds no readable threads: {error}",
            "have it written whole: ulimit -c unlimited",
        ) from error
    written = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.timezone.utc).isoformat(timespec="seconds")
    return Bundle(
        target=Target(root=_reference(process, attached, written), host=socket.gethostname()),
        window=Window(started_at=written, duration_s=0.0),
        evidence=(stacks,),
        skipped=(_nothing_but_stacks(process),),
        cost=Cost(doctor_cpu_s=round(time.process_time() - began_s, 3), bytes_read=process.memory.bytes_read),
    )


def _reference(process: CoreProcess, attached: Attached, written: str) -> ProcessRef:
    return ProcessRef(
        pid=process.pid,
        ppid=0,
        start_ticks=0,
        started_at=written,
        cmdline=tuple(process.command.split()),
        exe=attached.runtime.binaries[0].path,
        python=str(attached.runtime.version),
    )


def _nothing_but_stacks(process: CoreProcess) -> Skipped:
    return Skipped(
        collector="threads",
        reason=f"{process.name} is a core file, which tells no waits and nothing over time",
        remedy="look at the process while it lives: doctor diagnose PID",
        pids=(process.pid,),
        decisive=True,
    )


def _stacks(pid: int, attached: Attached) -> Stacks:
    reader, runtime = attached
    sampler = Sampler(reader, runtime.address)
    sample = sampler.sample()
    names: dict[int, str] = {}
    for interpreter in dict.fromkeys(thread.interpreter for thread in sample.threads):
        names |= thread_names(reader, interpreter)
    frames: dict[Frame, int] = {}
    paths = tuple(tuple(frames.setdefault(frame, len(frames)) for frame in stack) for stack in sampler.stacks)
    return Stacks(
        pid=pid,
        sampler="doctor",
        samples=1,
        errors=0,
        dropped=int((sample.stacks == TORN).sum()),
        collecting=int(sample.collecting),
        frames=tuple(frames),
        stacks=paths,
        threads=tuple(_threads(sample, names)),
    )


def _threads(sample: Sample, names: dict[int, str]) -> list[ThreadStacks]:
    """Whether a thread was on a CPU, a core file does not tell."""
    return [
        ThreadStacks(
            tid=thread.native_thread_id,
            name=names.get(thread.thread_id),
            runs=(StackRun(0.0, 0.0, 1, stack, None, _holds_gil(sample, thread)),),
        )
        for thread, stack in zip(sample.threads, sample.stacks.tolist(), strict=True)
        if stack != TORN
    ]


def _holds_gil(sample: Sample, thread: ThreadState) -> bool:
    return thread.address in sample.gil_holders
