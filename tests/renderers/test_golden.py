"""Whole outputs, compared with the files in `fixtures/golden`."""

from __future__ import annotations

import pytest

from . import golden


@pytest.mark.parametrize("name", golden.GOLDEN)
def test_output_is_the_golden_file(name: str) -> None:
    """A format changes only together with its golden files; see `golden.py` for how to write them again."""
    assert golden.GOLDEN[name]() == (golden.FOLDER / name).read_text(encoding="utf-8")


def test_every_golden_file_is_compared() -> None:
    """A file that no view writes would go stale unseen."""
    assert {file.name for file in golden.FOLDER.iterdir()} == set(golden.GOLDEN)
