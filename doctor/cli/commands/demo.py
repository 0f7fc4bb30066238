"""`doctor demo`: break a real service here, and see it diagnosed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from doctor.cli import options, source
from doctor.errors import ExitCode

if TYPE_CHECKING:
    from doctor.demo.faults import Fault
    from doctor.model.diagnosis import Diagnosis


@click.command("demo", short_help="Break a small service here, and diagnose it.")
@click.option("--fault", "fault_name", metavar="NAME", help="What to break; --list names the choices.")
@click.option("--list", "list_faults", is_flag=True, help="List what can be broken.")
@click.option(
    "--duration", type=options.Seconds(min=2, max=60), default=5.0, metavar="SECONDS", help="How long to look."
)
@options.no_color
def command(fault_name: str | None, list_faults: bool, duration: float, no_color: bool) -> None:
    """Start a small web shop on loopback, break it, diagnose it, and take it down again.

    Exits with 0 when the diagnosis names the fault as the root cause.
    """
    from doctor.demo.faults import DEFAULT, FAULTS

    if list_faults:
        for fault in FAULTS.values():
            click.echo(f"{fault.name:20} {fault.description}")
        return
    if fault_name is not None and fault_name not in FAULTS:
        raise click.BadParameter(f"{fault_name!r} is none of {', '.join(FAULTS)}", param_hint="--fault")
    fault = FAULTS[fault_name or DEFAULT]
    diagnosis = _diagnose(fault, duration)
    _show(diagnosis, color=not no_color)
    if not _named(fault, diagnosis):
        click.echo(f"doctor: expected {fault.root_cause or 'no finding'} and did not get it", err=True)
        click.get_current_context().exit(int(ExitCode.INTERNAL))


def _diagnose(fault: Fault, duration_s: float) -> Diagnosis:
    from doctor.demo.stage import CUSTOMERS, THREADS, broken_shop
    from doctor.pipeline import diagnose

    click.echo(
        f"doctor demo: gunicorn with {THREADS} threads, a Flask shop, {CUSTOMERS} customers, on loopback", err=True
    )
    with source.interruptible(), broken_shop(fault) as pid:
        click.echo(f"doctor demo: {fault.description}", err=True)
        click.echo(f"\n$ doctor diagnose {pid}\n", err=True)
        bundle = source.look(str(pid), duration_s, children=True, quiet=False)
    return diagnose(bundle)


def _show(diagnosis: Diagnosis, *, color: bool) -> None:
    from doctor.cli.terminal import terminal_for
    from doctor.renderers.base import renderers

    click.echo(renderers()["text"].render(diagnosis, terminal_for(sys.stdout, color=color)), nl=False, color=True)


def _named(fault: Fault, diagnosis: Diagnosis) -> bool:
    """Whether the root causes are what was broken."""
    roots = {finding.id for finding in diagnosis.findings if finding.ref in diagnosis.verdict.root_causes}
    return fault.root_cause in roots if fault.root_cause else not roots
