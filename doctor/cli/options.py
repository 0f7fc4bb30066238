"""Options that several commands share, spelled once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_DURATION_S = 10.0
QUICK_DURATION_S = 2.0
_LONGEST_S = 3600.0


class Seconds(click.FloatRange):
    """A range of seconds; click's own lets "nan" through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, if it is one and lies in the range."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds


target = click.argument("target", required=False)
duration = click.option(
    "--duration",
    type=Seconds(min=0.5, max=_LONGEST_S),
    metavar="SECONDS",
    help=f"How long to look.  [default: {DEFAULT_DURATION_S:.0f}]",
)
sampling = click.option(
    "--duration",
    type=Seconds(min=0.5, max=_LONGEST_S),
    metavar="SECONDS",
    help="Sample for so long; without it, look once.",
)
allow = click.option(
    "--allow",
    type=click.Choice(["pause"]),
    multiple=True,
    help="pause: stop the target for milliseconds a sample, so that no stack is torn.",
)
quick = click.option("--quick", is_flag=True, help=f"Look for {QUICK_DURATION_S:.0f} seconds only.")
children = click.option(
    "--children/--no-children", default=True, help="Take the worker processes with their master.  [default: yes]"
)
output = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to FILE, not stdout."
)
no_color = click.option("--no-color", is_flag=True, help="No colours; NO_COLOR and TERM=dumb do the same.")
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Explain each finding.")


def _formats(folder: str) -> tuple[str, ...]:
    """Names of the renderers, from their folder alone: importing them would cost every start-up."""
    path = Path(__file__).parent.parent / folder
    names = (module.name for module in iter_modules([str(path)]) if not module.ispkg)
    return tuple(sorted(name for name in names if name != "base" and not name.startswith("_")))


def format_option(folder: str, printed: str) -> Callable[[F], F]:
    """`--format`, with every renderer of a folder of `doctor` as a choice."""
    return click.option(
        "--format",
        "format_name",
        type=click.Choice(_formats(folder)),
        default="text",
        show_default=True,
        help=f"How to print the {printed}.",
    )


def window_s(duration_s: float | None, *, is_quick: bool) -> float:
    """The length of the window that was asked for.

    Raises:
        click.UsageError: both a duration and --quick were given.
    """
    if duration_s is not None and is_quick:
        raise click.UsageError("--quick and --duration exclude each other")
    return QUICK_DURATION_S if is_quick else duration_s or DEFAULT_DURATION_S
