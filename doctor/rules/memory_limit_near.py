"""`memory-limit-near`: the next allocations meet a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from doctor.model.evidence.cgroup import Cgroup
from doctor.model.evidence.host import Host
from doctor.model.evidence.process import Process
from doctor.model.finding import Finding
from doctor.model.view import ProcessView
from doctor.rules._growth import slope, steady
from doctor.rules.base import Rule


class _Limit(NamedTuple):
    """Memory against one limit; the series is of (moment, bytes in use)."""

    name: str
    subject: str
    limit_bytes: int
    used: Sequence[tuple[float, float]]
    threshold: str = "share_of_limit"
    """Name of the threshold that tells "near"."""
    oom_kills: int = 0


class MemoryLimitNear(Rule):
    """Memory in use is close to a limit, or will be within minutes.

    Symptom: restarts without a traceback, exit code 137, `OOMKilled`; MemoryError where the address space is limited.
    Evidence: memory charged to the control group without reclaimable page cache, the address space against its
    rlimit, or the host's available memory; their growth over the window.
    Threshold: 90 % of the limit, or the limit within ten minutes at the growth seen; 95 % is an error.
    Not to be confused with: a leak. A service may live near its limit for ever; growth is `memory-leak`.
    """

    needs = (Process, Host)

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """One finding a limit that is near."""
        for limit in _limits(process):
            if len(limit.used) > 1 and limit.limit_bytes:
                yield from self._judge(process, limit)

    def _judge(self, process: ProcessView, limit: _Limit) -> Iterator[Finding]:
        share = limit.used[-1][1] / limit.limit_bytes
        time_s = self._time_to_limit(limit)
        soon = time_s is not None and time_s <= self.threshold("time_to_limit").value
        soon = soon and share >= self.threshold("share_forecast").value
        near = share >= self.threshold(limit.threshold).value
        if not near and not soon:
            return
        when = f", reached in about {_minutes(time_s)} at this rate" if time_s is not None else ""
        yield Finding(
            level="error" if soon or share >= self.threshold("share_error").value else "warning",
            confidence="confirmed" if near else "possible",
            title=f"{share:.0%} of the {limit.name} of {_mb(limit.limit_bytes)} are in use{when}",
            explanation=(
                "When the limit is met the kernel kills a process of the group, or allocations fail. Free memory or "
                "raise the limit first, then find out what holds it."
            ),
            subjects=(limit.subject, f"process:{process.ref.pid}"),
            measurements={"share_of_limit": self.threshold(limit.threshold).measured(share)}
            | ({"time_to_limit": self.threshold("time_to_limit").measured(time_s)} if time_s is not None else {}),
            evidence=_evidence(process, limit),
            fingerprint=limit.subject,
        )

    def _time_to_limit(self, limit: _Limit) -> float | None:
        """Seconds until the limit at the growth of the window; None without growth beyond noise."""
        grown = limit.used[-1][1] - limit.used[0][1]
        rate = slope(limit.used)
        steadily = steady(limit.used, self.threshold("share_of_quarter").value)
        if grown < self.threshold("growth").value * limit.limit_bytes or rate <= 0 or not steadily:
            return None
        return max(0.0, (limit.limit_bytes - limit.used[-1][1]) / rate)


def _limits(process: ProcessView) -> Iterator[_Limit]:
    cgroup, own, host = process.find(Cgroup), process[Process], process[Host]
    memory = cgroup.memory if cgroup else None
    if memory:
        used = [(sample.at_s, float(sample.usage_bytes - sample.inactive_file_bytes)) for sample in memory.samples]
        yield _Limit(
            "cgroup memory limit", f"cgroup:{memory.path}", memory.limit_bytes, used, oom_kills=memory.oom_kills
        )
    if own.limits and own.limits.address_space:
        used = [(sample.at_s, float(sample.vms_bytes)) for sample in own.samples]
        yield _Limit("address-space limit (RLIMIT_AS)", "limit:address-space", own.limits.address_space, used)
    if host.memory:
        total = host.memory[-1].total_bytes
        used = [(one.at_s, float(total - one.available_bytes)) for one in host.memory]
        yield _Limit("host's memory", "host:memory", total, used, threshold="share_of_host")


def _evidence(process: ProcessView, limit: _Limit) -> tuple[str, ...]:
    first, last = limit.used[0], limit.used[-1]
    lines = [f"{limit.name}: {_mb(last[1])} of {_mb(limit.limit_bytes)} in use"]
    if last[1] > first[1]:
        lines.append(f"grew by {_mb(last[1] - first[1])} in {last[0] - first[0]:.1f} s")
    lines.append(f"process {process.ref.pid}: {_mb(process[Process].samples[-1].rss_bytes)} resident")
    if limit.oom_kills:
        lines.append(f"the kernel has killed {limit.oom_kills} processes of this group for memory")
    return tuple(lines)


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


def _minutes(seconds: float | None) -> str:
    return f"{seconds:.0f} s" if seconds is not None and seconds < 120 else f"{(seconds or 0) / 60:.0f} min"
