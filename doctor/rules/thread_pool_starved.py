"""`thread-pool-starved`: every worker of a pool is stuck in the middle of its work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from doctor.model.evidence.process import Process
from doctor.model.evidence.stacks import Stacks
from doctor.model.evidence.threads import Threads
from doctor.model.finding import Finding
from doctor.model.view import ProcessView
from doctor.model.work import Blocked, Pool, blocked, pools
from doctor.rules.base import NotVisible, Rule


class ThreadPoolStarved(Rule):
    """Every worker of a thread pool is blocked, so new work waits although the CPU is free.

    Symptom: requests hang or time out, the CPU is idle, health checks on the same pool fail too.
    Evidence: threads with the same root function and name; the unbroken waits of each in the middle of work; requests
    that nobody reads meanwhile.
    Threshold: at least two workers, all blocked for a second at a time and for half of the window.
    Not to be confused with: idle workers in Queue.get; a pool that is full but finishes its work; a thread made for
    each request, where there is always room for one more.
    """

    needs = (Process, Threads, Stacks)
    can_cause = ("event-loop-blocked",)

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """One finding a pool."""
        if not process[Threads].syscalls_readable:
            raise NotVisible(
                Threads, "system calls of the threads may not be read", "doctor preflight names the missing right"
            )
        for pool in pools(process):
            if len(pool.threads) < self.threshold("threads").value:
                continue
            stuck = [self._stuck(process, thread_waits) for thread_waits in self._waits(pool)]
            if all(stuck):
                yield self._finding(process, pool, [max(waits, key=lambda one: one.run.duration_s) for waits in stuck])

    def _waits(self, pool: Pool) -> Iterator[list[Blocked]]:
        for thread in pool.threads:
            yield list(blocked(thread, at_least_s=self.threshold("blocked").value))

    def _stuck(self, process: ProcessView, waits: list[Blocked]) -> list[Blocked]:
        """The waits of one worker, if they fill enough of the window."""
        least_s = self.threshold("share_of_window").value * process.window_s
        return waits if sum(one.run.duration_s for one in waits) >= least_s else []

    def _finding(self, process: ProcessView, pool: Pool, stuck: Sequence[Blocked]) -> Finding:
        count = len(pool.threads)
        queue = _queue(process)
        shortest_s = min(one.run.duration_s for one in stuck)
        reason, alike = Counter(_waits_on(one) for one in stuck).most_common(1)[0]
        whole_window = shortest_s >= self.threshold("whole_window").value * process.watched_s
        return Finding(
            level="error" if queue or whole_window else "warning",
            confidence="confirmed" if queue and whole_window else "probable",
            title=f"all {count} threads of {pool.name or 'the pool'} are stuck, {alike} of them {reason}",
            explanation=(
                "No worker is free, so new work waits behind them and the CPU stays idle. More threads would only get "
                "stuck as well: free these first, by a timeout on what they wait for."
            ),
            where=tuple(
                dict.fromkeys(where for one in stuck if (where := one.thread.application_location(one.frames)))
            ),
            subjects=(
                f"pool:{pool.name}",
                *(one.thread.subject for one in stuck),
                *dict.fromkeys(f"peer:{one.wait.peer}" for one in stuck if one.wait.peer),
            ),
            measurements={
                "threads": self.threshold("threads").measured(count),
                "blocked": self.threshold("blocked").measured(shortest_s),
            },
            evidence=(
                f"{count} of {count} workers blocked, each for at least {shortest_s:.1f} s without a break",
                f"the process uses {process[Process].cpu_cores:.2f} cores",
                *queue,
            ),
            fingerprint=pool.name,
        )


def _waits_on(one: Blocked) -> str:
    """What a worker waits for, in words."""
    target = one.wait.peer or one.wait.resource
    words = {"lock": "for a lock", "sleep": "asleep", "child": "for a child process", "disk": "for the disk"}
    return f"in {one.wait.syscall} on {target}" if target else words.get(one.wait.reason, f"in {one.wait.syscall}")


def _queue(process: ProcessView) -> list[str]:
    """Requests that wait meanwhile, if any can be seen."""
    samples = process[Process].samples
    waiting = [(sample.backlog or 0) + (sample.unread_inbound or 0) for sample in samples]
    inbound = [(sample.fds or {}).get("tcp-inbound", 0) for sample in samples]
    if waiting and min(waiting[len(waiting) // 2 :]) > 0:
        return [f"{waiting[-1]} connections wait with requests that nobody has read, of {inbound[-1]} open ones"]
    return []
