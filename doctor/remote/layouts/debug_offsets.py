"""What CPython says of its own layout, from 3.13 on: `_Py_DebugOffsets`, with which `_PyRuntime` begins.

It covers a part of what doctor reads, so a table is needed all the same. Where it covers a release whose headers were
read it must agree with them; of any other release it is believed before the table.
"""

from __future__ import annotations

import struct

import msgspec

from doctor.errors import UnknownLayout
from doctor.remote.layouts import Layout
from doctor.remote.layouts.tables import Machine, Table, Version, table, unknown

ENOUGH = 1024
"""Bytes from the start of `_PyRuntime` that hold the offsets of every version."""

_HEAD = struct.Struct("<8sQ")
"""The cookie, and `PY_VERSION_HEX`; all that follows has its place from the table of that version."""
_COOKIE = b"xdebugpy"
_FINAL = 0xF
_MOST = 1 << 24
"""Bytes; no struct of CPython is as large as that."""

_FIELDS = {
    "runtime.interpreters_head": "runtime_state.interpreters_head",
    "interpreter.id": "interpreter_state.id",
    "interpreter.next": "interpreter_state.next",
    "interpreter.threads_head": "interpreter_state.threads_head",
    "interpreter.modules": "interpreter_state.imports_modules",
    "interpreter.gil": "interpreter_state.ceval_gil",
    "thread.next": "thread_state.next",
    "thread.interp": "thread_state.interp",
    "thread.frame": "thread_state.current_frame",
    "thread.thread_id": "thread_state.thread_id",
    "thread.native_thread_id": "thread_state.native_thread_id",
    "thread.datastack_chunk": "thread_state.datastack_chunk",
    "frame.size": "interpreter_frame.localsplus",
    "frame.previous": "interpreter_frame.previous",
    "frame.code": "interpreter_frame.executable",
    "frame.instruction": "interpreter_frame.instr_ptr",
    "frame.localsplus": "interpreter_frame.localsplus",
    "frame.owner": "interpreter_frame.owner",
    "frame.stacktop": "interpreter_frame.stackpointer",
    "code.size": "code_object.size",
    "code.filename": "code_object.filename",
    "code.name": "code_object.name",
    "code.qualname": "code_object.qualname",
    "code.linetable": "code_object.linetable",
    "code.firstlineno": "code_object.firstlineno",
    "code.instructions": "code_object.co_code_adaptive",
    "object.size": "pyobject.size",
    "object.type": "pyobject.ob_type",
    "object.var_size": "tuple_object.ob_size",
    "type.name": "type_object.tp_name",
    "type.flags": "type_object.tp_flags",
    "type.basicsize": "type_object.tp_basicsize",
    "type.dictoffset": "type_object.tp_dictoffset",
    "type.cached_keys": "heap_type_object.ht_cached_keys",
    "tuple.items": "tuple_object.ob_item",
    "list.items": "list_object.ob_item",
    "dict.keys": "dict_object.ma_keys",
    "dict.values": "dict_object.ma_values",
    "float.value": "float_object.ob_fval",
    "int.tag": "long_object.lv_tag",
    "int.digits": "long_object.ob_digit",
    "bytes.items": "bytes_object.ob_sval",
    "unicode.state": "unicode_object.state",
    "unicode.length": "unicode_object.length",
    "unicode.ascii_size": "unicode_object.asciiobject_size",
    "unicode.compact_size": "unicode_object.compactunicodeobject_size",
    "set.used": "set_object.used",
    "set.mask": "set_object.mask",
    "set.table": "set_object.table",
    "generator.frame": "gen_object.gi_iframe",
    "generator.frame_state": "gen_object.gi_frame_state",
}
"""Fields that a word tells; not every version has every word."""

_ALIGNMENT = {
    "interpreter_frame.owner": 1,
    "gen_object.gi_frame_state": 1,
    "interpreter_state.gil_runtime_state_locked": 4,
    "code_object.firstlineno": 4,
    "long_object.ob_digit": 4,
    "unicode_object.state": 4,
    "gc.collecting": 4,
}
"""Of the fields that are no machine words."""


