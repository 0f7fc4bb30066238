"""`doctor playbook`: which runbooks there are, and one of them to read."""

from __future__ import annotations

import difflib

import click

from doctor.cli.table import format_option, print_rows
from doctor.errors import UsageError


@click.group("playbook")
def command() -> None:
    """Runbooks: what to do about a finding."""


@command.command("list")
@format_option
def list_playbooks(format_name: str) -> None:
    """List the playbooks with the findings they answer."""
    from doctor.playbook.library import load_playbooks

    print_rows(
        [
            {"id": playbook.id, "title": playbook.title, "findings": playbook.findings}
            for playbook in load_playbooks().values()
        ],
        format_name,
    )


@command.command("show")
@click.argument("playbook_id", metavar="ID")
@click.option("--pid", type=click.IntRange(min=1), metavar="PID", help="Fill the PID into the commands.")
def show_playbook(playbook_id: str, pid: int | None) -> None:
    """Print the playbook ID as Markdown."""
    from doctor.playbook.library import load_playbooks
    from doctor.playbook.markdown import to_markdown

    playbooks = load_playbooks()
    if playbook_id not in playbooks:
        close = difflib.get_close_matches(playbook_id, playbooks)
        hint = f"perhaps: {', '.join(close)}" if close else "`doctor playbook list` names them all"
        raise UsageError("unknown-playbook", f"there is no playbook {playbook_id!r}", hint)
    click.echo(to_markdown(playbooks[playbook_id], {"pid": str(pid)} if pid else None), nl=False)
