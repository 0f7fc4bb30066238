"""`socket-leak`: the peer has hung up and the service has not."""

from __future__ import annotations

from collections.abc import Iterator

from doctor.model.evidence.process import Process
from doctor.model.finding import Finding
from doctor.model.view import ProcessView
from doctor.rules._growth import steady
from doctor.rules.base import NotVisible, Rule


class SocketLeak(Rule):
    """Connections that the peer has closed stay open on this side.

    Symptom: CLOSE_WAIT in ss, slowly rising descriptors, in the end "Too many open files".
    Evidence: sockets in CLOSE_WAIT by peer, twenty times in the window.
    Threshold: more to one peer than any client keeps idle, for the whole window; or growth in every quarter of it,
    which is an error.
    Not to be confused with: a client's few idle connections that the server has timed out; TIME_WAIT, which is the
    kernel's and no leak.
    """

    needs = (Process,)
    can_cause = ("fd-leak",)

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """One finding a peer."""
        samples = [sample for sample in process[Process].samples if sample.close_wait is not None]
        if not samples:
            raise NotVisible(Process, "its sockets may not be read", "doctor preflight names the missing right")
        for peer in sorted({peer for sample in samples for peer in sample.close_wait or {}}):
            series = [(sample.at_s, float((sample.close_wait or {}).get(peer, 0))) for sample in samples]
            yield from self._judge(process, peer, series)

    def _judge(self, process: ProcessView, peer: str, series: list[tuple[float, float]]) -> Iterator[Finding]:
        lasting = min(count for _, count in series)
        grown = series[-1][1] - series[0][1]
        growing = (
            grown >= self.threshold("growth").value
            and series[-1][1] >= self.threshold("kept_idle").value
            and steady(series, self.threshold("share_of_quarter").value)
        )
        if lasting < self.threshold("persistent").value and not growing:
            return
        yield Finding(
            level="error" if growing else "warning",
            confidence="confirmed",
            title=f"{series[-1][1]:.0f} connections that {peer} has closed are still open here (CLOSE_WAIT)",
            explanation=(
                "The peer has said goodbye, and nothing here reads that and closes the socket. Close responses and "
                "clients after use, or reuse one session."
            ),
            subjects=(f"peer:{peer}", f"process:{process.ref.pid}", f"tcp:{peer}"),
            measurements={
                "persistent": self.threshold("persistent").measured(lasting),
                "growth": self.threshold("growth").measured(grown),
            },
            evidence=(
                f"CLOSE_WAIT to {peer}: {series[0][1]:.0f} → {series[-1][1]:.0f} in {process.window_s:.1f} s",
                f"never fewer than {lasting:.0f} during the window",
            ),
            fingerprint=peer,
        )
