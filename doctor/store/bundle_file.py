"""A bundle as one file: gzip-compressed JSON, schema doctor.bundle/1."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Literal, Union

import msgspec

from doctor import __version__
from doctor.errors import UnreadableBundle, UnwritableOutput
from doctor.model.base import Value
from doctor.model.bundle import Bundle, Cost, Skipped, Window
from doctor.model.evidence import Evidence, kinds
from doctor.model.target import Target

SCHEMA = "doctor.bundle/1"
SUFFIX = ".doctor.gz"
_UNDECODABLE = (msgspec.MsgspecError, RecursionError)
_GZIP = b"\x1f\x8b"
_MAX_BYTES = 1 << 30
"""A bundle of 64 processes with 1,000 threads each stays below a tenth of this; more is a decompression bomb."""


class _Header(msgspec.Struct):
    schema: str
    doctor_version: str


class _Stored(Value, frozen=True, kw_only=True):
    schema: Literal["doctor.bundle/1"] = "doctor.bundle/1"
    doctor_version: str = __version__
    target: Target
    window: Window
    evidence: tuple[msgspec.Raw, ...]
    skipped: tuple[Skipped, ...]
    cost: Cost


def save(bundle: Bundle, path: Path) -> None:
    """Writes a bundle.

    Raises:
        UnwritableOutput: the file cannot be written.
    """
    stored = _Stored(
        target=bundle.target,
        window=bundle.window,
        evidence=tuple(msgspec.Raw(msgspec.json.encode(evidence)) for evidence in bundle.evidence),
        skipped=bundle.skipped,
        cost=bundle.cost,
    )
    write(path, gzip.compress(msgspec.json.encode(stored), mtime=0))


def write(path: Path, content: bytes) -> None:
    """Writes an output file.

    Raises:
        UnwritableOutput: it cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> UnwritableOutput:
    """The error for an output file that cannot be written."""
    return UnwritableOutput("unwritable-output", f"cannot write {path}: {error.strerror}", "name another file with -o")


def is_bundle(path: Path) -> bool:
    """Whether a file looks like a bundle, or a part of one."""
    try:
        with path.open("rb") as file:
            return file.read(2) == _GZIP
    except OSError:
        return False


def load(path: Path) -> Bundle:
    """Reads a bundle.

    Raises:
        UnreadableBundle: the file is truncated, no bundle, or written by a newer doctor.
    """
    content = _decompress(path)
    try:
        header = msgspec.json.decode(content, type=_Header)
    except _UNDECODABLE:
        raise _foreign(path) from None
    if header.schema != SCHEMA:
        raise _unknown_schema(path, header)
    try:
        stored = msgspec.json.decode(content, type=_Stored)
        decoder = msgspec.json.Decoder(Union[kinds()])  # noqa: UP007 - known only at run time
        evidence: tuple[Evidence, ...] = tuple(decoder.decode(raw) for raw in stored.evidence)
    except _UNDECODABLE as error:
        raise UnreadableBundle(
            "unknown-content",
            f"{path} was written by doctor {header.doctor_version} and this is {__version__}: {error}",
            "read it with the doctor that wrote it",
        ) from error
    return Bundle(
        target=stored.target, window=stored.window, evidence=evidence, skipped=stored.skipped, cost=stored.cost
    )


def _decompress(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            content = file.read(_MAX_BYTES + 1)
    except EOFError:
        raise UnreadableBundle(
            "truncated-bundle", f"{path} ends too early: the file was cut off", "copy the bundle again, or capture anew"
        ) from None
    except (gzip.BadGzipFile, zlib.error):
        raise _foreign(path) from None
    except OSError as error:
        raise UnreadableBundle("unreadable-bundle", f"cannot read {path}: {error.strerror}", "check the path") from None
    if len(content) > _MAX_BYTES:
        raise UnreadableBundle("oversized-bundle", f"{path} unpacks to more than 1 GiB", "capture anew")
    return content


def _foreign(path: Path) -> UnreadableBundle:
    return UnreadableBundle(
        "foreign-file", f"{path} is not a doctor bundle", "doctor capture TARGET -o FILE writes one"
    )


def _unknown_schema(path: Path, header: _Header) -> UnreadableBundle:
    if not header.schema.startswith("doctor.bundle/"):
        return _foreign(path)
    return UnreadableBundle(
        "newer-bundle",
        f"{path} has the format {header.schema} of doctor {header.doctor_version}; this doctor reads {SCHEMA}",
        "pip install --upgrade service-doctor",
    )
