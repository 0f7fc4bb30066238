"""The one base of every value: frozen, keyword-only, and strict about keys it does not know."""

from __future__ import annotations

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An immutable record. Equal fields make equal values."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """An immutable record stored as an array, for series with thousands of entries."""
