"""What could not be seen, on a page: each reason once, with what it costs and its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich.text import Text

from doctor.model.bundle import Skipped
from doctor.renderers import _phrases as say
from doctor.renderers._page import Page


def gaps(page: Page, skipped: Iterable[Skipped], brief: Callable[[str], str]) -> None:
    """Every entry, decisive ones first; `brief` cleans and cuts a text."""
    for skip in say.skips(skipped):
        lost = f"; {lost}" if (lost := say.lost(skip)) else ""
        entry(page, "! " if skip.decisive else "  ", skip.collector, Text(brief(skip.reason) + lost))
        page.paragraph(Text(brief(skip.remedy)), Text.assemble("    ", ("remedy: ", "dim")), rest=" " * 12)


def entry(page: Page, mark: str, name: str, text: Text) -> None:
    """A name with what is said of it."""
    page.paragraph(Text.assemble((say.clip(name, 40), "bold"), ": ", text), mark, rest=" " * 4)
