"""For a person at a terminal at 3 AM: who runs, who is stuck where and on what, and who merely waits for work.

Equal stacks stand there once. The application's own frames are bold, the libraries between them folded. No colours:
these are facts, and nothing says yet that any of them is bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from doctor.model.stack_report import STATES, ReportedFrame, StackGroup, StackReport, State
from doctor.renderers import _phrases as say
from doctor.renderers._gaps import gaps
from doctor.renderers._headline import headline
from doctor.renderers._page import Page
from doctor.renderers.base import Terminal
from doctor.renderers.stacks._folding import Fold, folded, is_own
from doctor.renderers.stacks._names import thread_names
from doctor.renderers.stacks._waits import what
from doctor.renderers.stacks.base import StackRenderer

MARK: dict[State, str] = {"running": "▶ ", "waiting": "■ ", "idle": "· "}
SHOWN_GROUPS = 20
"""More than this no one reads; the rest is counted, and shown on request."""
SHOWN_FRAMES = 20
"""Of one stack, folds included."""
LONGEST = 400
"""Characters of one reason or line of code that are shown unasked."""


class TextStacks(StackRenderer):
    """Running first, then stuck in the middle of work, idle last and a line each."""

    suffix = ".txt"

    def render(self, report: StackReport, terminal: Terminal) -> str:
        """The groups as lines no wider than the terminal."""
        answer = _Report(report, terminal)
        answer.head()
        answer.groups()
        answer.native()
        answer.gaps()
        answer.closing()
        return answer.page.text()


class _Report:
    """One report on its way to the page."""

    def __init__(self, report: StackReport, terminal: Terminal) -> None:
        self.page = Page(terminal.width, terminal.color)
        self._report = report
        self._everything = terminal.verbose

    def head(self) -> None:
        """The service, then how many threads do what."""
        self.page.line(headline(self._report.target, self.page.width, Text()))
        threads = say.count(len(self._report.timelines), "thread")
        if self._report.sampled:
            stacks = say.count(len(self._report.groups), "different stack")
            self.page.line(Text(f"{threads} in {stacks}, seen over {self._report.window.duration_s:g} s"))
        else:
            states: Counter[State] = Counter()
            for group in self._report.groups:
                states[group.state] += group.count
            counts = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
            self.page.line(Text(f"{threads}: {counts}" if counts else "no thread could be seen"))

    def groups(self) -> None:
        """Whoever is at work with stacks; idle groups as lines, with stacks on request."""
        idle = [group for group in self._report.groups if group.state == "idle" and not self._everything]
        busy = [group for group in self._report.groups if group not in idle]
        for group in self._shown(busy):
            self.page.blank()
            self._group(group)
        self._count_hidden(busy)
        if idle:
            self.page.blank()
            self.page.line(Text("Waiting for work (--all shows their stacks)", "bold"))
        for group in self._shown(idle):
            self._idle(group)
        self._count_hidden(idle)

    def native(self) -> None:
        """Threads that Python does not know, in one line."""
        names: Counter[str] = Counter()
        for process in self._report.processes:
            names.update(process.native)
        if names:
            listed = say.listing([f"{name} ×{number}" for name, number in names.most_common()], 6)
            threads = say.count(names.total(), "thread")
            self.page.blank()
            self.page.paragraph(Text(f"and {threads} of native code that Python does not know: {listed}", "dim"))

    def gaps(self) -> None:
        """What could not be seen, and why."""
        if self._report.skipped:
            self.page.blank()
            self.page.line(Text("Not seen", "bold"))
            gaps(self.page, self._report.skipped, self._brief)

    def closing(self) -> None:
        """What the answer rests on."""
        samplers = dict.fromkeys(process.sampler for process in self._report.processes if process.sampler)
        errors = sum(process.errors for process in self._report.processes)
        failed = f" · {say.count(errors, 'sample')} failed" if errors else ""
        by = f" · by {say.listing(list(samplers), 3)}" if samplers else ""
        self.page.blank()
        self.page.paragraph(Text(f"{say.cost(self._report)}{by}{failed}", "dim"))

    def _brief(self, text: str) -> str:
        return say.clean(text) if self._everything else say.clip(text, LONGEST)

    def _shown(self, groups: Sequence[StackGroup]) -> Sequence[StackGroup]:
        return groups if self._everything else groups[:SHOWN_GROUPS]

    def _count_hidden(self, groups: Sequence[StackGroup]) -> None:
        hidden = groups[len(self._shown(groups)) :]
        if hidden:
            share = sum(group.samples for group in hidden) / sum(group.samples for group in self._report.groups)
            text = f"and {say.count(len(hidden), 'more stack')}, {share:.0%} of all samples (--all shows them)"
            self.page.blank()
            self.page.line(Text(text, "dim"))

    def _group(self, group: StackGroup) -> None:
        head = Text.assemble((say.count(group.count, "thread"), "bold"), f"  {self._who(group)}  {self._what(group)}")
        self.page.paragraph(head, MARK[group.state], rest="    ")
        lines = list(group.frames if self._everything else folded(group))
        most = len(lines) if self._everything else SHOWN_FRAMES
        for line in lines[:most]:
            self._fold(line) if isinstance(line, Fold) else self._frame(line, own=is_own(line, group))
        hidden = sum(line.frames if isinstance(line, Fold) else 1 for line in lines[most:])
        if hidden:
            self.page.line(Text(f"    … {say.count(hidden, 'more frame')} (--all shows them)", "dim"))

    def _frame(self, frame: ReportedFrame, *, own: bool) -> None:
        place = say.clean(f"{frame.short_file}:{frame.line} in {frame.function}")
        self.page.paragraph(Text(place, "bold" if own else "dim"), "    ", rest="      ")
        if frame.source:
            self.page.line(Text(f"        {self._brief(frame.source)}"))

    def _fold(self, fold: Fold) -> None:
        text = f"    … {say.count(fold.frames, 'frame')} of {say.listing(fold.of, 4)}"
        self.page.line(Text(text, "dim"))

    def _idle(self, group: StackGroup) -> None:
        threads = f"{MARK['idle']}{say.count(group.count, 'thread')}  {self._who(group)}  "
        call = _call(group)
        file = "/".join(call.short_file.rsplit("/", 2)[-2:])
        place = say.clean(f"{file}:{call.line} in {call.function}")
        waits = what(group, sampled=self._report.sampled).removeprefix("waiting: ")
        self.page.line(Text.assemble(threads, (place, "dim"), f"  {waits}"))

    def _who(self, group: StackGroup) -> str:
        names = thread_names(thread.name for thread in group.threads)
        pids = {thread.pid for thread in group.threads}
        if len(self._report.processes) == 1:
            return names
        return f"{names} (pid {min(pids)})" if len(pids) == 1 else f"{names} (in {say.count(len(pids), 'process')})"

    def _what(self, group: StackGroup) -> str:
        told = what(group, sampled=self._report.sampled)
        if not self._report.sampled:
            return told
        of = sum(thread.of_samples for thread in group.threads)
        return f"{group.samples:,} of {say.count(of, 'sample')}" + (f"; {told}" if told else "")


def _call(group: StackGroup) -> ReportedFrame:
    """Where an idle thread waits: in a function of the application, else in the innermost call that is no lock's."""
    own = [frame for frame in group.frames if frame.origin == "application" and frame.function != "<module>"]
    calls = [frame for frame in group.frames if frame.short_file != "threading.py"]
    return (own or calls or list(group.frames))[0]
