"""`zombie-children`: exited children that nobody waits for."""

from __future__ import annotations

from collections.abc import Iterator

from doctor.model.evidence.process import Process
from doctor.model.evidence.threads import Threads
from doctor.model.finding import Finding
from doctor.model.view import ProcessView
from doctor.rules.base import NotVisible, Rule


class ZombieChildren(Rule):
    """Children have exited and their parent does not wait for them.

    Symptom: `<defunct>` in ps; in the end fork fails with "Resource temporarily unavailable".
    Evidence: children in state Z, by parent, once a second.
    Threshold: three that stay for the whole window, since lazy reaping leaves one or two; growth is an error.
    Not to be confused with: a child that has just exited and is reaped a moment later; children that a parent reaps
    in order, once the one that it waits for has exited.
    """

    needs = (Process,)

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """At most one finding."""
        looks = [set(sample.zombies) for sample in process[Process].samples if sample.zombies is not None]
        if len(looks) < 2:
            raise NotVisible(
                Process, "the window was too short to look for zombies twice", "look longer: --duration 10"
            )
        first, last = looks[0], looks[-1]
        persistent = first.intersection(*looks)
        fresh = last - first
        limit = self.threshold("persistent")
        growing = not first - last and len(fresh) >= limit.value
        if _waits_for_children(process, self.threshold("reaping").value) or (
            len(persistent) < limit.value and not growing
        ):
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


def _waits_for_children(process: ProcessView, share: float) -> bool:
    """Whether the parent's main thread sits in one waitpid, so that it will reap the others in their turn.

    A thread beside it may watch a helper for ever, and short waits show that it reaps others and passes these over.
    """
    if process.find(Threads) is None:
        return False
    main = (thread for thread in process.threads if thread.activity.tid == process.ref.pid)
    return any(run.duration_s >= share * process.window_s for thread in main for run, _ in thread.waits("child"))
