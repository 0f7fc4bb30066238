"""A program of `fixtures/services/stacks` as the sampler sees it, in the terms of `oracle`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from doctor.remote.attach import attach
from doctor.remote.process import Process
from doctor.remote.reader import Reader
from doctor.remote.sampler import TORN, Sample, Sampler
from remote.oracle import Id, Stack, Thread, differences
from remote.parked import live


@dataclass(frozen=True)
class Sampling:
    """A sampler at work on a program."""

    reader: Reader
    sampler: Sampler

    @classmethod
    def of(cls, process: Process) -> Sampling:
        """A new one."""
        reader, runtime = attach(process)
        return cls(reader, Sampler(reader, runtime.address))

    @property
    def by(self) -> Id:
        """The id of a thread that is known."""
        return "tid" if self.reader.layout.thread.native_thread_id is not None else "ident"

    def threads(self, sample: Sample, by: Id) -> list[Thread]:
        """All threads of a sample, without their names, which a sampler does not know; none of them is torn."""
        seen = list(self.stacks(sample, by))
        assert [thread for thread, stack in seen if stack is None] == []
        return [Thread(thread, None, stack or ()) for thread, stack in seen]

    def stacks(self, sample: Sample, by: Id) -> Iterator[tuple[int, Stack | None]]:
        """The id and the stack of each thread, None for a torn one."""
        for thread, number in zip(sample.threads, sample.stacks.tolist(), strict=True):
            known = thread.thread_id if by == "ident" else thread.native_thread_id or 0
            yield known, None if number == TORN else self._stack(number)

    def _stack(self, number: int) -> Stack:
        return tuple((frame.file, frame.line, frame.function) for frame in self.sampler.stacks[number])


@contextmanager
def sampling(pid: int) -> Iterator[Sampling]:
    """A sampler of a live process."""
    with live(pid) as process:
        yield Sampling.of(process)


def nameless(threads: Iterable[Thread]) -> list[Thread]:
    """The threads without their names."""
    return [replace(one, name=None) for one in threads]


def parked_differences(told: list[Thread], seen: list[Thread]) -> str:
    """What was seen of the parked program and is not as the program told; the ninth thread is the one that told."""
    strangers = {one.id for one in seen} - {one.id for one in told}
    assert (len(told), len(seen), len(strangers)) == (8, 9, 1)
    return differences(nameless(told), seen, others=strangers)
