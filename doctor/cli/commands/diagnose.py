"""`doctor diagnose`: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from doctor.cli import options, source
from doctor.cli.terminal import put, terminal_for
from doctor.errors import ExitCode

if TYPE_CHECKING:
    from doctor.collectors.base import Tier
    from doctor.model.diagnosis import Diagnosis


@click.command("diagnose", short_help="Say what is wrong with a service.")
@options.target
@options.duration
@options.quick
@options.children
@options.allow
@options.format_option("renderers", "diagnosis")
@options.output
@click.option(
    "--save", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Keep the evidence as a bundle."
)
@options.no_color
@options.quiet
@options.verbose
def command(
    target: str | None,
    duration: float | None,
    quick: bool,
    children: bool,
    allow: tuple[Tier, ...],
    format_name: str,
    output: Path | None,
    save: Path | None,
    no_color: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Say what is wrong with TARGET: a PID, a name, :PORT, or a saved bundle.

    Without TARGET the one Python process of this host.

    Exit codes: 0 nothing found, 1 doctor failed, 2 wrong usage, 3 an error was found, 4 only warnings, 5 could not
    attach, 6 inconclusive.
    """
    window_s = options.window_s(duration, is_quick=quick)
    for path in (output, save):
        source.require_writable(path)
    bundle = source.evidence(target, window_s, children=children, quiet=quiet, allow=allow)
    if save:
        from doctor.store import bundle_file

        bundle_file.save(bundle, save)
    from doctor.pipeline import diagnose

    diagnosis = diagnose(bundle)
    _print(diagnosis, format_name, output, color=not no_color, verbose=verbose)
    click.get_current_context().exit(exit_code(diagnosis))


def exit_code(diagnosis: Diagnosis) -> int:
    """The exit code that says the same as the verdict."""
    codes = {"ok": ExitCode.OK, "fail": ExitCode.FAIL, "warn": ExitCode.WARN, "inconclusive": ExitCode.INCONCLUSIVE}
    return int(codes[diagnosis.verdict.status])


def _print(diagnosis: Diagnosis, format_name: str, output: Path | None, *, color: bool, verbose: bool) -> None:
    from doctor.renderers.base import renderers

    terminal = terminal_for(None if output else sys.stdout, color=color, verbose=verbose)
    put(renderers()[format_name].render(diagnosis, terminal), output)
