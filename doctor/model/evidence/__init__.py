"""What collectors bring home: one module a kind, found by folder.

A new kind is a new module here with one `Evidence` subclass; the bundle file stores and loads it without being told.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from doctor.model.base import Value


class Evidence(Value, tag_field="kind", frozen=True, kw_only=True):
    """What one collector saw, of one process or, with `pid` None, of the whole host.

    The subclass's `tag` is the name of its kind.
    """

    pid: int | None


def kind_of(evidence: type[Evidence]) -> str:
    """The name of a kind of evidence, as in `skipped` and in the bundle."""
    return str(evidence.__struct_config__.tag)


@cache
def kinds() -> tuple[type[Evidence], ...]:
    """Every kind of evidence, in the order of their names."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return tuple(sorted(Evidence.__subclasses__(), key=kind_of))
