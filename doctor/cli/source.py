"""Where a command gets its bundle from: a live target, looked at now, or a file."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from doctor.errors import UnwritableOutput

if TYPE_CHECKING:
    from doctor.collectors.base import Tier
    from doctor.model.bundle import Bundle
    from doctor.model.evidence import Evidence

_ELF_HEAD = 18
"""As far as the field that says what kind of ELF file it is; 4 is a core."""
_GZIP = b"\x1f\x8b"


def saved_bundle(text: str | None) -> Path | None:
    """The bundle file that TARGET names, if it names one.

    A file that is no bundle may still be a fragment of a command line, as in `doctor diagnose app.py`.
    """
    if text is None or text.isdecimal():
        return None
    path = Path(text)
    if not path.is_file():
        return None
    from doctor.store.bundle_file import SUFFIX, is_bundle

    return path if is_bundle(path) or text.endswith(SUFFIX) else None


def core_file(text: str | None) -> Path | None:
    """The core file that TARGET names, gzipped or not, if it names one."""
    path = Path(text) if text is not None and not text.isdecimal() else None
    if path is None or not path.is_file():
        return None
    import gzip

    try:
        with path.open("rb") as file:
            head = file.read(_ELF_HEAD)
        if head.startswith(_GZIP):
            with gzip.open(path) as packed:
                head = packed.read(_ELF_HEAD)
    except (OSError, EOFError, zlib.error):
        return None
    return path if head.startswith(b"\x7fELF") and head[16:18] in (b"\4\0", b"\0\4") else None


def evidence(
    text: str | None,
    duration_s: float,
    *,
    children: bool,
    quiet: bool,
    kinds: Collection[type[Evidence]] | None = None,
    allow: Collection[Tier] = (),
) -> Bundle:
    """What is known of TARGET: from its file, or from a look at it now.

    Raises:
        DoctorError: there is no such target, or its file cannot be read.
    """
    core = core_file(text)
    if core:
        from doctor import pipeline

        return pipeline.read_core(core)
    saved = saved_bundle(text)
    if saved is None:
        return look(text, duration_s, children=children, quiet=quiet, kinds=kinds, allow=allow)
    from doctor.store import bundle_file

    return bundle_file.load(saved)


def look(
    text: str | None,
    duration_s: float,
    *,
    children: bool,
    quiet: bool,
    kinds: Collection[type[Evidence]] | None = None,
    allow: Collection[Tier] = (),
) -> Bundle:
    """Resolves TARGET and captures it, with progress on a terminal's stderr; without length, each thread once.

    Raises:
        DoctorError: there is no such target.
    """
    shows_progress = sys.stderr.isatty() and not quiet
    _tell(shows_progress, "doctor: looking for the target …")
    from doctor.targets.resolve import resolve

    target = resolve(text, children=children)
    from doctor import pipeline

    pids = f"process {target.root.pid}" + (f" and {len(target.children)} below it" if target.children else "")
    with interruptible():
        began = time.monotonic()
        lasting = f"for {duration_s:g} s" if duration_s else "once"
        harm = "each process is stopped for moments" if allow else "nothing is stopped"
        _tell(shows_progress, f"doctor: reading {pids} {lasting}; {harm}")
        return pipeline.capture(
            target,
            duration_s,
            lambda name: _tell(
                shows_progress and duration_s > 0, f"doctor: {time.monotonic() - began:4.1f} s  {name} read"
            ),
            kinds,
            allow,
        )


def _tell(shows_progress: bool, text: str) -> None:
    if shows_progress:
        click.echo(text, err=True)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """A termination signal ends a capture as Ctrl-C does, so that children are reaped either way."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def require_writable(path: Path | None) -> None:
    """Fails before the capture, not after it, when its result could not be written.

    Raises:
        UnwritableOutput: the file, or its folder, cannot be written.
    """
    if path is None:
        return
    place = path if path.exists() else path.parent
    if not place.exists() or not os.access(place, os.W_OK) or path.is_dir():
        reason = "is a folder" if path.is_dir() else "cannot be written" if place.exists() else "has no such folder"
        raise UnwritableOutput("unwritable-output", f"{path} {reason}", "name another file")
