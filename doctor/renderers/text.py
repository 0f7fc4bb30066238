"""For a person at a terminal at 3 AM: the verdict, the chain of causes, what is unknown, and the one next command.

Red, yellow and green say how bad it is and nothing else; all other emphasis is bold or dim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

from rich.text import Text

from doctor.model.diagnosis import Diagnosis, Status
from doctor.model.finding import Finding, Level
from doctor.renderers import _phrases as say
from doctor.renderers._gaps import entry, gaps
from doctor.renderers._headline import headline
from doctor.renderers._page import Page
from doctor.renderers._tree import Node, tree
from doctor.renderers.base import Renderer, Terminal

STATUS_STYLE: dict[Status, str] = {
    "fail": "bold red",
    "warn": "bold yellow",
    "ok": "bold green",
    "inconclusive": "bold",
}
LEVEL_STYLE: dict[Level, str] = {"error": "red", "warning": "yellow", "note": "dim"}
SHOWN_FINDINGS = 12
"""More than this no one reads; the rest is counted by id, and shown on request."""
LONGEST = 400
"""Characters of one title or evidence line that are shown unasked."""
STEP = 6
"""Columns by which an effect stands further in than its cause: the width of "└─ so "."""


class TextRenderer(Renderer):
    """Verdict first and last, causes before effects, one screen where one suffices."""

    suffix = ".txt"

    def render(self, diagnosis: Diagnosis, terminal: Terminal) -> str:
        """The diagnosis as lines no wider than the terminal."""
        report = _Report(diagnosis, terminal)
        report.verdict()
        report.findings()
        report.gaps()
        report.closing()
        return report.page.text()


class _Report:
    """One diagnosis on its way to the page."""

    def __init__(self, diagnosis: Diagnosis, terminal: Terminal) -> None:
        self.page = Page(terminal.width, terminal.color)
        self._diagnosis = diagnosis
        self._verbose = terminal.verbose
        self._nodes = tree(diagnosis)
        self._called = say.names(diagnosis.findings)

    def verdict(self) -> None:
        """Badge and service on one line, then the sentence."""
        self._verdict_line()
        self.page.paragraph(Text(self._brief(self._diagnosis.verdict.summary)))

    def findings(self) -> None:
        """Every finding below its cause; where there are too many, root causes first, and the rest as a count."""
        ranked = sorted(enumerate(self._nodes), key=lambda entry: (not entry[1].is_root_cause, entry[0]))
        most = len(ranked) if self._verbose else SHOWN_FINDINGS
        for _, node in sorted(ranked[:most], key=itemgetter(0)):
            self.page.blank()
            self._finding(node)
        if hidden := Counter(node.finding.id for _, node in ranked[most:]):
            ids = say.listing([f"{id_} ×{number}" for id_, number in hidden.most_common()], 8)
            self.page.blank()
            self.page.paragraph(Text(f"and {say.count(hidden.total(), 'more finding')} (-v shows all): {ids}", "dim"))

    def gaps(self) -> None:
        """What nobody looked at, and the checks that broke."""
        if self._diagnosis.skipped:
            self._heading("Not checked")
            gaps(self.page, self._diagnosis.skipped, self._brief)
        if errors := self._diagnosis.rule_errors:
            self._heading(say.CRASHED)
            for error in errors:
                entry(self.page, "  ", error.rule, Text(self._brief(error.error)))

    def closing(self) -> None:
        """What the answer rests on, then what to do, then the verdict where the cursor is."""
        self.page.blank()
        if self._diagnosis.verdict.status == "ok":
            checked = ", ".join(map(say.clean, self._diagnosis.checked)) or "nothing"
            self.page.paragraph(Text(f"Checked: {checked}"), rest="  ")
        self.page.line(Text(say.cost(self._diagnosis), "dim"))
        self.page.blank()
        self._next()
        self._verdict_line()

    def _brief(self, text: str) -> str:
        return say.clean(text) if self._verbose else say.clip(text, LONGEST)

    def _heading(self, text: str) -> None:
        self.page.blank()
        self.page.paragraph(Text(text, "bold"))

    def _verdict_line(self) -> None:
        status = self._diagnosis.verdict.status
        badge = Text.assemble((say.STATUS[status], STATUS_STYLE[status]), "  ")
        self.page.line(headline(self._diagnosis.target, self.page.width, badge))

    def _finding(self, node: Node) -> None:
        finding = node.finding
        depth = min(node.depth, self.page.width // 3 // STEP)
        margin = " " * (STEP * depth)
        head = Text.assemble(
            (f"{say.LEVEL[finding.level]} ", LEVEL_STYLE[finding.level]),
            (self._called[finding.ref], "bold"),
            (f"  {'root cause, ' if node.is_root_cause else ''}{finding.level}, {finding.confidence}", "dim"),
        )
        self.page.paragraph(head, margin[:-STEP] + "└─ so " if depth else "", rest=margin + "  ")
        self._body(node, margin + "  ")

    def _body(self, node: Node, margin: str) -> None:
        finding = node.finding
        self.page.paragraph(Text(self._brief(finding.title)), margin)
        if because := say.because(node, self._called):
            self.page.paragraph(Text(because, "dim"), margin)
        if self._verbose and finding.explanation:
            self.page.paragraph(Text(say.clean(" ".join(finding.explanation.split()))), margin)
        self._where(finding, margin)
        self._evidence(finding.evidence, margin)
        if finding.next:
            style = "bold" if node.is_root_cause else ""
            self.page.command(say.clean(finding.next), style, Text.assemble(margin, ("next:  ", "dim")))
        if playbook := say.playbook_beside(finding):
            self.page.paragraph(Text(playbook), Text.assemble(margin, ("playbook: ", "dim")))

    def _where(self, finding: Finding, margin: str) -> None:
        if finding.where:
            self.page.paragraph(
                Text(say.place(finding.where[0]), "bold"), Text.assemble(margin, ("where: ", "dim")), margin + " " * 7
            )
            self.page.paragraph(Text(say.witness(finding.where), "dim"), margin + " " * 7)

    def _evidence(self, evidence: Sequence[str], margin: str) -> None:
        shown = evidence if self._verbose else evidence[: say.EVIDENCE_LINES]
        label = Text.assemble(margin, ("why:   ", "dim"))
        for line in shown:
            self.page.paragraph(Text(self._brief(line)), label, margin + " " * 9)
            label = Text(margin + " " * 7)
        if hidden := len(evidence) - len(shown):
            self.page.paragraph(Text(f"and {say.count(hidden, 'more line')} (-v shows all)", "dim"), label)

    def _next(self) -> None:
        label = Text("next:  ", "dim")
        if remedy := say.decisive_remedy(self._diagnosis):
            self.page.paragraph(Text(self._brief(remedy), "bold"), label)
        elif roots := say.root_causes(self._nodes):
            self.page.paragraph(Text(say.cause(roots, self._called)), Text("cause: ", "dim"))
            if roots[0].next:
                self.page.command(say.clean(roots[0].next), "bold", label)
