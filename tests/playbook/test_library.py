"""The library: what loads, what is refused and how it says so, and what people see of it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from doctor.cli.commands.playbook import command
from doctor.errors import ExitCode, InvalidDefinition, UsageError
from doctor.model.playbook import Escalation, Fix, Mitigation, Playbook, Step, Verify
from doctor.playbook.library import load_playbooks, match, read_library
from doctor.playbook.markdown import to_markdown

LEAKY_TAP = Playbook(
    schema="doctor.playbook/1",
    id="leaky-tap",
    title="The tap drips",
    owner="plumbers",
    last_tested="2026-11-21",
    findings=("leaky-tap", "wet-floor"),
    meaning="Water runs although {pid} is closed.",
    impact="The floor gets wet.",
    steps=(
        Step(
            id="look",
            why="To see it.",
            run=("sh", "-c", "ls /proc/{pid}/fd | wc -l"),
            risk="read",
            expect="A number.",
            otherwise="Dry.",
        ),
    ),
    mitigation=(Mitigation(do="Close the main valve.", risk="write", undo="Open it."),),
    fix=Fix(explanation="Replace the washer.", after="tap.washer = new()"),
    verify=Verify(run=("ls", "/proc/{pid}/fd"), expect="Nothing drips."),
    rollback="Put the old washer back.",
    escalate=Escalation(after="10 minutes.", to="The plumber on call."),
    references=("https://example.org/taps",),
)


def write(folder: Path, name: str, **changes: object) -> None:
    """A playbook file below the folder, with some of its fields changed."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.yaml.encode(msgspec.to_builtins(LEAKY_TAP) | changes))


def test_a_playbook_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """A file below any area folder becomes the typed value, under its id."""
    write(tmp_path, "water/leaky-tap.yaml")
    assert read_library(tmp_path) == {"leaky-tap": LEAKY_TAP}


