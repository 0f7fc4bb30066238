"""Whole outputs, compared with the files in `fixtures/golden`."""

from __future__ import annotations

import pytest

from . import golden


@pytest.mark.parametrize(("view", "sample"), golden.GOLDEN)
def test_output_is_the_golden_file(view: str, sample: str) -> None:
    """A format changes only together with its golden files; see `golden.py` for how to write them again."""
    assert golden.render(view, sample) == golden.path(view, sample).read_text(encoding="utf-8")


def test_every_golden_file_is_compared() -> None:
    """A file that no view writes would go stale unseen."""
    written = {golden.path(view, sample).name for view, sample in golden.GOLDEN}
    views = tuple(f"{view}-" for view in golden.VIEWS)
    assert {file.name for file in golden.FOLDER.iterdir() if file.name.startswith(views)} == written
