"""What a program of `fixtures/services/stacks` says of its own stacks, laid beside what was read from outside.

py-spy shows the same but for three things, which `of_dump` and `test_oracle` know of:
- From 3.13 on the interpreter puts a frame of its own below a constructor that it has specialised. The program does not
  see that one and nobody wrote it, but py-spy shows it, as `__init__` of a file `__init__`, on line 0.
- Of a process with subinterpreters py-spy shows the newest only, and the main one not at all.
- While threads start and end py-spy may have no names, even of those that stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any, Literal

from doctor.backends.pyspy import DumpThread
from doctor.model.evidence.stacks import Stacks

Place = tuple[str, int, str]
"""File, line, and function: its qualified name from 3.11 on, before that its name."""
Stack = tuple[Place, ...]
"""Innermost first."""

Id = Literal["tid", "ident"]
"""The kernel's id of a thread, or the pthread's."""

CONSTRUCTOR_HELPER: Place = ("__init__", 0, "__init__")


@dataclass(frozen=True)
class Thread:
    """A thread as somebody saw it once."""

    id: int
    """The kernel's, or where that is not known the pthread's."""
    name: str | None
    stack: Stack

    def __str__(self) -> str:
        return f"thread {self.id} {self.name!r}"


def of_program(facts: Mapping[str, Any], by: Id = "tid") -> list[Thread]:
    """The threads as the program told them when it was ready."""
    return [Thread(one[by], one["name"], _stack(one["frames"])) for one in facts["threads"]]


def of_dump(threads: Iterable[DumpThread]) -> list[Thread]:
    """The threads of a dump by py-spy, by their pthread ids: before 3.11 it has no others."""
    seen = ((one, [(frame.filename, frame.line, frame.name) for frame in one.frames]) for one in threads)
    return [
        Thread(one.thread_id, one.thread_name, tuple(place for place in places if place != CONSTRUCTOR_HELPER))
        for one, places in seen
    ]


def of_stacks(stacks: Stacks) -> list[Thread]:
    """The threads of the evidence, by their kernel ids; one for each run, so that each stack they had is compared."""
    return [
        Thread(one.tid or 0, one.name, tuple((at.file, at.line, at.function) for at in stacks.frames_of(run.stack)))
        for one in stacks.threads
        for run in one.runs
    ]


def differences(expected: Iterable[Thread], seen: Iterable[Thread], *, others: Iterable[int] | None = ()) -> str:
    """What was seen of threads that stay where they are, and was not expected; empty where there is nothing.

    `others` are threads that may be seen as well: these, or any with None.
    """
    awaited, missing = {one.id: one for one in expected}, {one.id for one in expected}
    strangers = None if others is None else set(others)
    parts: list[str] = []
    for one in seen:
        missing.discard(one.id)
        if one.id in awaited:
            parts += _difference(awaited[one.id], one)
        elif strangers is not None and one.id not in strangers:
            parts.append(f"{one} is none of the program's:\n{_text(one.stack)}")
    parts += [f"{awaited[thread]} was not seen" for thread in missing]
    return "\n".join(parts)


def possible_stacks(facts: Mapping[str, Any], by: Id = "tid") -> dict[int, frozenset[Stack]]:
    """What `churn` told: the stacks that each of its threads can have."""
    places = _stack(facts["frames"])
    return {
        one[by]: frozenset(tuple(places[index] for index in stack) for stack in one["possible"])
        for one in facts["threads"]
    }


def why_impossible(stack: Stack, possible: frozenset[Stack]) -> str:
    """Where a stack leaves all the possible ones, seen from its outermost frame; empty for a possible one."""
    if stack in possible:
        return ""
    ways = {known[-count:] for known in possible for count in range(1, len(known) + 1)}
    shared = next((count for count in range(len(stack), 0, -1) if stack[-count:] in ways), 0)
    inner, outer = stack[: len(stack) - shared], stack[len(stack) - shared :]
    if not inner:
        return f"it ends too early:\n{_text(outer)}"
    return f"never called:\n{_text(inner)}\nfrom:\n{_text(outer)}"


def _stack(told: Iterable[Any]) -> Stack:
    return tuple((file, line, function) for file, line, function in told)


def _difference(expected: Thread, seen: Thread) -> Iterator[str]:
    if expected.name != seen.name:
        yield f"{expected} is named {seen.name!r}"
    if expected.stack != seen.stack:
        own, other = _text(expected.stack).splitlines(), _text(seen.stack).splitlines()
        diff = unified_diff(own, other, "as the program sees it", "as seen", lineterm="")
        yield f"{expected}:\n" + "\n".join(diff)


def _text(stack: Stack) -> str:
    return "\n".join(f"  {file}:{line} {function}" for file, line, function in stack)
