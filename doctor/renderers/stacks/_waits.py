"""What the threads of a group are in, in a few words."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.model.evidence.threads import WaitReason
from doctor.model.stack_report import ReportedWait, StackGroup
from doctor.renderers._phrases import clip, count

_MOST = 3
_SMALLEST = 0.005
_WORDS: dict[WaitReason, str] = {
    "running": "on a CPU",
    "gil": "the GIL",
    "sleep": "sleeping",
    "child": "a child process",
    "disk": "the disk",
    "stopped": "stopped by a signal or a debugger",
    "unreadable": "asleep, for what is not visible",
}
_NO_WAIT = ("running", "sleep", "stopped", "unreadable")
_ANSWERS = ("read", "connect", "poll")
"""Waits for a peer, in which a missing timeout is worth a word."""


def what(group: StackGroup, *, sampled: bool) -> str:
    """Such as "on a CPU (1), holds the GIL (1), waiting: the GIL (6)"; shares where the group was sampled."""
    told = [wait for wait in group.waits if not sampled or wait.samples >= _SMALLEST * group.samples]
    busy = [_one(wait, group, len(told), sampled=sampled) for wait in told if wait.reason in _NO_WAIT]
    waiting = [_one(wait, group, len(told), sampled=sampled) for wait in told if wait.reason not in _NO_WAIT]
    holds = f"holds the GIL{_share(group.owns_gil * group.samples, group, sampled=sampled)}" if group.owns_gil else ""
    asleep = f"waiting: {_listing(waiting)}" if waiting else ""
    return ", ".join(part for part in (*busy, holds, asleep) if part)


def _one(wait: ReportedWait, group: StackGroup, kinds: int, *, sampled: bool) -> str:
    return _phrase(wait) + (_share(wait.samples, group, sampled=sampled) if kinds > 1 else "")


def _share(samples: float, group: StackGroup, *, sampled: bool) -> str:
    if sampled:
        return f" ({samples / group.samples:.0%})".replace("%", " %")
    return f" ({round(samples)})" if group.count > 1 else ""


def _listing(phrases: Sequence[str]) -> str:
    more = f", and {count(len(phrases) - _MOST, 'more wait')}" if len(phrases) > _MOST else ""
    return ", ".join(phrases[:_MOST]) + more


def _phrase(wait: ReportedWait) -> str:
    if wait.reason == "lock":
        return "a lock" if wait.syscall == "futex" else f"a file lock ({wait.syscall})"
    if wait.reason in _WORDS and not wait.resource:
        return _WORDS[wait.reason]
    on = f" on {_thing(wait)}" if wait.inbound or wait.resource else ""
    return f"{wait.syscall or wait.reason}{on}{_timeout(wait)}"


def _thing(wait: ReportedWait) -> str:
    if wait.inbound:
        return "a client's connection"
    kind, _, name = (wait.resource or "").partition(" ")
    if wait.peer:
        return f"{clip(wait.peer, 60)} ({kind})"
    return clip(kind if kind == name else wait.resource or "", 80)


def _timeout(wait: ReportedWait) -> str:
    if not wait.peer or wait.reason not in _ANSWERS:
        return ""
    return ", no timeout" if wait.timeout_s is None else f", timeout {wait.timeout_s:g} s"
