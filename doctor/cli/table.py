"""Lists as aligned columns, or as JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

format_option = click.option(
    "--format",
    "format_name",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="How to print.",
)


def print_rows(rows: Sequence[dict[str, Any]], format_name: str) -> None:
    """Prints rows with equal keys: as a table whose heads are the keys, or as a JSON array."""
    if format_name == "json":
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
    elif rows:
        _print_table(rows)


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from doctor.cli.terminal import terminal_for

    terminal = terminal_for(sys.stdout, color=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    heads = list(rows[0])
    for head in heads:
        is_number = all(isinstance(row[head], int | float) for row in rows)
        table.add_column(head.replace("_", " "), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[head])) for head in heads))
    console = Console(width=terminal.width, no_color=not terminal.color, highlight=False)
    with console.capture() as printed:  # rich itself would end doctor where the reader of stdout has left
        console.print(table)
    click.echo(printed.get(), nl=False, color=True)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
