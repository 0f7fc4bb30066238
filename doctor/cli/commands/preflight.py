"""`doctor preflight`: what could be collected on a target, what not, and what would change that."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import click

from doctor.cli import options
from doctor.cli.table import format_option, print_rows

if TYPE_CHECKING:
    from doctor.collectors.base import Collector
    from doctor.procfs.access import Denial


@click.command("preflight", short_help="Say what could be collected, and how to get the rest.")
@options.target
@format_option
def command(target: str | None, format_name: str) -> None:
    """Say what doctor could collect from TARGET, at which cost, and how to get the rest. Collects nothing."""
    from doctor.collectors.base import collectors
    from doctor.procfs.handle import ProcDir
    from doctor.targets.resolve import resolve

    root = resolve(target, children=False).root
    proc = ProcDir(root.pid)
    try:
        checks = [(collector, collector.obstacle(proc)) for collector in collectors()]
    finally:
        proc.close()
    if format_name == "json":
        print_rows([_row(collector, obstacle) for collector, obstacle in checks], format_name)
        return
    click.echo(f"process {root.pid}, Python {root.python or 'of unknown version'}")
    _print_checks(checks)


def _row(collector: Collector, obstacle: Denial | None) -> dict[str, object]:
    return {
        "collector": collector.name,
        "tier": collector.tier,
        "ready": obstacle is None,
        "needs": collector.right,
        "cost": collector.cost,
        "reason": obstacle.reason if obstacle else None,
        "remedy": obstacle.remedy if obstacle else None,
    }


def _print_checks(checks: list[tuple[Collector, Denial | None]]) -> None:
    """Each collector, then each obstacle once, however many collectors it stands in the way of."""
    for collector, obstacle in checks:
        _print(f"\n{'!' if obstacle else '✓'} {collector.name}: ", f"{collector.tier} only; {collector.cost}")
        _print("  needs: ", collector.right)
    for obstacle in dict.fromkeys(obstacle for _, obstacle in checks if obstacle):
        hindered = ", ".join(collector.name for collector, found in checks if found == obstacle)
        _print("\nnot fully: ", hindered)
        _print("  because: ", obstacle.reason)
        _print("  remedy:  ", obstacle.remedy)


def _print(label: str, text: str) -> None:
    from doctor.cli.terminal import terminal_for

    width = terminal_for(sys.stdout, color=False).width
    first = label.lstrip("\n")
    lines = textwrap.wrap(text, width - len(first), break_on_hyphens=False) or [""]
    click.echo(label + f"\n{' ' * len(first)}".join(lines))
