"""Markdown for a chat channel: what is left out, and what never is."""

from __future__ import annotations

import re

from doctor.model.diagnosis import Diagnosis, Verdict
from doctor.renderers.base import Terminal, renderers
from doctor.renderers.markdown import LIMIT

from .samples import NO_CGROUP, SAMPLES, diagnosis, finding


def markdown(value: Diagnosis) -> str:
    """The chat message."""
    return renderers()["markdown"].render(value, Terminal())


def crowded(effects: int, notes: int) -> Diagnosis:
    """One root cause with evidence, its effects with evidence, and notes."""
    evidence = tuple(f"evidence line {n} with some figures in it, such as 1,003 samples" for n in range(3))
    return diagnosis(
        Verdict(status="fail", summary="too much", root_causes=("f0",)),
        findings=(
            finding(ref="f0", id="deadlock", title="the cause", evidence=evidence),
            *(
                finding(ref=f"e{n}", id="lock-contention", title="an effect", evidence=evidence, causes=("f0",))
                for n in range(effects)
            ),
            *(finding(ref=f"n{n}", id="gc-pressure", level="note", title="a note") for n in range(notes)),
        ),
        skipped=(NO_CGROUP,),
    )


def test_evidence_of_effects_goes_first() -> None:
    """A little too much costs only evidence of effects, and the message counts it."""
    output = markdown(crowded(effects=15, notes=3))
    left_out = re.search(r"_Left out for length: (\d+) evidence lines\._", output)
    assert left_out
    assert output.count("evidence line ") == 16 * 3 - int(left_out[1])
    assert output.count("a note") == 3


def test_then_notes_and_skipped_checks_go() -> None:
    """Effects are worth more than notes and skipped checks, and the root cause keeps its evidence."""
    output = markdown(crowded(effects=46, notes=3))
    assert "_Left out for length: 138 evidence lines, 3 notes, 1 skipped check." in output
    assert output.count("an effect") == 46
    assert output.count("evidence line ") == 3
    assert "Not checked" not in output


def test_no_root_cause_is_cut() -> None:
    """23 root causes with absurd titles all stand in one message."""
    output = markdown(SAMPLES["flood"])
    assert output.count("(root cause, ") == 23
    assert not re.search(r"Left out.*root cause", output)


def test_root_causes_beyond_all_room_are_counted() -> None:
    """Where not even their names fit, the message keeps the first ones, and says how many are missing."""
    causes = tuple(finding(ref=f"f{n}", id="fd-leak", title="x" * 10_000) for n in range(101))
    verdict = Verdict(status="fail", summary="x" * 10_000, root_causes=tuple(cause.ref for cause in causes))
    output = markdown(diagnosis(verdict, findings=causes))
    left_out = re.search(r"(\d+) root causes\._", output)
    assert left_out
    assert len(output) < LIMIT
    assert output.count("(root cause, ") == 101 - int(left_out[1])


def test_nobody_is_called_by_a_file_name() -> None:
    """Mentions in target text reach no one, and its markup stays text."""
    output = markdown(SAMPLES["hostile"])
    assert "<!channel>" not in output
    assert "@here" not in output
    assert r"\*\*bold\*\*" in output
