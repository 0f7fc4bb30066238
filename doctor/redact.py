"""Takes secrets out of a bundle before it is stored, printed or sent.

Nothing collects values of variables or of the environment. What is left to guard are command lines, and addresses that
carry credentials, such as database URLs. A secret is known by the name before it, not by its looks; `auth:app` names a
module's object, not a secret, and `--max-tokens 4096` a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from doctor.model.bundle import Bundle
from doctor.model.target import ProcessRef

HIDDEN = "***"

_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:\[]*):(?!\d{1,5}[/?#,])(?:(?!://)\S)+@")
"""Up to the last @, since many write it, and the slash, unescaped in a password; digits and a slash are a port."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET = re.compile(
    r"passw(or)?d|passphrase|passcode|secret(?!ar)|credential|authorization|(?<!by)(?<!com)pass$|pwd$|\btokens?\b|token$"
    r"|\bauth$|\bauth-(header|code|data)$|(api|access|auth|private|signing|encryption)-?keys?$"
)
_SECRET_WITHOUT_SPACE = re.compile(r"(?i)passw(or)?d|passphrase|authorization|-")
"""Names that are no module's: `token:abc` could be the object `abc` of a module `token`."""
_SWITCHES = {"no", "disable", "enable", "skip", "without", "require", "allow", "max", "min", "num"}
_ABOUT = {
    "file", "path", "dir", "directory", "url", "uri", "host", "port", "type", "mode", "method", "backend", "class",
    "module", "provider", "source", "plugin", "policy", "name", "user", "username", "limit", "ttl", "timeout", "expiry",
    "length", "size", "count", "cache", "service", "server", "store", "enabled", "required", "py", "json", "yaml",
    "yml", "toml", "ini", "txt", "pem",
}  # fmt: skip
_PLAIN = re.compile(r"(?i)[\"']?(true|false|yes|no|on|off|none|null|)[\"']?")

_OPTION = re.compile(r"--?([A-Za-z][\w.-]*)(=.*)?", re.DOTALL)
_ASSIGNMENT = re.compile(r"(-{0,2}[A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_PAIR = re.compile(r"(?<![\w.-])([\w.-]+)([\"']?)\s*([=:])\s*")
_PORT = re.compile(r"\d{1,5}(/|\Z)")
_QUOTED = re.compile(r"[bBrRfFuU]{0,2}('''|\"\"\"|'|\")(\\.|(?!\1).)*(\1|\Z)", re.DOTALL)
_UNQUOTED = {"?": r"[^&\s#]*", "&": r"[^&\s#]*", ";": r"[^;]*", ",": r"[^,]*"}
"""Where a value ends, by what stands before its name: in URLs, connection strings and lists."""


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
    follows_secret = False
    for argument in arguments:
        option = _OPTION.fullmatch(argument)
        shown.append(HIDDEN if follows_secret and not option else _redact_argument(argument))
        follows_secret = option is not None and option[2] is None and _is_secret(option[1])
    return tuple(shown)


def redact_text(text: str) -> str:
    """A text with credentials in URLs, and in pairs such as `password=…` and `Authorization: …`, hidden."""
    text = _URL_PASSWORD.sub(rf"\g<1>:{HIDDEN}@", text)
    shown, at = "", 0
    for pair in _PAIR.finditer(text):
        if pair.start() >= at and _is_secret(pair[1]) and not _is_address(text, pair):
            end = _value_end(text, pair)
            if not _PLAIN.fullmatch(text, pair.end(), end):
                shown += text[at : pair.end()] + HIDDEN
                at = end
    return shown + text[at:]


def _redact_argument(argument: str) -> str:
    assigned = _ASSIGNMENT.fullmatch(argument)
    if assigned and _is_secret(assigned[1]) and not _PLAIN.fullmatch(assigned[2]):
        return f"{assigned[1]}={HIDDEN}"
    return redact_text(argument)


def _is_secret(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)] or [""]
    if words[0] in _SWITCHES or words[-1] in _ABOUT or name in ("PWD", "OLDPWD"):
        return False
    return _SECRET.search("-".join(words)) is not None


def _is_address(text: str, pair: re.Match[str]) -> bool:
    """Whether a colon joins a path, a host and its port, or a module and its object, and not a name and its secret."""
    if pair[3] == "=" or pair[2]:
        return False
    if text[pair.end() - 1] != ":":
        return False
    if text[: pair.start()].endswith("/"):
        return True
    if _PORT.match(text, pair.end()) and pair[1].islower():
        return "passw" not in pair[1]
    return not _SECRET_WITHOUT_SPACE.search(pair[1])


def _value_end(text: str, pair: re.Match[str]) -> int:
    value = _QUOTED.match(text, pair.end())
    if value is None:
        bare = r"[^\s,}\]]*" if pair[2] else r"[^\n]*"
        before = text[max(0, pair.start() - 1) : pair.start()]
        value = re.compile(bare if pair[3] == ":" else _UNQUOTED.get(before, r"\S*")).match(text, pair.end())
    return value.end() if value else pair.end()


def _process(ref: ProcessRef) -> ProcessRef:
    return msgspec.structs.replace(ref, cmdline=redact_arguments(ref.cmdline))
