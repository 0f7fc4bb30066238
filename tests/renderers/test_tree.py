"""Findings in reading order."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given

from doctor.model.diagnosis import Diagnosis, Verdict
from doctor.model.finding import Finding
from doctor.renderers._tree import Node, tree

from .samples import SAMPLES, diagnosis, finding
from .strategies import diagnoses
from .test_any_diagnosis import any_diagnosis


def outline(nodes: list[Node]) -> list[str]:
    """Each node's ref behind as many dots as it stands deep, and the causes named beside it."""
    return [
        " ".join(["." * node.depth + node.finding.ref, *(cause.ref for cause in node.also_because_of)])
        for node in nodes
    ]


def of(*findings: Finding, roots: tuple[str, ...] = ()) -> list[str]:
    """The outline of findings."""
    return outline(tree(diagnosis(Verdict(status="fail", summary="", root_causes=roots), findings=findings)))


def test_an_effect_stands_below_its_nearest_cause() -> None:
    """In a triangle A→B→C, A→C the chain is A, B, C, and A is not named again beside C."""
    a, b, c = finding(ref="a", effects=("c", "b")), finding(ref="b", effects=("c",)), finding(ref="c")
    assert of(a, b, c, roots=("a",)) == ["a", ".b", "..c"]


def test_a_shared_effect_names_its_other_cause() -> None:
    """An effect of two root causes stands below the first and names the other."""
    shared = finding(ref="c", causes=("a", "b"))
    assert of(finding(ref="a"), finding(ref="b"), shared, roots=("a", "b")) == ["a", ".c b", "b"]


def test_root_causes_keep_the_order_of_the_verdict() -> None:
    """The verdict decides which root cause is read first; what it does not name comes after."""
    assert of(finding(ref="a"), finding(ref="b"), finding(ref="c"), roots=("c", "b")) == ["c", "b", "a"]


def test_a_cycle_hangs_below_what_causes_it() -> None:
    """A→B⇄C: the cycle is entered where it has a cause outside, and says that it closes."""
    a, b, c = finding(ref="a", effects=("c",)), finding(ref="b", causes=("c",)), finding(ref="c", causes=("a", "b"))
    assert of(a, b, c, roots=("a",)) == ["a", ".c b", "..b"]


def test_a_cycle_without_a_cause_is_entered_once() -> None:
    """Findings that explain only each other are shown, and nothing loops."""
    assert of(finding(ref="a", causes=("b",)), finding(ref="b", causes=("a",))) == ["a b", ".b"]


def test_refs_that_lead_nowhere_are_ignored() -> None:
    """A ref without a finding, or to the finding itself, is no cause."""
    assert of(finding(ref="a", causes=("a", "x"), effects=("y",)), roots=("a", "z")) == ["a"]


def test_sample_with_two_root_causes() -> None:
    """The shared effect of the tangled sample stands at the end of its longest chain."""
    assert outline(tree(SAMPLES["tangled"])) == ["f1", ".f3", "..f4 f2", "f2", "f5 f6", ".f6", "f7"]


@any_diagnosis
@given(diagnosis=diagnoses)
def test_every_finding_stands_once(diagnosis: Diagnosis) -> None:
    """However causes and effects are wired, the tree holds each finding exactly once, one step below another."""
    nodes = tree(diagnosis)
    assert sorted(node.finding.ref for node in nodes) == sorted(finding.ref for finding in diagnosis.findings)
    assert all(node.depth <= before.depth + 1 for before, node in pairwise(nodes))
