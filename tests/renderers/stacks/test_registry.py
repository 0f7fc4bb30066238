"""The formats of stacks are what lies in their folder."""

from __future__ import annotations

from pathlib import Path

import doctor.renderers.stacks
from doctor.renderers.base import renderers
from doctor.renderers.stacks.base import stack_renderers


def test_every_module_is_a_format() -> None:
    """`doctor stacks --format` offers the modules of the folder, and `doctor diagnose --format` does not."""
    folder = Path(doctor.renderers.stacks.__file__).parent
    modules = {file.stem for file in folder.glob("[!_]*.py")} - {"base"}
    assert set(stack_renderers()) == {one.name for one in stack_renderers().values()} == modules
    assert "stacks" not in renderers()


def test_suffixes_tell_formats_apart() -> None:
    """A file's name says in which format it is."""
    suffixes = [one.suffix for one in stack_renderers().values()]
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix.startswith(".") for suffix in suffixes)