def test_playbooks_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    """The order of a listing does not depend on the area folders."""
    write(tmp_path, "a/wet-floor.yaml", id="wet-floor")
    write(tmp_path, "b/leaky-tap.yaml")
    assert list(read_library(tmp_path)) == ["leaky-tap", "wet-floor"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sverity": "high"}, "unknown field `sverity`"),
        ({"steps": [{"id": "look"}]}, "missing required field `why`"),
        ({"steps": "look"}, "Expected `array`, got `str`"),
        ({"steps": [msgspec.to_builtins(LEAKY_TAP.steps[0]) | {"run": ["sleep", 5]}]}, "$.steps[0].run[1]"),
        ({"mitigation": [{"do": "pray", "risk": "none", "undo": "stop"}]}, "Invalid enum value 'none'"),
        ({"schema": "doctor.playbook/2"}, "Invalid enum value 'doctor.playbook/2'"),
        ({"id": "leaky-pipe"}, "the id is 'leaky-pipe', the file name says 'leaky-tap'"),
    ],
)
def test_a_wrong_field_is_refused_by_name(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    """A typing mistake in a playbook is an error that names the file and the place, never a field silently lost."""
    write(tmp_path, "water/leaky-tap.yaml", **changes)
    with pytest.raises(InvalidDefinition) as refused:
        read_library(tmp_path)
    assert refused.value.message.startswith("water/leaky-tap.yaml: ")
    assert reason in refused.value.message
    assert str(tmp_path) not in refused.value.message
    assert refused.value.exit_code == ExitCode.INTERNAL


@pytest.mark.parametrize("text", ["id: [", "", "- a list", "\0"])
def test_a_file_that_is_no_playbook_at_all_is_refused_by_name(tmp_path: Path, text: str) -> None:
    """Broken YAML and YAML of another shape are told on one line, with the file's name."""
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(InvalidDefinition, match=r"^broken\.yaml: .") as refused:
        read_library(tmp_path)
    assert "\n" not in refused.value.message


def test_two_files_may_not_have_the_same_id(tmp_path: Path) -> None:
    """The same id in two area folders is an error that names both files."""
    write(tmp_path, "attic/leaky-tap.yaml")
    write(tmp_path, "water/leaky-tap.yaml")
    with pytest.raises(
        InvalidDefinition, match=r"^water/leaky-tap\.yaml: the id 'leaky-tap' is taken by attic/leaky-tap\.yaml$"
    ):
        read_library(tmp_path)


def test_a_finding_is_answered_by_the_playbook_that_names_it() -> None:
    """`match` finds a playbook by the ids in its `findings`, and gives None for an id that nobody answers."""
    assert match("fd-leak") is load_playbooks()["fd-leak"]
    assert match("no-such-finding") is None


def test_commands_keep_open_parameters_visible() -> None:
    """Without values a command shows "{pid}" where the reader puts the number, quoted no more than a shell needs."""
    text = to_markdown(LEAKY_TAP)
    assert "\nsh -c 'ls /proc/{pid}/fd | wc -l'\n" in text
    assert "\nls /proc/{pid}/fd\n" in text


def test_values_are_put_into_commands_and_prose() -> None:
    """With a value no parameter is left, and each command parses back into the argument vector it stands for."""
    text = to_markdown(LEAKY_TAP, {"pid": "4711"})
    assert "{pid}" not in text
    assert "Water runs although 4711 is closed." in text
    command_line = next(line for line in text.splitlines() if line.startswith("sh -c"))
    assert shlex.split(command_line) == ["sh", "-c", "ls /proc/4711/fd | wc -l"]


def test_a_value_cannot_break_out_of_its_word() -> None:
    """A value with shell syntax stays one word of the command."""
    text = to_markdown(LEAKY_TAP, {"pid": "1; reboot"})
    assert "\nls '/proc/1; reboot/fd'\n" in text


def test_a_fix_without_code_before_shows_only_what_it_has() -> None:
    """The headings of code examples appear only with their code."""
    text = to_markdown(LEAKY_TAP)
    assert "Before:" not in text
    assert "After:\n\n```python\ntap.washer = new()\n```" in text


def test_list_prints_a_table_with_every_playbook() -> None:
    """`playbook list` names each playbook with its title and the findings it answers."""
    result = CliRunner().invoke(command, ["list"])
    assert result.exit_code == 0
    head, *rows = result.output.splitlines()
    assert head.split() == ["id", "title", "findings"]
    for playbook in load_playbooks().values():
        row = next(row for row in rows if row.startswith(playbook.id))
        assert playbook.title in row
        assert row.rstrip().endswith(", ".join(playbook.findings))


def test_list_as_json_is_one_array_of_objects() -> None:
    """`playbook list --format json` is for programs: id, title and findings of each playbook, nothing else."""
    result = CliRunner().invoke(command, ["list", "--format", "json"])
    assert result.exit_code == 0
    assert json.loads(result.output) == [
        {"id": playbook.id, "title": playbook.title, "findings": list(playbook.findings)}
        for playbook in load_playbooks().values()
    ]


def test_show_prints_the_markdown() -> None:
    """`playbook show ID` prints exactly what the Markdown renderer makes of that playbook."""
    result = CliRunner().invoke(command, ["show", "fd-leak"])
    assert result.exit_code == 0
    assert result.output == to_markdown(load_playbooks()["fd-leak"])


@pytest.mark.parametrize(("typed", "hint"), [("fd-leek", "perhaps: fd-leak"), ("xyzzy", "doctor playbook list")])
def test_an_unknown_playbook_is_a_usage_error_with_a_way_on(typed: str, hint: str) -> None:
    """A misspelt id gets the close matches, a wild one the command that lists them all."""
    with pytest.raises(UsageError) as refused:
        CliRunner().invoke(command, ["show", typed], catch_exceptions=False)
    assert refused.value.slug == "unknown-playbook"
    assert typed in refused.value.message
    assert hint in refused.value.hint
