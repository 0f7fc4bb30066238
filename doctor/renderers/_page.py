"""Lines of text that fit a terminal: hanging indents, and words (so paths and commands) kept whole."""

from __future__ import annotations

import re
from io import StringIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

NARROWEST, WIDEST = 40, 120
"""Below, indented text would break at every word; above, lines are too long to read."""
_WORDS = re.compile(r"""(?:'[^']*'|"[^"]*"|\S)+""")


class Page:
    """Collects wrapped lines. What it is given must be clean already: it measures, it does not escape."""

    def __init__(self, width: int, color: bool) -> None:
        self.width = max(NARROWEST, min(WIDEST, width))
        self._file = StringIO()
        self._console = Console(
            file=self._file,
            width=self.width,
            force_terminal=color,
            color_system="standard" if color else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            _environ={},  # the caller has decided about width and colour; NO_COLOR and COLUMNS are its affair
        )

    def blank(self) -> None:
        """An empty line."""
        self._console.print()

    def line(self, text: Text) -> None:
        """One line, cut where it is too long."""
        text.truncate(self.width, overflow="ellipsis")
        self._print(text)

    def paragraph(self, text: Text, first: Text | str = "", rest: str | None = None) -> None:
        """A paragraph after `first`. Further lines begin with `rest`, by default as many spaces, never fewer."""
        head = first if isinstance(first, Text) else Text(first)
        hang = " " * cell_len(head.plain) if rest is None else rest
        room = self.width - len(hang)
        for piece in _around_wide_words(text, room, self.width):
            missing = 0 if " " in piece.plain else cell_len(piece.plain) - room
            if 0 < missing <= len(hang):  # a path gives up its indent before it is cut
                if head.plain.strip():
                    self._print(head)
                self._print(Text.assemble(hang[missing:], piece))
            else:
                self._rows(piece, head, hang)
            head = Text(hang)

    def command(self, command: str, style: str, first: Text) -> None:
        """A command that stays one when it is copied: further lines continue it as a shell does."""
        lines = _fill(_WORDS.findall(command), self.width - cell_len(first.plain) - len(" \\"))
        text = " \\\n".join(lines)
        self.paragraph(Text(text, style), first)

    def text(self) -> str:
        """Everything so far."""
        return self._file.getvalue()

    def _rows(self, text: Text, head: Text, hang: str) -> None:
        for line in text.wrap(self._console, self.width - len(hang), overflow="fold"):
            self._print(Text.assemble(head, line))
            head = Text(hang)

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, no_wrap=True, overflow="ignore", crop=False)


def _around_wide_words(text: Text, above: int, up_to: int) -> list[Text]:
    """The text in pieces, such that a word whose width is in this range is a piece of its own."""
    words = [word for word in re.finditer(r"\S+ *", text.plain) if above < cell_len(word[0].rstrip()) <= up_to]
    pieces = text.divide([end for word in words for end in word.span()])
    for piece in pieces:
        piece.rstrip()
    return [piece for piece in pieces if piece.plain]


def _fill(words: list[str], width: int) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
