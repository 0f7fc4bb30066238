"""What text and Markdown say in the same words. The formats add only emphasis and line breaks.

Much of it comes from the target (file and thread names, command lines), so everything shown goes through `clean`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from doctor.model.bundle import Skipped
from doctor.model.diagnosis import DiagnosedTarget, Diagnosis, Status
from doctor.model.finding import Finding, Level, Location
from doctor.model.stack_report import StackReport
from doctor.renderers._tree import Node

STATUS: dict[Status, str] = {"fail": "✗ FAIL", "warn": "! WARN", "ok": "✓ OK", "inconclusive": "? INCONCLUSIVE"}
LEVEL: dict[Level, str] = {"error": "✗", "warning": "!", "note": "·"}
CRASHED = "A check itself crashed, so it neither found nor excluded anything"
EVIDENCE_LINES = 4
"""More than these are for those who ask."""


def clean(text: str) -> str:
    """The text on one line: what would not print, or would steer the terminal, becomes a backslash escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def clip(text: str, limit: int) -> str:
    """The text, cleaned, and cut where it is longer than `limit` characters."""
    text = clean(text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 thread", "7 threads", "3 processes"."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def listing(items: Sequence[str], most: int) -> str:
    """The items with commas, those beyond `most` counted."""
    more = [f"{len(items) - most} more"] if len(items) > most else []
    return ", ".join([*(clip(item, 80) for item in items[:most]), *more])


def command(cmdline: Sequence[str]) -> str:
    """A command line as people call it: without the interpreter, its options and the folder of the program."""
    words = list(cmdline)
    if words and _base(words[0]).startswith("python"):
        words = _program(words[1:]) or words
    if not words:
        return ""
    # A process may write one sentence over its whole command line, as gunicorn does; a slash in it is no path.
    program = words[0] if " " in words[0] else _base(words[0])
    return " ".join([program, *words[1:]])


def _program(words: list[str]) -> list[str]:
    """What an interpreter with these arguments runs; nothing when that is no file or module."""
    while words and words[0].startswith("-") and words[0] != "-c":
        words = words[2:] if words[0] in ("-X", "-W") else words[1:]
    return [] if words[:1] == ["-c"] else words


def _base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or path


def versions(target: DiagnosedTarget) -> str:
    """What the verdict line says about the service after its PID and its command."""
    python = clip(target.python, 20) if target.python else "?"
    return f"Python {python} · {count(1 + len(target.children), 'process')}"


def names(findings: Iterable[Finding]) -> dict[str, str]:
    """What to call each finding, by ref: its id, with the ref where several share the id."""
    findings = tuple(findings)
    shared = Counter(finding.id for finding in findings)
    return {f.ref: clip(f.id, 60) + (f" [{clip(f.ref, 20)}]" if shared[f.id] > 1 else "") for f in findings}


def because(node: Node, called: dict[str, str]) -> str:
    """The causes that the tree does not show above a finding; empty when it shows all."""
    if not node.also_because_of:
        return ""
    others = listing([called[cause.ref] for cause in node.also_because_of], 3)
    return f"also because of {others}" if node.depth else f"because of {others}, below"


def place(location: Location) -> str:
    """The line to open."""
    return clean(f"{location.file}:{location.line} in {location.function}")


def witness(where: Sequence[Location]) -> str:
    """Who was seen at the first place, and how much more there is."""
    thread = f"thread {clip(where[0].thread, 60)}, " if where[0].thread else ""
    return f"{thread}pid {where[0].pid}" + _elsewhere(where)


def _elsewhere(where: Sequence[Location]) -> str:
    places = len({(location.file, location.line, location.function) for location in where})
    threads = len({(location.pid, location.thread) for location in where})
    processes = len({location.pid for location in where})
    # One thread in each process goes without saying.
    counts = {"place": places, "thread": threads if threads > processes else 1, "process": processes}
    more = [count(number - 1, f"more {noun}") for noun, number in counts.items() if number > 1]
    return f", and {', '.join(more)}" if more else ""


def playbook_beside(finding: Finding) -> str | None:
    """The playbook, unless the next command names it already."""
    if finding.playbook and finding.playbook not in (finding.next or ""):
        return clip(finding.playbook, 80)
    return None


def skips(skipped: Iterable[Skipped]) -> list[Skipped]:
    """Decisive entries first; those with the same reason and remedy as one, whichever collectors it hinders."""
    groups: dict[tuple[str, str], Skipped] = {}
    for skip in skipped:
        key = (skip.reason, skip.remedy)
        groups[key] = _joined(groups[key], skip) if key in groups else skip
    return sorted(groups.values(), key=lambda skip: not skip.decisive)


def _joined(one: Skipped, other: Skipped) -> Skipped:
    return msgspec.structs.replace(
        one,
        collector=", ".join(dict.fromkeys([*one.collector.split(", "), other.collector])),
        pids=tuple(sorted({*one.pids, *other.pids})) if one.pids and other.pids else (),
        rules=tuple(sorted({*one.rules, *other.rules})),
        decisive=one.decisive or other.decisive,
    )


def lost(skip: Skipped) -> str:
    """What a skipped entry costs, and in which processes; empty when it costs nothing and concerns all."""
    pids = f"in {'pid' if len(skip.pids) == 1 else 'pids'} {listing([str(pid) for pid in skip.pids], 4)}"
    rules = f"blind to {listing(skip.rules, 8)}" if skip.rules else ""
    return " ".join(part for part in (rules, pids if skip.pids else "") if part)


def cost(answer: Diagnosis | StackReport) -> str:
    """What doctor did to the target and took, and what it looked at."""
    spent, window = answer.cost, answer.window
    looked = f"{window.duration_s:.0f} s from" if window.duration_s else "one look at"
    return (
        f"target paused {spent.target_paused_ms:.0f} ms · doctor {spent.doctor_cpu_s:.1f} s CPU · "
        f"{looked} {clip(window.started_at, 40)} on {clip(answer.target.host, 60)}"
    )


def root_causes(nodes: Iterable[Node]) -> list[Finding]:
    """The root causes, the one to begin with first."""
    return [node.finding for node in nodes if node.is_root_cause]


def cause(roots: Sequence[Finding], called: dict[str, str]) -> str:
    """The first root cause and its place, and how many there are beside it."""
    at = f" at {place(roots[0].where[0])}" if roots[0].where else ""
    more = f", and {count(len(roots) - 1, 'more root cause')}" if len(roots) > 1 else ""
    return called[roots[0].ref] + at + more


def decisive_remedy(diagnosis: Diagnosis) -> str | None:
    """What would make an inconclusive diagnosis conclusive."""
    if diagnosis.verdict.status != "inconclusive":
        return None
    return next((skip.remedy for skip in diagnosis.skipped if skip.decisive), None)
