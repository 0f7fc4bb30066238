"""`doctor preflight`: what could be collected on a target, what not, and what would change that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from doctor.cli import options
from doctor.cli.table import format_option, print_rows

if TYPE_CHECKING:
    from doctor.collectors.base import Collector
    from doctor.procfs.handle import ProcDir


@click.command("preflight", short_help="Say what could be collected, and how to get the rest.")
@options.target
@format_option
def command(target: str | None, format_name: str) -> None:
    """Say what doctor could collect from TARGET, at which cost, and how to get the rest. Reads nothing else."""
    from doctor.collectors.base import collectors
    from doctor.procfs.handle import ProcDir
    from doctor.targets.resolve import resolve

    root = resolve(target, children=False).root
    proc = ProcDir(root.pid)
    try:
        rows = [_row(collector, proc) for collector in collectors()]
    finally:
        proc.close()
    if format_name == "text":
        click.echo(f"process {root.pid}, Python {root.python or 'of unknown version'}\n")
    print_rows(rows, format_name)


def _row(collector: Collector, proc: ProcDir) -> dict[str, Any]:
    obstacle = collector.obstacle(proc)
    return {
        "collector": collector.name,
        "tier": collector.tier,
        "ready": "yes" if obstacle is None else "not fully",
        "needs": collector.right,
        "cost": collector.cost,
        "reason": obstacle.reason if obstacle else "",
        "remedy": obstacle.remedy if obstacle else "",
    }
