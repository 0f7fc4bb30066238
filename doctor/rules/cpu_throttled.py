"""`cpu-throttled`: the control group's quota stops the process."""

from __future__ import annotations

from collections.abc import Iterator

from doctor.model.evidence.cgroup import Cgroup
from doctor.model.finding import Finding
from doctor.model.view import ProcessView
from doctor.rules.base import Rule


class CpuThrottled(Rule):
    """The CPU quota of a control group stops the process in the middle of its work.

    Symptom: latency in steps of about 100 ms, low average CPU, and a host with idle cores.
    Evidence: nr_periods and nr_throttled of the tightest quota above the process, over the window.
    Threshold: a quarter of the CFS periods throttled, the level at which kubernetes-mixin alerts; half is an error.
    Not to be confused with: `cpu-starved`, where other processes take the CPU and there may be no quota at all.
    """

    needs = (Cgroup,)
    can_cause = ("cpu-starved", "event-loop-blocked", "thread-pool-starved")

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """At most one finding a group."""
        quota = process[Cgroup].cpu
        if quota is None or quota.periods < self.threshold("periods").value:
            return
        share = quota.throttled_periods / quota.periods
        of_time = quota.throttled_s / process.window_s
        if share < self.threshold("share_of_periods").value or of_time < self.threshold("share_of_time").value:
            return
        yield Finding(
            level="error" if share >= self.threshold("share_error").value else "warning",
            confidence="confirmed",
            title=f"the CPU quota of {quota.cores:g} cores stops the service in {share:.0%} of all periods",
            explanation=(
                "The kernel lets the group run until its quota for the period is used up and then stops every process "
                "in it until the next. Raise the limit, remove it, or use fewer threads at once."
            ),
            subjects=(f"cgroup:{quota.path}", f"process:{process.ref.pid}"),
            measurements={
                "throttled_periods": self.threshold("share_of_periods").measured(share),
                "throttled_time": self.threshold("share_of_time").measured(of_time),
            },
            evidence=(
                f"throttled in {quota.throttled_periods} of {quota.periods} periods, {quota.throttled_s:.2f} s of "
                f"{process.window_s:.1f} s (summed over CPUs)",
                f"quota {quota.cores:g} cores, set on cgroup {quota.path}",
            ),
            fingerprint=quota.path,
        )
