"""For a chat channel: the same order as the text, and always short enough for one message.

What is least important goes first when there is too much: see `Rank`. Every text is clipped to a fixed length, so that
the verdict and the root causes fit whatever a title holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from doctor.model.bundle import Skipped
from doctor.model.diagnosis import Diagnosis, RuleError
from doctor.model.finding import Finding
from doctor.renderers import _phrases as say
from doctor.renderers._tree import Node, tree
from doctor.renderers.base import Renderer, Terminal

LIMIT = 4000
"""What Slack recommends for one message."""
RESERVE = 300
"""Room for headings, blank lines and the line that says what was left out."""
ROOT_CAUSES = 2200
"""Room for the first lines of all root causes, when everything else is as long as it may be."""
DEEPEST = 4
"""Chat clients flatten lists below this level."""
_MARKUP = re.compile(r"[\\*\[\]<>~|]|(?<!\w)_|_(?!\w)")
_PING = re.compile(r"<(?=[!@#])")
"""How Slack spells a mention."""
_MENTION = re.compile(r"(?<!\w)@(?=\w)")


class Rank(IntEnum):
    """What may be left out, in the order in which it goes."""

    EFFECT_EVIDENCE = 0
    NOTE = 1
    SKIPPED = 2
    DECISIVE = 3
    EFFECT_DETAIL = 4
    EFFECT = 5
    EVIDENCE = 6
    DETAIL = 7
    ROOT_CAUSE = 8
    ALWAYS = 9


NOUNS = {
    Rank.EFFECT_EVIDENCE: "evidence line",
    Rank.NOTE: "note",
    Rank.SKIPPED: "skipped check",
    Rank.DECISIVE: "skipped check",
    Rank.EFFECT_DETAIL: "detail",
    Rank.EFFECT: "effect",
    Rank.EVIDENCE: "evidence line",
    Rank.DETAIL: "detail",
    Rank.ROOT_CAUSE: "root cause",
}


@dataclass(frozen=True)
class _Line:
    """What is kept or left out as one."""

    rank: Rank
    text: str


@dataclass(frozen=True)
class _Section:
    """Lines under a heading that is shown when one of them is."""

    lines: list[_Line]
    heading: str | None = None

    def text(self, left_out: set[int]) -> str:
        """The section without the lines left out, named by identity since lines may be equal."""
        kept = [line.text for line in self.lines if id(line) not in left_out]
        return "\n".join([self.heading, *kept] if kept and self.heading else kept)


class MarkdownRenderer(Renderer):
    """One chat message: verdict first and last, root causes whole, the rest as far as it fits."""

    suffix = ".md"

    def render(self, diagnosis: Diagnosis, terminal: Terminal) -> str:  # noqa: ARG002 - a chat client has its own width
        """The diagnosis in less than `LIMIT` characters."""
        sections = list(_sections(diagnosis))
        left_out = _left_out([line for section in sections for line in section.lines])
        blocks = [section.text({id(line) for line in left_out}) for section in sections]
        blocks.insert(-1, _notice(left_out))
        return "\n\n".join(block for block in blocks if block) + "\n"


def _left_out(lines: list[_Line]) -> list[_Line]:
    """The least important lines, last ones first, until the others fit."""
    size = RESERVE + sum(len(line.text) + 1 for line in lines)
    candidates = sorted((line for line in lines if line.rank is not Rank.ALWAYS), key=lambda line: -line.rank)
    left_out: list[_Line] = []
    while candidates and size >= LIMIT:
        left_out.append(candidates.pop())
        size -= len(left_out[-1].text) + 1
    return left_out


def _notice(left_out: list[_Line]) -> str:
    counts = Counter(NOUNS[line.rank] for line in left_out)
    what = ", ".join(say.count(number, noun) for noun, number in counts.items())
    return f"_Left out for length: {what}._" if what else ""


def _sections(diagnosis: Diagnosis) -> Iterator[_Section]:
    nodes, called = tree(diagnosis), say.names(diagnosis.findings)
    verdict = _verdict(diagnosis)
    yield _always(f"{verdict}\n{_prose(diagnosis.verdict.summary, 400)}")
    # Each root cause gets its share of the room, less what stands before its title.
    longest_title = max(20, min(200, ROOT_CAUSES // max(1, len(say.root_causes(nodes))) - 70))
    yield _Section([line for node in nodes for line in _finding(node, called, longest_title)])
    yield _Section([_skip(skip) for skip in say.skips(diagnosis.skipped)], "**Not checked**")
    yield _Section([_crash(error) for error in diagnosis.rule_errors], f"**{say.CRASHED}**")
    if diagnosis.verdict.status == "ok":
        checked = _prose(", ".join(diagnosis.checked) or "nothing", 1500)
        yield _Section([_Line(Rank.SKIPPED, f"Checked: {checked}")])
    yield _always(f"_{_prose(say.cost(diagnosis), 300)}_")
    yield _always("\n".join([*_next(diagnosis, nodes), verdict]))


def _always(text: str) -> _Section:
    return _Section([_Line(Rank.ALWAYS, text)])


def _verdict(diagnosis: Diagnosis) -> str:
    status, target = say.STATUS[diagnosis.verdict.status], diagnosis.target
    command = _code(say.command(target.cmdline) or "?", 60)
    return f"**{status}** pid {target.pid} · {command} · {_prose(say.versions(target), 80)}"


def _next(diagnosis: Diagnosis, nodes: list[Node]) -> list[str]:
    if remedy := say.decisive_remedy(diagnosis):
        return [f"**Next:** {_prose(remedy, 200)}"]
    return [f"**Next:** {_code(root.next, 200)}" for root in say.root_causes(nodes)[:1] if root.next]


def _finding(node: Node, called: dict[str, str], longest_title: int) -> Iterator[_Line]:
    finding = node.finding
    margin = "  " * min(node.depth, DEEPEST)
    role = "root cause, " if node.is_root_cause else ""
    name = f"{'so ' if node.depth else ''}{say.LEVEL[finding.level]} **{_prose(called[finding.ref], 60)}**"
    title = _prose(finding.title, longest_title)
    ranks = _ranks(node)
    yield _Line(ranks.itself, f"{margin}- {name} ({role}{finding.level}, {finding.confidence}): {title}")
    yield from (_Line(ranks.detail, f"{margin}  - {line}") for line in _place(node, called))
    evidence = (_prose(line, 240) for line in finding.evidence[: say.EVIDENCE_LINES])
    yield from (_Line(ranks.evidence, f"{margin}  - {line}") for line in evidence)
    yield from (_Line(ranks.detail, f"{margin}  - {line}") for line in _instructions(finding))


class _Ranks(NamedTuple):
    """How important a finding's lines are."""

    itself: Rank
    detail: Rank
    evidence: Rank


