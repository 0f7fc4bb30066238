"""Parts of doctor are found by folder, and a module that is no part says what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctor.errors import ExitCode, InvalidDefinition
from doctor.registry import discover
from doctor.rules.base import Rule, rules

RULE = """
from doctor.rules.base import Rule

class {name}(Rule):
    needs = ()

    def evaluate(self, process):
        return ()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package that can be imported, under a name that no other test has used."""
    folder = tmp_path / f"parts_of_{tmp_path.name}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def write(package: Path, module: str, *classes: str) -> None:
    """A module with these rules."""
    (package / f"{module}.py").write_text("".join(RULE.format(name=name) for name in classes))


def test_one_class_a_module_is_found_sorted_by_module(package: Path) -> None:
    """Parts come by module name, and know their id from it."""
    write(package, "slow_disk", "Slow")
    write(package, "hot_cpu", "Hot")
    found = discover(package.name, Rule)  # type: ignore[type-abstract]
    assert list(found) == ["hot_cpu", "slow_disk"]
    assert [rule.id for rule in found.values()] == ["hot-cpu", "slow-disk"]


def test_shared_modules_are_no_parts(package: Path) -> None:
    """`base` and modules with a leading underscore may hold anything."""
    write(package, "base", "One", "Two")
    write(package, "_shared")
    write(package, "slow_disk", "Slow")
    assert list(discover(package.name, Rule)) == ["slow_disk"]  # type: ignore[type-abstract]


def test_folders_are_no_parts(package: Path) -> None:
    """A folder below may hold parts of another kind."""
    write(package, "slow_disk", "Slow")
    (package / "others").mkdir()
    write(package, "others/__init__")
    assert list(discover(package.name, Rule)) == ["slow_disk"]  # type: ignore[type-abstract]


def test_imported_classes_are_no_parts(package: Path) -> None:
    """Only a class that the module itself defines counts, not one that it imports."""
    write(package, "slow_disk", "Slow")
    write(package, "hot_cpu", "Hot")
    hot = package / "hot_cpu.py"
    hot.write_text(f"from {package.name}.slow_disk import Slow\n{hot.read_text()}")
    assert list(discover(package.name, Rule)) == ["hot_cpu", "slow_disk"]  # type: ignore[type-abstract]


@pytest.mark.parametrize("classes", [(), ("Slow", "Slower")], ids=["none", "two"])
def test_a_module_with_none_or_two_says_so(package: Path, classes: tuple[str, ...]) -> None:
    """The error names the module, what was found in it and what was expected, and what to do."""
    write(package, "slow_disk", *classes)
    with pytest.raises(InvalidDefinition) as caught:
        discover(package.name, Rule)  # type: ignore[type-abstract]
    assert caught.value.message == f"{package.name}.slow_disk defines {len(classes)} subclasses of Rule, expected one"
    assert "define one Rule a file" in caught.value.hint
    assert (caught.value.slug, caught.value.exit_code) == ("incomplete-module", ExitCode.INTERNAL)


def test_every_rule_is_found_under_the_name_of_its_file() -> None:
    """Finding id and file name are the same but for hyphens."""
    modules = {rule.id: type(rule).__module__.rpartition(".")[2] for rule in rules().values()}
    assert modules == {name: name.replace("-", "_") for name in rules()}
