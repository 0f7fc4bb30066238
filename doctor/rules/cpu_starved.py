"""`cpu-starved`: threads are runnable and get no CPU."""

from __future__ import annotations

from collections.abc import Iterator

from doctor.model.evidence.host import Host
from doctor.model.evidence.process import Process
from doctor.model.evidence.threads import Threads
from doctor.model.finding import Finding
from doctor.model.view import ProcessView
from doctor.rules.base import NotVisible, Rule


class CpuStarved(Rule):
    """Threads are ready to run and wait for a CPU that others have.

    Symptom: everything is slower at once, CPU use of the service is lower than usual, the host is busy.
    Evidence: run-queue time of every thread (schedstat), against the time it ran; pressure of the host's CPUs.
    Threshold: half of the time in which the process wanted a CPU was spent waiting; three quarters is an error.
    Not to be confused with: `cpu-throttled`, where a quota and not a neighbour takes the CPU; waiting for the
    interpreter lock, which is not run-queue time.
    """

    needs = (Process, Threads)
    can_cause = ("event-loop-blocked",)

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """At most one finding."""
        ran_s, waited_s = process.cpu_s(process.threads), process.kept_from_cpu_s(process.threads)
        if waited_s is None:
            raise NotVisible(Threads, "this kernel keeps no scheduler statistics", "a kernel with CONFIG_SCHED_INFO")
        wanted_s = ran_s + waited_s
        if wanted_s < self.threshold("demand_cores").value * process.window_s:
            return
        share = waited_s / wanted_s
        slices = sum(thread.activity.slices or 0 for thread in process.threads)
        per_slice_ms = 1000 * (process.runqueue_s(process.threads) or 0.0) / max(1, slices)
        if share < self.threshold("wait_share").value or per_slice_ms < self.threshold("wait_per_slice").value:
            return
        host, needed = process.find(Host), self.threshold("host_pressure").value
        pressed = host is not None and host.pressure is not None and host.pressure.cpu_some >= needed
        yield Finding(
            level="error" if share >= self.threshold("share_error").value else "warning",
            confidence="confirmed" if pressed else "probable",
            title=f"the process waits for a CPU in {share:.0%} of the time it wants to run",
            explanation=(
                "Its threads are runnable, but other work holds the CPUs they may use. Move it or its neighbours, "
                "give it more CPU, or widen its CPU affinity."
            ),
            subjects=(f"process:{process.ref.pid}", *(thread.subject for thread in process.threads)),
            measurements={
                "wait_share": self.threshold("wait_share").measured(share),
                "wait_per_slice": self.threshold("wait_per_slice").measured(per_slice_ms),
            },
            evidence=_evidence(process, ran_s, waited_s, host),
            fingerprint="process",
        )


def _evidence(process: ProcessView, ran_s: float, waited_s: float, host: Host | None) -> tuple[str, ...]:
    lines = [f"it ran for {ran_s:.2f} s and was kept from a CPU for {waited_s:.2f} s, in {process.window_s:.1f} s"]
    cpus = process[Process].cpus
    if host:
        allowed = "" if cpus == host.cpus else f"; the process may use {cpus} of them"
        lines.append(f"load average {host.load_1m:.1f} on {host.cpus} CPUs{allowed}")
        if host.pressure:
            lines.append(f"some task of the host waited for a CPU {host.pressure.cpu_some:.0%} of the time (PSI)")
    return tuple(lines)
