"""Every playbook that ships: complete, executable, and tied to a rule."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from doctor.model.playbook import Playbook
from doctor.playbook.library import library_folder, load_playbooks
from doctor.playbook.markdown import PARAMETER, to_markdown

AREAS = {
    "cpu": {"cpu-hotspot", "cpu-throttled", "cpu-starved"},
    "threads": {"thread-pool-starved"},
    "asyncio": {"event-loop-blocked"},
    "memory": {"memory-limit-near"},
    "resources": {"fd-leak", "socket-leak", "zombie-children", "disk-io-stall"},
    "dependencies": {"slow-dependency"},
}
COMMANDS = {"capture", "demo", "diagnose", "explain", "playbook", "preflight", "ps", "rules"}
PLACEHOLDERS = re.compile(r"\b(TODO|FIXME|TBD|XXX|lorem)\b", re.IGNORECASE)
DOCTOR_CALL = re.compile(r"`doctor ([a-z-]+)([^`]*)`")

every_playbook = pytest.mark.parametrize("playbook", load_playbooks().values(), ids=lambda playbook: playbook.id)


def commands(playbook: Playbook) -> list[tuple[str, ...]]:
    """Every argument vector that a reader is told to run."""
    return [*(step.run for step in playbook.steps), playbook.verify.run]


def prose(playbook: Playbook) -> list[str]:
    """Every sentence or paragraph a reader sees, code and commands left out."""
    return [
        playbook.meaning,
        playbook.impact,
        *(text for step in playbook.steps for text in (step.why, step.expect, step.otherwise)),
        *(text for way in playbook.mitigation for text in (way.do, way.undo)),
        playbook.fix.explanation,
        playbook.verify.expect,
        playbook.rollback,
        playbook.escalate.after,
        playbook.escalate.to,
    ]


def rule_ids() -> set[str]:
    """The finding ids that rule files stand for."""
    modules = Path(str(files("doctor.rules"))).glob("[!_]*.py")
    return {path.stem.replace("_", "-") for path in modules} - {"base"}


def test_each_playbook_lies_in_the_folder_of_its_area() -> None:
    """The folders are the areas of the finding ids, so that a person finds a file without searching."""
    lying = {folder.name: {path.stem for path in folder.glob("*.yaml")} for folder in library_folder().iterdir()}
    assert lying == AREAS


def test_every_rule_has_exactly_one_playbook() -> None:
    """No finding leaves a person without a runbook or with two, and no runbook answers a finding that cannot occur."""
    answered = Counter(finding for playbook in load_playbooks().values() for finding in playbook.findings)
    assert set(answered) == rule_ids()
    assert set(answered.values()) == {1}


@every_playbook
def test_no_section_is_a_stub(playbook: Playbook) -> None:
    """Every text a reader gets says something: none is empty, none is a placeholder, and most are whole sentences."""
    for text in prose(playbook):
        assert len(text.strip()) >= 10
        assert not PLACEHOLDERS.search(text)
    for text in (playbook.meaning, playbook.impact, playbook.fix.explanation, playbook.rollback):
        assert text.strip().endswith(".")
        assert len(text.split()) >= 12


@every_playbook
def test_each_list_is_long_enough_to_help(playbook: Playbook) -> None:
    """At least three steps to find the cause, two ways to stop the bleeding, and two public references."""
    assert len(playbook.steps) >= 3
    assert len(playbook.mitigation) >= 2
    assert len(set(playbook.references)) >= 2
    assert all(re.fullmatch(r"https://[\w.-]+/\S+", url) for url in playbook.references)


@every_playbook
def test_step_ids_are_unique_within_a_playbook(playbook: Playbook) -> None:
    """A step can be named in an incident channel, and mentions of a step in the text lead to one that exists."""
    ids = [step.id for step in playbook.steps]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", step_id) for step_id in ids)
    mentioned = {step for text in prose(playbook) for step in re.findall(r"[Ss]tep `([^`]+)`", text)}
    assert mentioned <= set(ids)


@every_playbook
def test_commands_take_no_parameter_but_the_pid(playbook: Playbook) -> None:
    """Everything to run can be run as it is once the PID is known."""
    for argv in commands(playbook):
        assert {name for word in argv for name in PARAMETER.findall(word)} <= {"pid"}


@every_playbook
def test_shell_syntax_stays_inside_sh(playbook: Playbook) -> None:
    """An argument vector needs no shell; where a pipe is needed, it is one script of sh, quoted plainly."""
    for argv in commands(playbook):
        words = argv[2:] if argv[:2] == ("sh", "-c") else argv
        assert len(words) == 1 or words is argv
        assert words is not argv or not any(set(word) & set("|&;<>$*`'\"") for word in argv)
        assert not any("'" in word for word in argv)


@every_playbook
def test_diagnosis_only_reads(playbook: Playbook) -> None:
    """Nothing that is run to find out changes or stops the service."""
    assert {step.risk for step in playbook.steps} == {"read"}


@every_playbook
def test_only_doctor_commands_that_exist_are_named(playbook: Playbook) -> None:
    """No step and no text sends a reader to a command of doctor, or a playbook, that there is not."""
    called = [argv[1] for argv in commands(playbook) if argv[0] == "doctor"]
    for text in prose(playbook):
        for name, rest in DOCTOR_CALL.findall(text):
            called.append(name)
            if name == "playbook":
                assert rest.split()[0] == "list" or rest.split()[1] in load_playbooks()
    assert set(called) <= COMMANDS


@every_playbook
def test_the_proof_of_recovery_is_the_same_diagnosis(playbook: Playbook) -> None:
    """A playbook ends by asking doctor again, about the id it set out with."""
    assert playbook.verify.run[:2] == ("doctor", "diagnose")
    assert f"`{playbook.id}`" in playbook.verify.expect


@every_playbook
def test_it_was_tested_on_a_real_day(playbook: Playbook) -> None:
    """`last_tested` is a date, so that stale playbooks can be found."""
    assert date.fromisoformat(playbook.last_tested) >= date(2026, 11, 21)


@every_playbook
def test_markdown_shows_all_of_it(playbook: Playbook) -> None:
    """The text a person reads has every command, ready to paste, and every paragraph."""
    text = to_markdown(playbook, {"pid": "4711"})
    for argv in commands(playbook):
        assert shlex.join(word.replace("{pid}", "4711") for word in argv) in text
    for paragraph in prose(playbook):
        assert paragraph.replace("{pid}", "4711") in text
    for code in (playbook.fix.before, playbook.fix.after, *playbook.references):
        assert code is None or code.strip() in text


def test_no_sentence_is_used_twice() -> None:
    """Each playbook speaks of its own condition; what is true of all belongs to the renderer."""
    sentences = Counter(
        sentence
        for playbook in load_playbooks().values()
        for text in prose(playbook)
        for sentence in re.split(r"(?<=[.:;]) ", text)
        if len(sentence.split()) >= 8
    )
    assert [sentence for sentence, times in sentences.items() if times > 1] == []
