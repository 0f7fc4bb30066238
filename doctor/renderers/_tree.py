"""Findings in reading order: each root cause, and below it what it brought about, every finding once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from doctor.model.diagnosis import Diagnosis
from doctor.model.finding import Finding


@dataclass(frozen=True)
class Node:
    """A finding at its place in the tree."""

    finding: Finding
    depth: int
    """0 for what stands at the left margin."""
    is_root_cause: bool
    also_because_of: tuple[Finding, ...]
    """Its causes that do not stand above it in this branch."""


@dataclass
class _Vertex:
    """A finding while the tree is built; vertices are named by their position among the findings."""

    causes: set[int] = field(default_factory=set)
    effects: set[int] = field(default_factory=set)
    parent: int | None = None
    level: int = 0
    """Length of the longest known chain of causes above it."""


def tree(diagnosis: Diagnosis) -> list[Node]:
    """All findings, root causes first, each effect below the cause at the end of its longest chain."""
    vertices = _graph(diagnosis.findings)
    _choose_parents(vertices)
    roots = {ref: n for n, ref in enumerate(diagnosis.verdict.root_causes)}
    findings = diagnosis.findings
    top = [n for n, vertex in enumerate(vertices) if vertex.parent is None]
    top.sort(key=lambda n: (roots.get(findings[n].ref, len(roots)), n))
    return [
        Node(
            finding=findings[n],
            depth=len(above),
            is_root_cause=findings[n].ref in roots,
            also_because_of=tuple(findings[cause] for cause in sorted(vertices[n].causes.difference(above))),
        )
        for n, above in _walk(vertices, top)
    ]


def _graph(findings: tuple[Finding, ...]) -> list[_Vertex]:
    by_ref = {finding.ref: n for n, finding in enumerate(findings)}
    vertices = [_Vertex() for _ in findings]
    for n, finding in enumerate(findings):
        vertices[n].causes |= {by_ref[ref] for ref in finding.causes if ref in by_ref} - {n}
        vertices[n].effects |= {by_ref[ref] for ref in finding.effects if ref in by_ref} - {n}
    for n, vertex in enumerate(vertices):
        for cause in vertex.causes:
            vertices[cause].effects.add(n)
        for effect in vertex.effects:
            vertices[effect].causes.add(n)
    return vertices


def _choose_parents(vertices: list[_Vertex]) -> None:
    """Visits causes before effects; where a cycle leaves no such order, it is cut at what has a cause outside it."""
    waiting = {n: len(vertex.causes) for n, vertex in enumerate(vertices)}
    while waiting:
        free = [n for n, open_causes in waiting.items() if not open_causes]
        for n in free or [min(waiting, key=lambda n: (vertices[n].parent is None, n))]:
            del waiting[n]
            _visit(n, vertices, waiting)


def _visit(n: int, vertices: list[_Vertex], waiting: dict[int, int]) -> None:
    for effect in vertices[n].effects & waiting.keys():
        waiting[effect] -= 1
        if vertices[effect].parent is None or vertices[n].level >= vertices[effect].level:
            vertices[effect].parent = n
            vertices[effect].level = vertices[n].level + 1


def _walk(vertices: list[_Vertex], top: list[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Every vertex with those above it, outermost first."""
    children: dict[int, list[int]] = {}
    for n, vertex in enumerate(vertices):
        if vertex.parent is not None:
            children.setdefault(vertex.parent, []).append(n)
    todo: list[tuple[int, tuple[int, ...]]] = [(n, ()) for n in reversed(top)]
    while todo:
        n, above = todo.pop()
        yield n, above
        todo += [(child, (*above, n)) for child in reversed(children.get(n, []))]
