"""Finds the parts of doctor by folder: one module is one collector, rule or renderer, and there is no list to edit."""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

from doctor.errors import InvalidDefinition

T = TypeVar("T")


def discover(package: str, base: type[T]) -> dict[str, T]:
    """One instance of the `base` subclass that each module of `package` defines, by module name, sorted.

    Modules called `base`, or with a leading underscore, hold what the others share; folders hold other kinds of parts.

    Raises:
        InvalidDefinition: a module defines no such class, or several.
    """
    found: dict[str, T] = {}
    for module_info in sorted(iter_modules(import_module(package).__path__), key=lambda info: info.name):
        if module_info.ispkg or module_info.name == "base" or module_info.name.startswith("_"):
            continue
        found[module_info.name] = _the_one(f"{package}.{module_info.name}", base)()
    return found


def _the_one(module_name: str, base: type[T]) -> type[T]:
    module = import_module(module_name)
    classes = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, base) and member.__module__ == module_name
    ]
    if len(classes) != 1:
        raise InvalidDefinition(
            "incomplete-module",
            f"{module_name} defines {len(classes)} subclasses of {base.__name__}, expected one",
            f"define one {base.__name__} a file; shared helpers go into a module with a leading underscore",
        )
    return classes[0]
