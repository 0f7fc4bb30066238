"""Every rule against the cases of `fixtures/cases`, and every rule complete: documented, measured, and with cases.

Adding a rule needs no line here: its case file is found by its id.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from cases import Situation, bundle, frame
from doctor.evaluate import Evaluation, evaluate
from doctor.model.base import Value
from doctor.model.evidence.stacks import Frame
from doctor.model.finding import Confidence, Finding, Level
from doctor.rules.base import SECTIONS, Rule, rules
from doctor.store.bundle_file import load, save
from doctor.thresholds import thresholds

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "cases"
FINDING_IDS = {
    "cpu-hotspot", "gil-contention", "gc-pressure", "cpu-throttled", "cpu-starved",
    "lock-contention", "deadlock", "thread-pool-starved", "thread-pool-self-deadlock", "worker-pool-saturated",
    "thread-leak",
    "event-loop-blocked", "task-leak", "task-deadlock",
    "memory-leak", "native-memory-growth", "memory-fragmentation", "memory-limit-near", "gc-disabled-growth",
    "fd-leak", "socket-leak", "zombie-children", "disk-io-stall",
    "slow-dependency", "slow-name-resolution",
    "db-pool-exhausted", "db-connection-leak",
    "db-lock-wait", "db-idle-in-transaction", "db-long-transaction", "db-slow-query", "db-missing-index",
    "db-n-plus-one", "db-connection-saturation", "db-unused-index", "db-duplicate-index", "db-invalid-index",
    "db-stale-statistics", "db-table-bloat", "db-wraparound-risk", "db-sequence-exhaustion", "db-temp-spill",
    "db-low-cache-hit", "db-replication-lag", "db-inactive-slot", "db-deadlocks", "db-checkpoint-pressure",
    "slo-latency", "slo-errors", "throughput-drop", "baseline-regression", "cache-hit-low", "cache-evictions",
}  # fmt: skip
"""The names a finding can have, fixed in section 6 of the design."""


UNMOVED = {
    (
        "event-loop-blocked",
        "callback",
        "below",
    ),  # the next shorter wait that ten looks a second can time is none at all
    ("thread-pool-starved", "threads", "below"),  # what has one thread is not called a pool in the first place
}
"""Thresholds that no case can hold from this side."""


class Expected(Value, frozen=True, kw_only=True):
    """One finding; or, with `skipped`, the kinds of evidence that are said to be missing, and no finding."""

    level: Level | None = None
    confidence: Confidence | None = None
    where: str | None = None
    """The line to open first, `shop.py:12 fetch`; without it the finding must not name one."""
    measured: dict[str, float] = msgspec.field(default_factory=dict)
    says: tuple[str, ...] = ()
    """Texts that its title or its evidence must contain."""
    about: tuple[str, ...] = ()
    """Subjects it must have."""
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """A finding has a level and a confidence, a skip has neither."""
        finding = self.level is not None and self.confidence is not None
        if finding == bool(self.skipped):
            raise ValueError("expect either a level and a confidence, or skipped")


class Case(Situation, frozen=True, kw_only=True):
    """What a process did, and what the rule must say to it."""

    name: str
    healthy: bool = False
    """Nothing is wrong with this process, so that no rule at all may find anything."""
    doubt: str | None = None
    """Why the rule is thought to be wrong about this case today."""
    expect: Literal["nothing"] | Expected | tuple[Expected, ...]


Cases = Annotated[tuple[Case, ...], msgspec.Meta(min_length=1)]


class CaseFile(Value, frozen=True, kw_only=True):
    """All cases of one rule."""

    stacks: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Stacks that several cases share, to be named by YAML anchors."""
    hits: Cases
    near_misses: Cases
    """Just below a threshold."""
    look_alikes: Cases
    """What the rule must not be confused with."""
    missing_evidence: Cases

    @property
    def all(self) -> tuple[Case, ...]:
        """Every case."""
        return self.hits + self.near_misses + self.look_alikes + self.missing_evidence


def load_cases(path: Path) -> CaseFile:
    """The cases of a file; an unknown key is an error."""
    return msgspec.yaml.decode(path.read_bytes(), type=CaseFile)


FILES = {path.stem: load_cases(path) for path in sorted(FOLDER.glob("*.yaml"))}


ALL = [(finding_id, case) for finding_id, file in FILES.items() for case in file.all]


def parameters(cases: Sequence[tuple[str, Case]]) -> list[object]:
    """Rule and case, with a readable id."""
    return [
        pytest.param(
            finding_id,
            case,
            id=f"{finding_id}: {case.name}",
            marks=[pytest.mark.xfail(reason=case.doubt, raises=AssertionError, strict=True)] if case.doubt else [],
        )
        for finding_id, case in cases
    ]


every_rule = pytest.mark.parametrize("rule", rules().values(), ids=lambda rule: rule.id)


@pytest.mark.parametrize(("finding_id", "case"), parameters(ALL))
def test_a_rule_says_what_the_case_expects(finding_id: str, case: Case) -> None:
    """A rule finds what is wrong, where, how badly and how surely, and otherwise nothing."""
    evaluation = evaluate(bundle(case), [rules()[finding_id]])
    assert evaluation.rule_errors == ()
    if isinstance(case.expect, Expected) and case.expect.skipped:
        check_skipped(evaluation, finding_id, case.expect)
    else:
        check_findings(evaluation, finding_id, expected_findings(case))


