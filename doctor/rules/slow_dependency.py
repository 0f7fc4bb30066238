"""`slow-dependency`: threads wait for an answer of a peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from doctor.model.evidence.stacks import Stacks, application_frame
from doctor.model.evidence.threads import Threads
from doctor.model.finding import Finding, Level, Location
from doctor.model.view import ProcessView
from doctor.model.work import Blocked, blocked, in_request
from doctor.rules.base import NotVisible, Rule


class SlowDependency(Rule):
    """Threads wait for the answer of another service, a database or a cache.

    Symptom: latency and timeouts, little CPU, threads in recv or poll.
    Evidence: each thread's system call, its descriptor, the TCP peer behind it, and how long the thread was not
    scheduled; its Python stack in that time.
    Threshold: unbroken waits of a second that fill half the window, of two threads in the same call or of one that
    serves a request. Five seconds, or a wait for the whole window without a timeout, is an error.
    Not to be confused with: a consumer that waits for the next message; an idle connection of a pool; a client that
    is slow to send its request.
    """

    needs = (Threads, Stacks)
    can_cause = ("thread-pool-starved", "event-loop-blocked")

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """One finding a peer."""
        if not process[Threads].syscalls_readable:
            raise NotVisible(
                Threads, "system calls of the threads may not be read", "doctor preflight names the missing right"
            )
        by_peer: dict[str, list[Blocked]] = {}
        for thread in process.threads:
            for wait in blocked(thread, at_least_s=self.threshold("wait").value):
                if wait.wait.peer:
                    by_peer.setdefault(wait.wait.peer, []).append(wait)
        for peer, waits in by_peer.items():
            dominant = self._dominant(process, waits)
            if dominant:
                yield self._finding(process, peer, dominant)

    def _dominant(self, process: ProcessView, waits: list[Blocked]) -> list[Blocked]:
        """The waits of threads that spend most of the window waiting, if they are more than one lone listener."""
        spent: dict[int, float] = {}
        for one in waits:
            spent[one.thread.activity.tid] = spent.get(one.thread.activity.tid, 0.0) + one.run.duration_s
        least_s = self.threshold("share_of_window").value * process.window_s
        long = [one for one in waits if spent[one.thread.activity.tid] >= least_s]
        in_requests = [one for one in long if in_request(one.frames)]
        return in_requests or (long if _threads_in_one_call(long) >= self.threshold("threads").value else [])

    def _finding(self, process: ProcessView, peer: str, waits: list[Blocked]) -> Finding:
        longest = max(waits, key=lambda one: one.run.duration_s)
        threads = {one.thread.activity.tid: one for one in waits}
        timeout = _timeout(waits)
        return Finding(
            level=self._level(process, longest),
            confidence="confirmed" if in_request(longest.frames) else "probable",
            title=f"{_count(len(threads))} for {peer}, up to {longest.run.duration_s:.1f} s at a time, {timeout}",
            explanation=(
                "The request was sent and the answer does not come. Find out what the peer is busy with; until then "
                "give up sooner: a timeout frees the thread, a circuit breaker saves the next one the wait."
            ),
            where=_places(waits),
            subjects=(f"peer:{peer}", *(one.thread.subject for one in threads.values())),
            measurements={
                "longest_wait": self.threshold("wait").measured(longest.run.duration_s),
                "threads": self.threshold("threads").measured(len(threads)),
            },
            evidence=(
                f"{len(threads)} of {len(process.threads)} threads in {longest.wait.syscall} on a TCP connection "
                f"to {peer}",
                f"longest unbroken wait {longest.run.duration_s:.1f} s of a window of {process.window_s:.1f} s, "
                f"{timeout}",
            ),
            fingerprint=peer,
        )

    def _level(self, process: ProcessView, longest: Blocked) -> Level:
        whole_window = (
            longest.wait.timeout_s is None
            and longest.run.duration_s >= self.threshold("whole_window").value * process.watched_s
        )
        return "error" if whole_window or longest.run.duration_s >= self.threshold("wait_error").value else "warning"


def _threads_in_one_call(waits: Sequence[Blocked]) -> int:
    """How many threads share the most common line of the application."""
    calls: dict[object, set[int]] = {}
    for one in waits:
        calls.setdefault(application_frame(one.frames), set()).add(one.thread.activity.tid)
    return max(map(len, calls.values()), default=0)


def _places(waits: Sequence[Blocked]) -> tuple[Location, ...]:
    """Where each thread waits, the longest wait first."""
    ordered = sorted(waits, key=lambda one: -one.run.duration_s)
    found = (one.thread.application_location(one.frames) for one in ordered)
    return tuple(dict.fromkeys(where for where in found if where))


def _timeout(waits: Sequence[Blocked]) -> str:
    """What is known of timeouts: a blocking read has none, a poll tells its own."""
    timeouts = {one.wait.timeout_s for one in waits}
    if None in timeouts:
        return "no timeout is set"
    return f"with a timeout of {max(one for one in timeouts if one is not None):g} s"


def _count(threads: int) -> str:
    return f"{threads} threads wait" if threads > 1 else "a thread waits"
