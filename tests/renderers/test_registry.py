"""The formats are what lies in the folder."""

from __future__ import annotations

from pathlib import Path

import doctor.renderers
from doctor.renderers.base import renderers


def test_every_module_is_a_format() -> None:
    """`--format` offers the modules of the folder under their own names, and nothing else."""
    folder = Path(doctor.renderers.__file__).parent
    modules = {file.stem for file in folder.glob("[!_]*.py")} - {"base"}
    assert set(renderers()) == {renderer.name for renderer in renderers().values()} == modules


def test_suffixes_tell_formats_apart() -> None:
    """A file's name says in which format it is."""
    suffixes = [renderer.suffix for renderer in renderers().values()]
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix.startswith(".") for suffix in suffixes)
