"""Text for a terminal: what the golden files do not say by themselves."""

from __future__ import annotations

import pytest

from doctor.model.diagnosis import Verdict
from doctor.model.finding import Location
from doctor.renderers.base import Terminal, renderers

from .samples import SAMPLES, diagnosis, finding

FAIL = Verdict(status="fail", summary="", root_causes=("f1",))


def lines(*, width: int = 80, **fields: object) -> list[str]:
    """The text about one root cause."""
    sick = diagnosis(FAIL, findings=(finding(ref="f1", id="deadlock", **fields),))
    return renderers()["text"].render(sick, Terminal(width=width)).splitlines()


def test_a_path_gives_up_its_indent_before_it_is_cut() -> None:
    """A path that fits the terminal stands whole on a line, so that it can be copied."""
    place = Location(file="/srv/" + "x" * 66 + ".py", line=1, function="f", thread=None, pid=1)
    assert f"{place.file}:1" in [line.strip() for line in lines(where=(place,))]


def test_a_long_command_can_be_copied() -> None:
    """A command over several lines continues as a shell expects it, and is cut only between words."""
    command = "doctor stacks --thread 'worker number one' " + " ".join(f"--option-{n}" for n in range(10))
    output = lines(next=command)
    start = next(n for n, line in enumerate(output) if line.startswith("  next:"))
    copied = "\n".join(output[start:]).partition("next:")[2].partition("\n\n")[0]
    assert copied.replace("\\\n", "").split() == command.split()
    assert "'worker number one'" in copied


def test_explanations_are_for_those_who_ask() -> None:
    """The explanation is shown by -v only."""
    sample = SAMPLES["slow-dependency"]
    start = "The threads sit in a socket read"
    assert start not in renderers()["text"].render(sample, Terminal())
    assert start in renderers()["text"].render(sample, Terminal(verbose=True))


@pytest.mark.parametrize(("status", "code"), [("fail", "31"), ("warn", "33"), ("ok", "32")])
def test_the_badge_has_the_color_of_the_verdict(status: str, code: str) -> None:
    """Red is a failure, yellow a warning, green is fine."""
    verdict = Verdict(status=status, summary="", root_causes=())  # type: ignore[arg-type]
    output = renderers()["text"].render(diagnosis(verdict), Terminal(color=True))
    assert output.startswith(f"\x1b[1;{code}m")


def test_the_environment_does_not_change_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Width and colour are the caller's decision; NO_COLOR and COLUMNS are read by the command line only."""
    terminal = Terminal(width=90, color=True)
    before = renderers()["text"].render(SAMPLES["tangled"], terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")
    assert renderers()["text"].render(SAMPLES["tangled"], terminal) == before


def test_too_many_effects_do_not_hide_a_root_cause() -> None:
    """A second root cause is shown even where the effects of the first alone would fill the page."""
    effects = tuple(finding(ref=f"e{n}", id="fd-leak", causes=("f1",)) for n in range(50))
    findings = (finding(ref="f1", id="deadlock"), *effects, finding(ref="f2", id="gc-pressure"))
    verdict = Verdict(status="fail", summary="", root_causes=("f1", "f2"))
    output = renderers()["text"].render(diagnosis(verdict, findings=findings), Terminal())
    assert "✗ gc-pressure  root cause" in output
    assert "and 40 more findings (-v shows all): fd-leak ×40" in output