def read(start: bytes, machine: Machine) -> tuple[Version, Table]:
    """The release of a process, and its layout, from the first `ENOUGH` bytes of its `_PyRuntime`.

    Raises:
        UnknownLayout: it is no final release of a version that is known, or is free-threaded; or what it says of itself
            cannot be, or contradicts the headers of that release.
    """
    version = _version(start)
    known = table(version, machine)
    words = _words(start, known.debug_offsets, version)
    told = _fields(words)
    if known.checked:
        _compare(told, known.layout, version)
        return version, known
    return version, msgspec.structs.replace(known, layout=_with(known.layout, told))


def _version(start: bytes) -> Version:
    """The release that these bytes are of, which is a final one."""
    if len(start) < _HEAD.size or not start.startswith(_COOKIE):
        raise UnknownLayout("damaged-debug-offsets", "_PyRuntime does not begin with debug offsets", _HINT)
    _, number = _HEAD.unpack_from(start)
    version = number >> 24, number >> 16 & 0xFF, number >> 8 & 0xFF
    if number >> 4 & 0xF != _FINAL:
        raise unknown(f"a pre-release of CPython {_dotted(version)}")
    return version


_HINT = "doctor may have been given the wrong process, or a build that was changed; report it with the exact version"


def _words(start: bytes, places: dict[str, int], version: Version) -> dict[str, int]:
    """The words by name, as far as they are of a struct; each is known to be possible."""
    if len(start) < places.get("size", _MOST):
        raise _damaged(version, f"{len(start)} bytes are too few")
    found = {name: int.from_bytes(start[place : place + 8], "little") for name, place in places.items()}
    if found["free_threaded"]:
        raise unknown(f"free-threaded {version[0]}.{version[1]}")
    words = {name: word for name, word in found.items() if "." in name}
    for name, word in words.items():
        if not _possible(name, word, words):
            raise _damaged(version, f"{name} is {word}")
    return words


def _possible(name: str, word: int, words: dict[str, int]) -> bool:
    owner, _, member = name.partition(".")
    if member == "size":
        return 0 < word < _MOST
    return word < words[f"{owner}.size"] and word % _ALIGNMENT.get(name, 8) == 0


def _fields(words: dict[str, int]) -> dict[str, int]:
    """What the words say of the fields of the layout."""
    fields = {field: words[word] for field, word in _FIELDS.items() if word in words}
    interpreter = {name.removeprefix("interpreter_state."): word for name, word in words.items()}
    fields["interpreter.gc_collecting"] = interpreter["gc"] + words["gc.collecting"]
    fields["gil.locked"] = interpreter["gil_runtime_state_locked"] - interpreter["gil_runtime_state"]
    fields["gil.last_holder"] = interpreter["gil_runtime_state_holder"] - interpreter["gil_runtime_state"]
    return fields


def _compare(told: dict[str, int], layout: Layout, version: Version) -> None:
    for field, value in told.items():
        owner, _, name = field.partition(".")
        expected = getattr(getattr(layout, owner), name)
        if value != expected:
            raise _damaged(version, f"{field} would be {value}, and its headers say {expected}")


def _with(layout: Layout, told: dict[str, int]) -> Layout:
    owners: dict[str, dict[str, int]] = {}
    for field, value in told.items():
        owner, _, name = field.partition(".")
        owners.setdefault(owner, {})[name] = value
    parts = {owner: msgspec.structs.replace(getattr(layout, owner), **values) for owner, values in owners.items()}
    return msgspec.structs.replace(layout, **parts)


def _damaged(version: Version, why: str) -> UnknownLayout:
    message = f"what CPython {_dotted(version)} says of its own layout cannot be: {why}"
    return UnknownLayout("damaged-debug-offsets", message, _HINT)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
