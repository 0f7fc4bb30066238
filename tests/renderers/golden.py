"""Which outputs are kept whole in `fixtures/golden`, and how to write them again.

After a wanted change of a format, run `python -m tests.renderers.golden` in the root of the repository, and read the
diff before committing it.
"""

from __future__ import annotations

from pathlib import Path

from doctor.renderers.base import Terminal, renderers

from .samples import SAMPLES

FOLDER = Path(__file__).parents[2] / "fixtures" / "golden"
VIEWS = {
    "text-80": ("text", Terminal(width=80)),
    "text-120": ("text", Terminal(width=120)),
    "text-verbose": ("text", Terminal(width=80, verbose=True)),
    **{name: (name, Terminal()) for name in renderers() if name != "text"},
}
"""How a golden file's name begins → what renders it."""
# All of 300 findings in every view would be half a megabyte; these two views show how they are cut down.
GOLDEN = [
    (view, sample) for sample in SAMPLES for view in VIEWS if sample != "flood" or view in ("text-80", "markdown")
]


def path(view: str, sample: str) -> Path:
    """Where the output is kept."""
    return FOLDER / f"{view}-{sample}.txt"


def render(view: str, sample: str) -> str:
    """The output as it is now."""
    name, terminal = VIEWS[view]
    return renderers()[name].render(SAMPLES[sample], terminal)


def refresh() -> None:
    """Writes every golden file."""
    for view, sample in GOLDEN:
        path(view, sample).write_text(render(view, sample), encoding="utf-8")


if __name__ == "__main__":
    refresh()
