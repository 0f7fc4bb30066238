"""`disk-io-stall`: threads sleep uninterruptibly on files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from doctor.model.evidence.host import Host
from doctor.model.evidence.threads import Threads
from doctor.model.finding import Finding, Location
from doctor.model.view import ProcessView, ThreadView
from doctor.rules.base import NotVisible, Rule


class DiskIoStall(Rule):
    """Threads wait for the disk, in a sleep that nothing can interrupt.

    Symptom: the service hangs in bursts, its CPU is low, `ps` shows state D, load rises without CPU use.
    Evidence: ticks that saw a thread in state D within a file operation or a page fault; I/O pressure of the host.
    Threshold: a thread spends a fifth of the window so; half of it is an error.
    Not to be confused with: `slow-dependency`, where a thread waits for a peer on the network; state D in vfork or on
    a kernel lock, which is no disk.
    """

    needs = (Threads,)
    can_cause = ("event-loop-blocked", "thread-pool-starved")

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """One finding for all threads that stall."""
        if not process[Threads].syscalls_readable:
            raise NotVisible(
                Threads, "system calls of the threads may not be read", "doctor preflight names the missing right"
            )
        stalled = [
            (share, thread)
            for thread in process.threads
            if (share := thread.share("disk")) >= self.threshold("share_of_window").value
            and thread.observed_s >= process.window_s / 2
        ]
        if not stalled:
            return
        stalled.sort(key=lambda item: -item[0])
        share = stalled[0][0]
        host = process.find(Host)
        pressed = bool(host and host.pressure and host.pressure.io_some >= self.threshold("io_pressure").value)
        yield Finding(
            level="error" if share >= self.threshold("share_error").value else "warning",
            confidence="confirmed" if pressed else "probable",
            title=f"{_threads(len(stalled))} waiting for the disk, up to {share:.0%} of the time",
            explanation=(
                "Reads, writes or fsync calls on files take longer than the work between them. Look at who else uses "
                "the device, write less often or asynchronously, or move the file to faster storage."
            ),
            where=tuple(where for _, thread in stalled if (where := _location(thread))),
            subjects=(*(thread.subject for _, thread in stalled), *_files(stalled)),
            measurements={"share_of_window": self.threshold("share_of_window").measured(share)},
            evidence=(*_calls(stalled), *_pressure(host)),
            fingerprint="disk",
        )


def _threads(count: int) -> str:
    return f"{count} threads are" if count > 1 else "a thread is"


def _location(thread: ThreadView) -> Location | None:
    """Where the thread stood in the longest of its disk waits that a stack sample fell into."""
    runs = sorted((run for run, _ in thread.waits("disk")), key=lambda run: -run.duration_s)
    return next((where for run in runs if (where := thread.application_location(thread.frames_during(run)))), None)


def _files(stalled: list[tuple[float, ThreadView]]) -> list[str]:
    names = {wait.resource for _, thread in stalled for _, wait in thread.waits("disk") if wait.resource}
    return [f"file:{name}" for name in sorted(names)]


def _calls(stalled: list[tuple[float, ThreadView]]) -> list[str]:
    """The calls that stall, most frequent first."""
    calls: Counter[tuple[str, str]] = Counter()
    for _, thread in stalled:
        for run, wait in thread.waits("disk"):
            calls[wait.syscall or "?", wait.resource or ""] += run.ticks
    total = sum(calls.values())
    return [
        f"{call} on {resource}: {count} of {total} disk waits" if resource else f"{call}: {count} of {total} disk waits"
        for (call, resource), count in calls.most_common(2)
    ]


def _pressure(host: Host | None) -> list[str]:
    if host is None or host.pressure is None:
        return []
    return [f"some task of the host waited for I/O {host.pressure.io_some:.0%} of the time (PSI)"]
