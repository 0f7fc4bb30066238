"""What the output stream can show, and how the payload gets there."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from pathlib import Path

    from doctor.renderers.base import Terminal

_PIPE_WIDTH = 100


def terminal_for(stream: TextIO | None, *, color: bool, verbose: bool = False) -> Terminal:
    """The terminal behind a stream; a file or a pipe gets plain text of a readable width."""
    from doctor.renderers.base import Terminal

    is_terminal = stream is not None and stream.isatty()
    dumb = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return Terminal(
        width=shutil.get_terminal_size().columns if is_terminal else _PIPE_WIDTH,
        color=is_terminal and color and not dumb,
        verbose=verbose,
    )


def put(text: str, output: Path | None) -> None:
    """Prints the payload, or writes it to a file.

    Raises:
        UnwritableOutput: the file cannot be written.
    """
    if output is None:
        with reader_may_leave():
            click.echo(text, nl=False, color=True)
        return
    from doctor.store import bundle_file

    bundle_file.write(output, text.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """Whoever reads stdout may stop reading, as `head` does: that is no failure, and leaves the exit code as it is."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # for what is still buffered
        os.close(nowhere)
