"""The names of threads as `threading` knows them, which is not what the kernel calls them."""

from __future__ import annotations

from contextlib import suppress

from doctor.remote.objects import Remote
from doctor.remote.reader import Reader, Unreadable

_ATTEMPTS = 5
_MOST_THREADS = 1 << 16


def thread_names(reader: Reader, interpreter: int) -> dict[int, str]:
    """By pthread id, for all threads of the interpreter at an address whose names can be read.

    Empty where `threading` was never imported. A thread that has just started, or ends just now, may be missing.

    Raises:
        PermissionError: this user may not read the process.
    """
    for _ in range(_ATTEMPTS):
        with suppress(Unreadable):
            modules = Remote(reader, reader.pointer(interpreter + reader.layout.interpreter.modules))
            threading = modules.get("threading")
            return _names(threading["_active"]) if threading else {}
    return {}


def _names(active: Remote) -> dict[int, str]:
    """Those of the threads that are in the dict before and after; what the others left may be anything by now."""
    names = {(ident.address, thread.address): _known(ident, thread) for ident, thread in active.items(_MOST_THREADS)}
    after = {(ident.address, thread.address) for ident, thread in active.items(_MOST_THREADS)}
    return dict(known for place, known in names.items() if known and place in after)


def _known(ident: Remote, thread: Remote) -> tuple[int, str] | None:
    """A thread and its name, if it says itself that it is this thread."""
    try:
        attributes = dict(thread.attributes())
        number, name = ident.value, attributes["_name"].value
        if isinstance(number, int) and isinstance(name, str) and attributes["_ident"].value == number:
            return number, name
    except (Unreadable, KeyError):
        pass
    return None
