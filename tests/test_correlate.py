"""Findings joined into cause and effect: only where a rule says it can be, and only about the same thing."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.correlate import correlate, explain, root_causes
from doctor.model.finding import Finding, Level
from doctor.pipeline import can_cause

CHAIN = {
    "slow-dependency": frozenset({"thread-pool-starved"}),
    "thread-pool-starved": frozenset({"event-loop-blocked"}),
}


def finding(name: str, *subjects: str, level: Level = "error") -> Finding:
    """A finding about these subjects."""
    return Finding(
        id=name,
        level=level,
        confidence="probable",
        title=f"{name} holds",
        explanation="",
        subjects=subjects,
        measurements={},
        evidence=(),
        fingerprint=name,
    )


def roots(findings: Sequence[Finding]) -> list[str]:
    """The ids of the root causes."""
    return [root.id for root in root_causes(findings)]


def test_findings_are_numbered_in_their_order() -> None:
    """Refs are f1, f2, … and nothing else about an unrelated finding changes."""
    linked = correlate([finding("fd-leak", "process:1"), finding("slow-dependency", "peer:a")], CHAIN)
    assert [(one.ref, one.id, one.causes, one.effects) for one in linked] == [
        ("f1", "fd-leak", (), ()),
        ("f2", "slow-dependency", (), ()),
    ]


def test_a_cause_needs_a_declared_kind_and_a_shared_subject() -> None:
    """Two findings that have both are joined, in either order."""
    starved, slow = (
        finding("thread-pool-starved", "pool:a", "thread:7"),
        finding("slow-dependency", "peer:b", "thread:7"),
    )
    effect, cause = correlate([starved, slow], CHAIN)
    assert (effect.causes, effect.effects) == (("f2",), ())
    assert (cause.causes, cause.effects) == ((), ("f1",))
    assert roots([effect, cause]) == ["slow-dependency"]


def test_a_declared_kind_alone_is_no_cause() -> None:
    """A slow peer explains nothing about a pool whose threads do not wait for it."""
    linked = correlate([finding("slow-dependency", "thread:7"), finding("thread-pool-starved", "thread:8")], CHAIN)
    assert roots(linked) == ["slow-dependency", "thread-pool-starved"]


def test_a_shared_subject_alone_is_no_cause() -> None:
    """Two conditions of one process do not explain each other unless a rule says that they can."""
    linked = correlate([finding("fd-leak", "process:1"), finding("zombie-children", "process:1")], CHAIN)
    assert roots(linked) == ["fd-leak", "zombie-children"]


def test_what_is_effect_and_cause_stands_in_the_middle() -> None:
    """In a chain of three only the first is a root cause, and it is told with all that follows."""
    linked = correlate(
        [
            finding("event-loop-blocked", "loop:1"),
            finding("slow-dependency", "thread:7"),
            finding("thread-pool-starved", "thread:7", "loop:1"),
        ],
        CHAIN,
    )
    (root,) = root_causes(linked)
    assert explain(root, linked) == ("slow-dependency holds; so thread-pool-starved holds; so event-loop-blocked holds")


def test_two_independent_causes_are_both_roots() -> None:
    """Each root has its own chain, and does not tell the other's."""
    linked = correlate(
        [
            finding("slow-dependency", "thread:7"),
            finding("slow-dependency", "thread:9"),
            finding("thread-pool-starved", "thread:7"),
            finding("fd-leak", "process:1"),
        ],
        CHAIN,
    )
    assert [explain(root, linked) for root in root_causes(linked)] == [
        "slow-dependency holds; so thread-pool-starved holds",
        "slow-dependency holds",
        "fd-leak holds",
    ]


def test_one_effect_of_two_causes_names_both() -> None:
    """Two slow peers that hold threads of one pool each explain it."""
    linked = correlate(
        [
            finding("slow-dependency", "thread:7"),
            finding("slow-dependency", "thread:8"),
            finding("thread-pool-starved", "thread:7", "thread:8"),
        ],
        CHAIN,
    )
    assert linked[2].causes == ("f1", "f2")
    assert roots(linked) == ["slow-dependency", "slow-dependency"]


def test_a_chain_that_leads_in_a_circle_is_told_once() -> None:
    """A cycle behind a root cause neither hangs nor repeats itself."""
    circle = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"b"})}
    linked = correlate([finding(name, "thread:7") for name in "abc"], circle)
    (root,) = root_causes(linked)
    assert explain(root, linked) == "a holds; so b holds; so c holds"


def test_a_circle_has_a_root_cause() -> None:
    """Findings that explain nothing but each other are not explained away."""
    circle = {"a": frozenset({"b"}), "b": frozenset({"a"})}
    assert roots(correlate([finding("a", "thread:7"), finding("b", "thread:7")], circle)) != []


def test_a_note_is_no_root_cause() -> None:
    """A remark about reserves is not what is wrong."""
    assert roots(correlate([finding("cpu-hotspot", "thread:7", level="note")], {})) == []


def test_a_note_does_not_explain_an_error_away() -> None:
    """An error stays a root cause when all that explains it is a note."""
    note, error = finding("cpu-hotspot", "thread:7", level="note"), finding("event-loop-blocked", "thread:7")
    assert roots(correlate([error, note], {"cpu-hotspot": frozenset({"event-loop-blocked"})})) != []


def test_the_rules_declare_no_circle() -> None:
    """As long as causes lead in no circle, every chain of findings has a beginning."""
    declared, known = dict(can_cause()), set[str]()
    while declared:
        last = {name for name, effects in declared.items() if effects <= known}
        assert last, f"a circle among {sorted(declared)}"
        known |= last
        declared = {name: effects for name, effects in declared.items() if name not in last}
