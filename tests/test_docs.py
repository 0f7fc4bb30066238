"""What is written about doctor is true."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import click
import pytest

from doctor.cli import cli
from doctor.errors import ExitCode
from doctor.renderers.base import renderers
from doctor.renderers.stacks.base import stack_renderers

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTEXT = click.Context(cli)


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_help_blocks_are_what_the_program_prints() -> None:
    """`python scripts/refresh_readme.py` has been run since the last change of a command."""
    script = _script("refresh_readme")
    assert len(script.BLOCK.findall(README)) >= 2
    assert script.refreshed(README) == README


def test_every_exit_code_is_explained() -> None:
    """The README's table has a row for each exit code, and none that does not exist."""
    table = README.partition("### Exit codes")[2].partition("###")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {int(code) for code in ExitCode}


@pytest.mark.parametrize("command", cli.list_commands(CONTEXT))
def test_every_command_has_a_short_help(command: str) -> None:
    """The overview shows a whole sentence for each command, not the cut-off start of one."""
    found = cli.get_command(CONTEXT, command)
    assert found is not None
    assert found.get_short_help_str(limit=66).endswith(".")


def test_every_folder_of_the_package_is_in_the_readme() -> None:
    """A newcomer finds each folder's purpose in the README's table."""
    folders = [path.name for path in (ROOT / "doctor").iterdir() if path.is_dir() and path.name != "__pycache__"]
    missing = [name for name in folders if f"`doctor/{name}`" not in README]
    assert missing == []


@pytest.mark.parametrize(("name", "formats"), [("diagnose", renderers()), ("stacks", stack_renderers())])
def test_formats_are_offered_by_folder(name: str, formats: Mapping[str, object]) -> None:
    """`--format` offers each renderer and nothing else."""
    command = cli.get_command(CONTEXT, name)
    assert command is not None
    option = next(option for option in command.params if option.name == "format_name")
    assert set(option.type.choices) == set(formats)  # type: ignore[attr-defined]


def test_every_module_says_what_it_is() -> None:
    """Each file of the package begins with a docstring."""
    files = [path for path in (ROOT / "doctor").rglob("*.py") if "shop" not in path.parts]
    assert [str(path) for path in files if not path.read_text().startswith('"""')] == []
