"""`fd-leak`: descriptors are opened and not closed."""

from __future__ import annotations

from collections.abc import Iterator

from doctor.model.evidence.process import FdGroup, Process, ProcessSample
from doctor.model.finding import Finding
from doctor.model.view import ProcessView
from doctor.rules._growth import slope, steady
from doctor.rules.base import NotVisible, Rule

_DEMAND = ("tcp-inbound",)
"""Kinds that follow the number of clients."""


class FdLeak(Rule):
    """File descriptors are opened and never closed.

    Symptom: "OSError: [Errno 24] Too many open files", at first under load, then always.
    Evidence: descriptors by kind and by what they lead to, twenty times in the window; the soft limit.
    Threshold: growth in every quarter of the window, connections of clients not counted; or 80 % of the limit in use.
    It is an error when the limit will be met within an hour.
    Not to be confused with: more clients; a pool that fills up and levels off; `socket-leak`, whose sockets the peer
    has already closed.
    """

    needs = (Process,)

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """At most one finding."""
        evidence = process[Process]
        series = _own([sample for sample in evidence.samples if sample.fds is not None])
        if not series:
            raise NotVisible(Process, "its descriptors may not be read", "doctor preflight names the missing right")
        open_now = sum((evidence.samples[-1].fds or {}).values())
        limit = evidence.limits.open_files if evidence.limits else None
        share = open_now / limit if limit else 0.0
        grown = series[-1][1] - series[0][1]
        growing = grown >= self.threshold("growth").value and steady(series, self.threshold("share_of_quarter").value)
        near = share >= self.threshold("share_of_limit").value
        if growing or near:
            rate = slope(series) if growing else 0.0
            time_s = (limit - open_now) / rate if limit and rate > 0 else None
            yield self._finding(process, int(grown), open_now, limit, time_s, near=near)

    def _finding(
        self, process: ProcessView, grown: int, open_now: int, limit: int | None, time_s: float | None, *, near: bool
    ) -> Finding:
        groups = [group for group in process[Process].fd_groups if group.kind not in _DEMAND]
        top = groups[0] if groups else None
        soon = time_s is not None and time_s <= self.threshold("exhaustion_error").value
        measurements = {"growth": self.threshold("growth").measured(grown)}
        if limit:
            measurements["share_of_limit"] = self.threshold("share_of_limit").measured(open_now / limit)
        return Finding(
            level="error" if near or soon else "warning",
            confidence="confirmed" if near else "probable",
            title=_title(grown, top, open_now, limit, process.window_s),
            explanation=(
                "Something opens files, sockets or pipes and keeps them. Close them with a with-statement, or share "
                "one long-lived client instead of making one for each request."
            ),
            subjects=(f"process:{process.ref.pid}", *(f"{group.kind}:{group.target}" for group in groups[:3])),
            measurements=measurements,
            evidence=(*_evidence(groups, open_now, limit), *_forecast(time_s)),
            fingerprint=top.kind if top else "descriptors",
        )


def _own(samples: list[ProcessSample]) -> list[tuple[float, float]]:
    """Descriptors over time without those that follow the number of clients.

    These are the clients' connections, and as many again: a proxy opens one to its upstream for each.
    """
    counts = [(sample.at_s, sample.fds or {}) for sample in samples]
    clients = [sum(fds.get(kind, 0) for kind in _DEMAND) for _, fds in counts]
    return [
        (at_s, float(sum(fds.values()) - now - max(0, now - clients[0])))
        for (at_s, fds), now in zip(counts, clients, strict=True)
    ]


def _title(grown: int, top: FdGroup | None, open_now: int, limit: int | None, window_s: float) -> str:
    if top and grown > 0 and top.last > top.first:
        return f"open descriptors grow by {grown} in {window_s:.1f} s, most of them {top.kind} {top.target}"
    return f"{open_now} descriptors of at most {limit} are open"


def _evidence(groups: list[FdGroup], open_now: int, limit: int | None) -> list[str]:
    lines = [f"{open_now} descriptors open, soft limit {limit or 'unlimited'}"]
    return lines + [f"{group.kind} {group.target}: {group.first} → {group.last}" for group in groups[:2]]


def _forecast(time_s: float | None) -> list[str]:
    return [f"at this rate the limit is met in {time_s / 60:.0f} min"] if time_s is not None else []
