"""`doctor rules`: what is detected, and from what."""

from __future__ import annotations

import click

from doctor.cli.table import format_option, print_rows


@click.command("rules", short_help="List every condition that doctor detects.")
@format_option
def command(format_name: str) -> None:
    """List every condition that doctor detects, and the evidence it takes; with --format json its thresholds too."""
    from doctor.evaluate import evidence_names
    from doctor.rules.base import rules
    from doctor.thresholds import thresholds

    found = [(rule, thresholds().get(rule.id, {})) for rule in rules().values()]
    rows: list[dict[str, object]] = [
        {"id": rule.id, "title": rule.title, "evidence": evidence_names(rule.needs)} for rule, _ in found
    ]
    if format_name == "json":
        rows = [row | {"thresholds": numbers} for row, (_, numbers) in zip(rows, found, strict=True)]
    print_rows(rows, format_name)
    if format_name == "text":
        click.echo("\ndoctor explain ID tells how one is recognised, and where its thresholds come from")