@pytest.mark.parametrize(("finding_id", "case"), parameters([one for one in ALL if one[1].healthy]))
def test_no_rule_finds_anything_in_a_healthy_process(finding_id: str, case: Case) -> None:
    """What one rule must leave alone because it is healthy, the others leave alone as well."""
    evaluation = evaluate(bundle(case), rules().values())
    assert [(finding.id, finding.title) for finding in evaluation.findings] == []
    assert finding_id in evaluation.checked


def expected_findings(case: Case) -> tuple[Expected, ...]:
    """The findings a case asks for."""
    if isinstance(case.expect, Expected):
        return (case.expect,)
    return case.expect if isinstance(case.expect, tuple) else ()


def check_skipped(evaluation: Evaluation, finding_id: str, expected: Expected) -> None:
    """The rule says that it could not see its evidence, and what would help."""
    assert evaluation.findings == ()
    assert evaluation.checked == ()
    assert sorted(skip.collector for skip in evaluation.skipped) == sorted(expected.skipped)
    for skip in evaluation.skipped:
        assert skip.rules == (finding_id,)
        assert skip.reason
        assert skip.remedy


def check_findings(evaluation: Evaluation, finding_id: str, expected: tuple[Expected, ...]) -> None:
    """The findings are the expected ones, in their order."""
    assert evaluation.skipped == ()
    assert evaluation.checked == (finding_id,)
    assert len(evaluation.findings) == len(expected), [finding.title for finding in evaluation.findings]
    for finding, one in zip(evaluation.findings, expected, strict=True):
        check_finding(finding, one)


def check_finding(finding: Finding, expected: Expected) -> None:
    """One finding is as expected."""
    assert (finding.level, finding.confidence) == (expected.level, expected.confidence)
    where = [Frame(at.file, at.line, at.function) for at in finding.where[:1]]
    assert where == ([frame(expected.where)] if expected.where else [])
    measured = {name: finding.measurements[name].value for name in expected.measured}
    assert measured == pytest.approx(expected.measured, rel=0.01)
    text = "\n".join((finding.title, *finding.evidence))
    assert [phrase for phrase in expected.says if phrase not in text] == []
    assert set(expected.about) <= set(finding.subjects)


def test_every_rule_has_cases_and_every_case_file_a_rule() -> None:
    """No rule goes without cases, and no case file is left behind by a rule that was renamed."""
    assert sorted(FILES) == sorted(rules())


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_cases_stand_where_they_belong(file: CaseFile) -> None:
    """Hits expect findings, near misses and look-alikes nothing, and missing evidence is said to be missing."""
    assert all(expected_findings(case) for case in file.hits)
    assert all(case.expect == "nothing" for case in file.near_misses + file.look_alikes)
    assert all(isinstance(case.expect, Expected) and case.expect.skipped for case in file.missing_evidence)
    assert len({case.name for case in file.all}) == len(file.all)


def test_the_bundle_of_every_case_can_be_saved(tmp_path: Path) -> None:
    """Cases are made of values that a bundle file holds, and come back from it as they were."""
    for _, case in ALL:
        path = tmp_path / "case.doctor.gz"
        save(bundle(case), path)
        assert load(path) == bundle(case)


def test_an_unknown_key_of_a_case_is_an_error(tmp_path: Path) -> None:
    """A misspelt key is not silently ignored."""
    path = tmp_path / "case.yaml"
    path.write_text("hits: [{name: misspelt, thread: [], expect: nothing}]")
    with pytest.raises(msgspec.ValidationError, match="unknown field `thread`"):
        load_cases(path)


@every_rule
def test_every_rule_documents_itself(rule: Rule) -> None:
    """The class docstring has a title and the four sections in their order, none of them empty."""
    heads = [line.partition(":") for line in rule.documentation.splitlines()]
    sections = [(head, text.strip()) for head, _, text in heads if head in SECTIONS]
    assert rule.title
    assert tuple(head for head, _ in sections) == SECTIONS
    assert all(text for _, text in sections)


@every_rule
def test_thresholds_are_those_that_the_rule_asks_for(rule: Rule) -> None:
    """Every threshold a rule asks for exists, and every threshold of a finding is named by its rule."""
    nodes = list(ast.walk(ast.parse(inspect.getsource(sys.modules[type(rule).__module__]))))
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.threshold"]
    asked = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    named = {node.value for node in nodes if isinstance(node, ast.Constant)}
    assert asked <= set(thresholds()[rule.id]) <= named


@every_rule
def test_cases_hold_every_threshold_from_both_sides(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """A threshold that is a fifth, or one whole thing, higher or lower changes what some case says."""
    before = levels(rule)
    for name, threshold in thresholds()[rule.id].items():
        step = max(threshold.value / 5, 1.0 if threshold.value >= 2 else 0.0)
        for side, value in (("above", threshold.value + step), ("below", threshold.value - step)):
            with monkeypatch.context() as patch:
                patch.setitem(thresholds()[rule.id], name, msgspec.structs.replace(threshold, value=value))
                assert (levels(rule) == before) == ((rule.id, name, side) in UNMOVED), (name, side)


def levels(rule: Rule) -> list[list[tuple[str, str]]]:
    """How bad and how sure the findings of each case are."""
    evaluations = [evaluate(bundle(case), [rule]) for case in FILES[rule.id].all]
    return [[(finding.level, finding.confidence) for finding in one.findings] for one in evaluations]


def test_thresholds_belong_to_rules() -> None:
    """No thresholds are left behind by a rule that was renamed."""
    assert set(thresholds()) == set(rules())


@every_rule
def test_ids_are_those_of_the_design(rule: Rule) -> None:
    """A rule is named after a finding of the design, and so is all that it can cause."""
    assert {rule.id, *rule.can_cause} <= FINDING_IDS
    assert rule.id not in rule.can_cause
