"""`zombie-children`: exited children that nobody waits for."""

from __future__ import annotations

from collections.abc import Iterator

from doctor.model.evidence.process import Process
from doctor.model.finding import Finding
from doctor.model.view import ProcessView
from doctor.rules.base import Rule


class ZombieChildren(Rule):
    """Children have exited and their parent does not wait for them.

    Symptom: `<defunct>` in ps; in the end fork fails with "Resource temporarily unavailable".
    Evidence: children in state Z, by parent, once a second.
    Threshold: three that stay for the whole window, since lazy reaping leaves one or two; growth is an error.
    Not to be confused with: a child that has just exited and is reaped a moment later.
    """

    needs = (Process,)

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """At most one finding."""
        samples = process[Process].samples
        first, last = set(samples[0].zombies), set(samples[-1].zombies)
        persistent = first.intersection(*(sample.zombies for sample in samples))
        fresh = last - first
        limit = self.threshold("persistent")
        growing = not first - last and len(fresh) >= limit.value
        if len(persistent) < limit.value and not growing:
            return
        yield Finding(
            level="error" if growing else "warning",
            confidence="confirmed",
            title=f"{len(last)} children of process {process.ref.pid} are zombies",
            explanation=(
                "An exited child keeps its PID until its parent waits for it. Call wait() or poll() on every "
                "subprocess, or join() on every multiprocessing.Process; a container needs an init as PID 1."
            ),
            subjects=(f"process:{process.ref.pid}",),
            measurements={"persistent": limit.measured(len(persistent))},
            evidence=(
                f"{len(persistent)} of them for the whole window of {process.window_s:.1f} s",
                f"{len(fresh)} new in the window, {len(first - last)} reaped",
                f"PIDs {', '.join(map(str, sorted(last)[:7]))}" + (" …" if len(last) > 7 else ""),
            ),
            fingerprint="children",
        )
