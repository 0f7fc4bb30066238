"""Which outputs are kept whole in `fixtures/golden`, and how to write them again.

After a wanted change of a format, run `python -m tests.renderers.golden` in the root of the repository, with `tests` in
PYTHONPATH, and read the diff before committing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from doctor.model.diagnosis import Diagnosis
from doctor.model.stack_report import StackReport
from doctor.renderers.base import Terminal, renderers
from doctor.renderers.stacks.base import stack_renderers

from .samples import SAMPLES
from .stacks.samples import SAMPLES as STACKS

FOLDER = Path(__file__).parents[2] / "fixtures" / "golden"
TERMINALS = {"text-80": Terminal(width=80), "text-120": Terminal(width=120)}
VIEWS = {
    **{view: ("text", terminal) for view, terminal in TERMINALS.items()},
    "text-verbose": ("text", Terminal(width=80, verbose=True)),
    **{name: (name, Terminal()) for name in renderers() if name != "text"},
}
"""How a golden file's name begins → what renders it."""
STACK_VIEWS = {
    **{view: ("text", terminal) for view, terminal in TERMINALS.items()},
    "text-all": ("text", Terminal(width=80, verbose=True)),
    **{name: (name, Terminal()) for name in stack_renderers() if name != "text"},
}


def _diagnosis(view: str, diagnosis: Diagnosis) -> str:
    name, terminal = VIEWS[view]
    return renderers()[name].render(diagnosis, terminal)


def _stacks(view: str, report: StackReport) -> str:
    name, terminal = STACK_VIEWS[view]
    return stack_renderers()[name].render(report, terminal)


# All of 300 findings, or of 900 frames, in every view would be half a megabyte; some views show how they are cut down.
GOLDEN: Mapping[str, Callable[[], str]] = {
    f"{view}-{name}.txt": partial(_diagnosis, view, sample)
    for name, sample in SAMPLES.items()
    for view in VIEWS
    if name != "flood" or view in ("text-80", "markdown")
} | {
    f"stacks-{view}-{name}.txt": partial(_stacks, view, sample)
    for name, sample in STACKS.items()
    for view in STACK_VIEWS
    if name != "hostile" or view in ("text-80", "collapsed")
}
"""Every golden file by name, and what makes it."""


def refresh() -> None:
    """Writes every golden file."""
    for name, render in GOLDEN.items():
        (FOLDER / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    refresh()
