"""`doctor playbook`: which runbooks there are, and one of them to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from doctor.errors import UsageError


@click.group("playbook")
def command() -> None:
    """Runbooks: what to do about a finding."""


@command.command("list")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_playbooks(output_format: str) -> None:
    """List the playbooks with the findings they answer."""
    import msgspec

    from doctor.playbook.library import load_playbooks

    playbooks = load_playbooks().values()
    if output_format == "json":
        rows = [{"id": playbook.id, "title": playbook.title, "findings": playbook.findings} for playbook in playbooks]
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
    else:
        cells = [(playbook.id, playbook.title, ", ".join(playbook.findings)) for playbook in playbooks]
        click.echo(_table([("ID", "TITLE", "FINDINGS"), *cells]))


@command.command("show")
@click.argument("playbook_id", metavar="ID")
def show_playbook(playbook_id: str) -> None:
    """Print a playbook as Markdown."""
    from doctor.playbook.library import load_playbooks
    from doctor.playbook.markdown import to_markdown

    playbooks = load_playbooks()
    if playbook_id not in playbooks:
        raise _unknown(playbook_id, playbooks)
    click.echo(to_markdown(playbooks[playbook_id]), nl=False)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _unknown(playbook_id: str, known: Iterable[str]) -> UsageError:
    from difflib import get_close_matches

    from doctor.errors import UsageError

    close = get_close_matches(playbook_id, known)
    hint = f"did you mean {' or '.join(close)}?" if close else "`doctor playbook list` names them all"
    return UsageError("unknown-playbook", f"there is no playbook {playbook_id!r}", hint)
