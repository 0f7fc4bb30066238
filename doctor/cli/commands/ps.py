"""`doctor ps`: what could be diagnosed here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from doctor.cli.table import format_option, print_rows

if TYPE_CHECKING:
    from doctor.targets.processes import PythonProcess


@click.command("ps", short_help="List the Python processes of this host.")
@format_option
def command(format_name: str) -> None:
    """List the Python processes of this host, and whether doctor can attach to each."""
    from doctor.targets.processes import python_processes

    rows = [row for found in python_processes() if found.ref.pid != os.getpid() and (row := _row(found, format_name))]
    if not rows and format_name == "text":
        click.echo("no other Python process is running here", err=True)
    print_rows(rows, format_name)


def _row(found: PythonProcess, format_name: str) -> dict[str, Any] | None:
    """One process; None when it ended before it could be looked at."""
    from doctor.procfs.access import denial
    from doctor.procfs.handle import GONE, ProcDir
    from doctor.redact import redact_arguments
    from doctor.targets.processes import framework, listening_ports, one_line

    try:
        proc = ProcDir(found.ref.pid)
    except GONE:
        return None
    try:
        denied, ports = denial(proc), listening_ports(proc)
    except GONE:
        return None
    finally:
        proc.close()
    cmdline = found.ref.cmdline
    return {
        "pid": found.ref.pid,
        "python": f"{'' if found.implementation == 'CPython' else found.implementation + ' '}{found.ref.python or '?'}",
        "framework": framework(cmdline),
        "ports": ports,
        "threads": found.threads,
        "rss_mb": round(found.rss_bytes / 1e6),
        "attach": "yes" if denied is None else f"no: {denied.reason}",
        "command": list(redact_arguments(cmdline)) if format_name == "json" else one_line(cmdline, 60),
    }
