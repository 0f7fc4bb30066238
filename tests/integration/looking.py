"""Runs `doctor diagnose` on a program and keeps what it said, so that several tests can read one diagnosis."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from doctor.errors import ExitCode
from doctor.model.diagnosis import Diagnosis
from doctor.model.finding import Finding, Location
from services import Service, run_doctor, service

SECONDS = 2.5
AT_ONCE = 3
"""Diagnoses side by side: each takes some 0.3 cores, and the programs beside them want none."""
_EXIT_CODES = {"ok": ExitCode.OK, "warn": ExitCode.WARN, "fail": ExitCode.FAIL, "inconclusive": ExitCode.INCONCLUSIVE}
MARK = "DOCTOR_TEST_RUN"
_runs = count(1)


@dataclass(frozen=True)
class Look:
    """One program and what doctor said about it."""

    pid: int
    diagnosis: Diagnosis
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the program said of itself."""

    @property
    def status(self) -> str:
        """The verdict in a word."""
        return self.diagnosis.verdict.status

    @property
    def ids(self) -> list[str]:
        """The id of every finding, sorted."""
        return sorted(finding.id for finding in self.diagnosis.findings)

    @property
    def roots(self) -> list[str]:
        """The ids of the root causes."""
        return [finding.id for finding in self.diagnosis.findings if finding.ref in self.diagnosis.verdict.root_causes]

    def finding(self, finding_id: str) -> Finding:
        """The one finding with this id."""
        found = [finding for finding in self.diagnosis.findings if finding.id == finding_id]
        assert len(found) == 1, self.diagnosis
        return found[0]

    def effects(self, finding_id: str) -> list[str]:
        """The ids of what a finding brought about."""
        refs = self.finding(finding_id).effects
        return [finding.id for finding in self.diagnosis.findings if finding.ref in refs]


def diagnose(target: int | str, *options: str, seconds: float = SECONDS) -> Diagnosis:
    """What doctor says about a target, having checked what holds for every diagnosis.

    The exit code says the same as the verdict, no rule crashed, the target was not paused, a found id has its playbook,
    and no process that doctor started is left.
    """
    mark = f"{os.getpid()}-{next(_runs)}"
    arguments = ("diagnose", str(target), "--format", "json", "--duration", f"{seconds:g}", *options)
    done = run_doctor(*arguments, env={MARK: mark})
    assert marked(mark) == []
    assert done.json is not None, f"exit code {done.exit_code}\n{done.stderr}"
    diagnosis = msgspec.json.decode(done.stdout, type=Diagnosis)
    assert done.exit_code == _EXIT_CODES[diagnosis.verdict.status]
    assert diagnosis.rule_errors == (), diagnosis.rule_errors
    assert diagnosis.cost.target_paused_ms == 0
    assert all(finding.playbook == finding.id for finding in diagnosis.findings)
    return diagnosis


def look_at(running: Service, *options: str, seconds: float = SECONDS) -> Look:
    """A diagnosis of a program that runs already."""
    return Look(running.pid, diagnose(running.pid, *options, seconds=seconds), running.facts)


def look(program: str, *arguments: str | bytes, seconds: float = SECONDS, **options: Any) -> Look:
    """A diagnosis of a program of `fixtures/services`, which is started for it and ended after it."""
    with service(program, *arguments, **options) as running:
        return look_at(running, seconds=seconds)


def side_by_side(looks: Mapping[str, Callable[[], Look]]) -> dict[str, Look]:
    """Several diagnoses at a time, of programs that want no CPU to speak of."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {name: pool.submit(one) for name, one in looks.items()}
        return {name: future.result() for name, future in futures.items()}


def later(program: str, *arguments: str | bytes, **options: Any) -> Callable[[], Look]:
    """`look`, to be called by `side_by_side`."""
    return partial(look, program, *arguments, **options)


def assert_healthy(looked: Look) -> None:
    """Nothing was found, and everything was checked.

    Where other work holds the CPUs of this machine, as the kernel's pressure shows, a process that waits for one is
    right to say so, and the test says nothing.
    """
    if looked.ids == ["cpu-starved"] and looked.finding("cpu-starved").confidence == "confirmed":
        pytest.skip(f"this machine is overloaded: {looked.finding('cpu-starved').evidence}")
    assert looked.diagnosis.findings == ()
    assert looked.status == "ok", looked.diagnosis
    assert looked.diagnosis.skipped == ()


def assert_root(looked: Look, finding_id: str, level: str) -> Finding:
    """The one root cause, at this level."""
    assert looked.roots == [finding_id], looked.diagnosis
    finding = looked.finding(finding_id)
    assert finding.level == level
    assert looked.status == ("fail" if any(one.level == "error" for one in looked.diagnosis.findings) else "warn")
    return finding


def place(where: Location) -> tuple[str, int, str]:
    """File name, line and function."""
    return Path(where.file).name, where.line, where.function


def marked(mark: str) -> list[int]:
    """The processes that run with this mark in their environment, as all that one run of doctor started do."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process.pid)
    return found
