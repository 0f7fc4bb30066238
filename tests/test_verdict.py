"""The one sentence at the end: sick, healthy, or not enough seen to tell."""

from __future__ import annotations

from doctor.correlate import correlate
from doctor.evaluate import Evaluation
from doctor.model.bundle import Skipped
from doctor.model.diagnosis import RuleError, Verdict
from doctor.model.finding import Finding, Level
from doctor.verdict import verdict

CAN_CAUSE = {"slow-dependency": frozenset({"thread-pool-starved"}), "cpu-hotspot": frozenset({"event-loop-blocked"})}
NO_RIGHT = Skipped(collector="stacks", reason="the stacks may not be read", remedy="run as root", decisive=True)
NO_GROUP = Skipped(collector="cgroup", reason="no cgroup hierarchy is mounted here", remedy="mount it")
CRASH = RuleError(rule="fd-leak", error="ZeroDivisionError: division by zero")


def finding(name: str, level: Level, *subjects: str) -> Finding:
    """A finding of this level."""
    return Finding(
        id=name,
        level=level,
        confidence="probable",
        title=f"{name} holds",
        explanation="",
        subjects=subjects or ("process:1",),
        measurements={},
        evidence=(),
        fingerprint=name,
    )


def judge(*findings: Finding, skipped: tuple[Skipped, ...] = (), crashed: tuple[RuleError, ...] = ()) -> Verdict:
    """The verdict on findings and on what is missing."""
    checked = ("fd-leak", "slow-dependency", "zombie-children")
    evaluation = Evaluation(findings=findings, checked=checked, skipped=skipped, rule_errors=crashed)
    return verdict(correlate(findings, CAN_CAUSE), evaluation)


def test_nothing_found_is_ok() -> None:
    """A healthy verdict says how much was checked."""
    assert judge() == Verdict(status="ok", summary="Nothing found; 3 conditions were checked.", root_causes=())


def test_an_error_fails() -> None:
    """One error among warnings fails, and every root cause is a sentence."""
    assert judge(finding("slow-dependency", "error"), finding("fd-leak", "warning")) == Verdict(
        status="fail", summary="slow-dependency holds. fd-leak holds.", root_causes=("f1", "f2")
    )


def test_warnings_warn() -> None:
    """Warnings alone do not fail."""
    assert judge(finding("fd-leak", "warning")).status == "warn"


def test_an_error_that_a_warning_brought_about_fails() -> None:
    """The worst finding decides, also when it is no root cause."""
    found = judge(finding("thread-pool-starved", "error"), finding("slow-dependency", "warning"))
    assert (found.status, found.root_causes) == ("fail", ("f2",))
    assert found.summary == "slow-dependency holds; so thread-pool-starved holds."


def test_a_note_alone_is_ok() -> None:
    """A remark makes nobody get up at night."""
    found = judge(finding("cpu-hotspot", "note"))
    assert (found.status, found.root_causes) == ("ok", ())


def test_a_decisive_skip_without_findings_is_inconclusive() -> None:
    """Nobody calls a service healthy whose stacks could not be read; the reason is in the sentence."""
    found = judge(skipped=(NO_GROUP, NO_RIGHT))
    assert (found.status, found.root_causes) == ("inconclusive", ())
    assert "the stacks may not be read" in found.summary


def test_a_skip_that_is_not_decisive_is_ok() -> None:
    """A missing detail does not keep a service from being called healthy."""
    assert judge(skipped=(NO_GROUP,)).status == "ok"


def test_a_note_does_not_make_up_for_what_could_not_be_seen() -> None:
    """A remark beside a decisive skip stays inconclusive."""
    assert judge(finding("cpu-hotspot", "note"), skipped=(NO_RIGHT,)).status == "inconclusive"


def test_a_finding_stands_although_much_could_not_be_seen() -> None:
    """What was found is wrong whatever else could not be checked."""
    assert judge(finding("fd-leak", "warning"), skipped=(NO_RIGHT,), crashed=(CRASH,)).status == "warn"


def test_a_crashed_rule_without_findings_is_inconclusive() -> None:
    """A rule that crashed has not passed, and is named."""
    found = judge(crashed=(CRASH,))
    assert found.status == "inconclusive"
    assert "the rule fd-leak crashed" in found.summary


def test_an_error_that_only_a_note_explains_fails() -> None:
    """A server at 85 % of a core gets a note, and a loop that this blocks an error: that is not ok."""
    blocked, hot = finding("event-loop-blocked", "error", "thread:7"), finding("cpu-hotspot", "note", "thread:7")
    assert judge(blocked, hot).status == "fail"