def _ranks(node: Node) -> _Ranks:
    if node.is_root_cause:
        return _Ranks(Rank.ROOT_CAUSE, Rank.DETAIL, Rank.EVIDENCE)
    if node.finding.level == "note":
        return _Ranks(Rank.NOTE, Rank.EFFECT_EVIDENCE, Rank.EFFECT_EVIDENCE)
    return _Ranks(Rank.EFFECT, Rank.EFFECT_DETAIL, Rank.EFFECT_EVIDENCE)


def _place(node: Node, called: dict[str, str]) -> Iterator[str]:
    if because := say.because(node, called):
        yield _prose(because, 200)
    if where := node.finding.where:
        yield f"{_code(say.place(where[0]), 200)} ({_prose(say.witness(where), 200)})"


def _instructions(finding: Finding) -> Iterator[str]:
    if finding.next:
        yield f"next: {_code(finding.next, 200)}"
    if playbook := say.playbook_beside(finding):
        yield f"playbook: {_code(playbook, 80)}"


def _skip(skip: Skipped) -> _Line:
    lost = say.lost(skip)
    return _Line(
        Rank.DECISIVE if skip.decisive else Rank.SKIPPED,
        f"- **{_prose(skip.collector, 40)}**: {_prose(skip.reason, 200)}{f'; {_prose(lost, 300)}' if lost else ''}. "
        f"Remedy: {_prose(skip.remedy, 200)}",
    )


def _crash(error: RuleError) -> _Line:
    return _Line(Rank.DECISIVE, f"- **{_prose(error.rule, 60)}**: {_prose(error.error, 200)}")


def _code(text: str, limit: int) -> str:
    harmless = _PING.sub("‹", say.clip(text, limit)).replace("`", "'")
    return f"`{harmless or ' '}`"


def _prose(text: str, limit: int) -> str:
    """Text in which no character is markup, at most `limit` long with its escapes."""
    harmless = _MENTION.sub("＠", _PING.sub("‹", say.clean(text[: limit + 1]).replace("`", "'")))
    escaped = _MARKUP.sub(r"\\\g<0>", harmless)
    return escaped if len(escaped) <= limit else escaped[: limit - 1].rstrip("\\") + "…"
