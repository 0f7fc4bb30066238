"""`doctor capture`: keep the evidence, judge it later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from doctor.cli import options, source

if TYPE_CHECKING:
    from doctor.collectors.base import Tier


@click.command("capture", short_help="Save the evidence as one file, to judge it later.")
@options.target
@options.duration
@options.quick
@options.children
@options.allow
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    required=True,
    help="The bundle to write; *.doctor.gz by custom.",
)
@options.quiet
def command(
    target: str | None,
    duration: float | None,
    quick: bool,
    children: bool,
    allow: tuple[Tier, ...],
    output: Path,
    quiet: bool,
) -> None:
    """Save the evidence about TARGET as one file; `doctor diagnose FILE` judges it, here or elsewhere."""
    window_s = options.window_s(duration, is_quick=quick)
    source.require_writable(output)
    bundle = source.look(target, window_s, children=children, quiet=quiet, allow=allow)
    from doctor.store import bundle_file

    bundle_file.save(bundle, output)
    click.echo(f"next: doctor diagnose {output}", err=True)
