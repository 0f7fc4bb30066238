"""Takes secrets out of a bundle before it is stored, printed or sent.

Nothing collects values of variables or of the environment. What is left to guard are command lines, and addresses that
carry credentials, such as database URLs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from doctor.model.bundle import Bundle
from doctor.model.target import ProcessRef

HIDDEN = "***"

_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")
_SENSITIVE_NAME = (
    r"[\w.-]*(?:pass(?:word|wd|phrase)?|pwd|secret|token|credential|api[_-]?key|private[_-]?key|auth)[\w.-]*"
)
_ASSIGNED = re.compile(rf"(?i)((?:^|[\s;&?,]|-D|--?)?{_SENSITIVE_NAME}\s*[=:]\s*)([^\s&;,]+)")
_OPTION = re.compile(rf"(?i)--?{_SENSITIVE_NAME}")


def redact(bundle: Bundle) -> Bundle:
    """The same bundle without passwords, tokens and keys in its command lines."""
    target = bundle.target
    return msgspec.structs.replace(
        bundle,
        target=msgspec.structs.replace(
            target, root=_process(target.root), children=tuple(_process(child) for child in target.children)
        ),
    )


def redact_arguments(arguments: Iterable[str]) -> tuple[str, ...]:
    """A command line with the values of secret options, assignments and URLs hidden."""
    shown: list[str] = []
    follows_option = False
    for argument in arguments:
        hide = follows_option and not argument.startswith("-")
        shown.append(HIDDEN if hide else redact_text(argument))
        follows_option = _OPTION.fullmatch(argument) is not None
    return tuple(shown)


def redact_text(text: str) -> str:
    """A text with credentials in URLs and `password=…` assignments hidden."""
    return _ASSIGNED.sub(rf"\g<1>{HIDDEN}", _URL_PASSWORD.sub(rf"\g<1>:{HIDDEN}@", text))


def _process(ref: ProcessRef) -> ProcessRef:
    return msgspec.structs.replace(ref, cmdline=redact_arguments(ref.cmdline))
