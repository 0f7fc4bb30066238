"""A playbook as Markdown, for `doctor playbook show` and for pasting into an incident channel."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from doctor.model.playbook import Fix, Mitigation, Playbook, Step

PARAMETER = re.compile(r"\{([a-z_]+)\}")
"""A place in a command for a value that is known only when the playbook is used."""

_PID_NOTE = (
    "`{pid}` is the process the finding names: with gunicorn or uvicorn usually a worker, not the master. "
    "A worker that was restarted has another PID."
)
_RESTART_NOTE = (
    "Most easily taken back first. Killing a process restarts it only where a master, systemd or the orchestrator "
    "starts it again."
)


def to_markdown(playbook: Playbook, values: Mapping[str, str] | None = None) -> str:
    """The whole playbook, top to bottom in the order to work through it.

    Args:
        playbook: what to show.
        values: by parameter name; a parameter without a value stays visible as "{name}".
    """
    known = values or {}
    sections = (
        _head(playbook, known),
        _section("Meaning", playbook.meaning),
        _section("Impact", playbook.impact),
        _section("Diagnosis", *(_step(number, step, known) for number, step in enumerate(playbook.steps, 1))),
        _section("Mitigation now", _RESTART_NOTE, _mitigation(playbook.mitigation)),
        _section("Lasting fix", *_fix(playbook.fix)),
        _section("Verify", _code(_command(playbook.verify.run, known)), playbook.verify.expect),
        _section("Rollback", playbook.rollback),
        _section("Escalate", f"After: {playbook.escalate.after}", f"To: {playbook.escalate.to}"),
        _section("References", "\n".join(f"- <{url}>" for url in playbook.references)),
    )
    return _fill("\n\n".join(sections), known) + "\n"


def _head(playbook: Playbook, values: Mapping[str, str]) -> str:
    lines = [f"# {playbook.title}", f"Playbook `{playbook.id}`, {playbook.owner}, last tested {playbook.last_tested}."]
    if "pid" not in values:
        lines.append(_PID_NOTE)
    return "\n\n".join(lines)


def _section(title: str, *paragraphs: str) -> str:
    return "\n\n".join((f"## {title}", *paragraphs))


def _step(number: int, step: Step, values: Mapping[str, str]) -> str:
    return "\n\n".join(
        (
            f"### {number}. {step.id} ({step.risk})",
            step.why,
            _code(_command(step.run, values)),
            f"**Expect:** {step.expect}",
            f"**Otherwise:** {step.otherwise}",
        )
    )


def _mitigation(ways: Sequence[Mitigation]) -> str:
    return "\n\n".join(
        f"{number}. ({way.risk}) {way.do}\n\n   **Undo:** {way.undo}" for number, way in enumerate(ways, 1)
    )


def _fix(fix: Fix) -> list[str]:
    paragraphs = [fix.explanation]
    for title, code in (("Before:", fix.before), ("After:", fix.after)):
        if code is not None:
            paragraphs += [title, _code(code.strip("\n"), fix.language)]
    return paragraphs


def _code(text: str, language: str = "") -> str:
    return f"```{language}\n{text}\n```"


def _command(argv: Sequence[str], values: Mapping[str, str]) -> str:
    return " ".join(_quote(_fill(word, values)) for word in argv)


def _quote(word: str) -> str:
    """The word as a shell takes it; the braces of a parameter that is still open are no reason for quotes."""
    plain = PARAMETER.sub("x", word)
    return word if plain == shlex.quote(plain) else shlex.quote(word)


def _fill(text: str, values: Mapping[str, str]) -> str:
    return PARAMETER.sub(lambda parameter: values.get(parameter[1], parameter[0]), text)
