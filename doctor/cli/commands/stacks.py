"""`doctor stacks`: what every thread does, for people who want to look for themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from doctor.cli import options, source
from doctor.cli.terminal import put, terminal_for
from doctor.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from doctor.collectors.base import Tier
    from doctor.model.stack_report import StackReport
    from doctor.model.target import Target


@click.command("stacks", short_help="Show what every thread does, equal stacks once.")
@options.target
@options.sampling
@options.children
@options.allow
@click.option("--all", "everything", is_flag=True, help="In text: every frame, and the stacks of idle threads.")
@options.format_option("renderers/stacks", "stacks")
@options.output
@options.no_color
@options.quiet
def command(
    target: str | None,
    duration: float | None,
    children: bool,
    allow: tuple[Tier, ...],
    everything: bool,
    format_name: str,
    output: Path | None,
    no_color: bool,
    quiet: bool,
) -> None:
    """Show what every thread of TARGET does: a PID, a name, :PORT, a saved bundle, or a core file.

    Threads with equal stacks are shown once: those that run first, then those that wait in the middle of work and for
    what, idle ones last. Nothing is stopped, unless --allow pause is given.

    Exit codes: 0 stacks were read, 1 doctor failed, 2 wrong usage, 5 could not attach, 6 no stack could be read.
    """
    source.require_writable(output)
    report = _report(target, duration, children=children, quiet=quiet, allow=allow)
    from doctor.renderers.stacks.base import stack_renderers

    terminal = terminal_for(None if output else sys.stdout, color=not no_color, verbose=everything)
    put(stack_renderers()[format_name].render(report, terminal), output)
    seen = any(process.samples for process in report.processes)
    click.get_current_context().exit(int(ExitCode.OK if seen else ExitCode.INCONCLUSIVE))


def _report(
    target: str | None, duration: float | None, *, children: bool, quiet: bool, allow: tuple[Tier, ...]
) -> StackReport:
    from doctor.model.evidence.stacks import Stacks
    from doctor.model.evidence.threads import Threads
    from doctor.stack_groups import stack_report, with_source

    is_live = source.saved_bundle(target) is None and source.core_file(target) is None
    kinds = (Stacks, Threads)
    bundle = source.evidence(target, duration or 0.0, children=children, quiet=quiet, kinds=kinds, allow=allow)
    report = stack_report(bundle)
    return with_source(report, _source_lines(bundle.target)) if is_live else report


def _source_lines(target: Target) -> Callable[[int, str, int], str | None]:
    from doctor.procfs.source_lines import SourceLines
    from doctor.redact import redact_text

    files = {ref.pid: SourceLines(ref) for ref in target.processes}

    def lookup(pid: int, file: str, number: int) -> str | None:
        line = files[pid].line(file, number)
        return redact_text(line) if line else None

    return lookup
