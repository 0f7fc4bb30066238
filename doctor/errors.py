"""What can go wrong with doctor itself, in one tree.

    DoctorError
    ├── UsageError            exit 2   the command line or a file named on it
    │   ├── AmbiguousTarget            several processes match
    │   ├── UnreadableBundle           truncated, foreign or newer bundle
    │   ├── UnwritableOutput           the output file cannot be written
    │   └── MissingExtra               an optional dependency is not installed
    ├── AttachError           exit 5   there is nothing doctor can read
    │   ├── UnknownLayout              no table says where this Python keeps what
    │   └── CannotRead                 the memory of this process or core file holds no interpreter doctor can read
    └── InvalidDefinition     exit 1   a rule, collector, playbook or threshold file of doctor is malformed

A collector or rule that cannot do its work raises none of these: that is a value, `model.bundle.Skipped`.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes every diagnosing command shares."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    FAIL = 3
    WARN = 4
    NO_ATTACH = 5
    INCONCLUSIVE = 6
    INTERRUPTED = 130


class DoctorError(Exception):
    """An error that a person can act on: `slug` names it, `hint` says what to do next."""

    exit_code = ExitCode.INTERNAL

    def __init__(self, slug: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.slug = slug
        self.message = message
        self.hint = hint


class UsageError(DoctorError):
    """The command line asks for something that cannot be."""

    exit_code = ExitCode.USAGE


class AmbiguousTarget(UsageError):
    """Several processes match, and doctor does not choose for the user."""


class UnreadableBundle(UsageError):
    """The file is no bundle this doctor can read."""


class UnwritableOutput(UsageError):
    """The output file cannot be written."""


class MissingExtra(UsageError):
    """The command needs a package that is not installed."""


class AttachError(DoctorError):
    """There is no process to read, or nothing of it may be read."""

    exit_code = ExitCode.NO_ATTACH


class UnknownLayout(AttachError):
    """No table says where this Python keeps its data, or it contradicts the one there is."""


class CannotRead(AttachError):
    """The memory of a process or core file holds no interpreter that doctor can read, or not enough of it."""


class InvalidDefinition(DoctorError):
    """A file that defines a part of doctor is malformed."""
