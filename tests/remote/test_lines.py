"""Line tables say what the interpreter that made them says of them."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.remote.lines import line_of
from interpreters import Interpreter, interpreters

TABLES = """
import base64, dis, glob, json, os, sys

def lines(code):
    if hasattr(code, "co_lines"):
        return {offset: line for begin, end, line in code.co_lines() for offset in range(begin, end, 2)}
    starts, line, found = dict(dis.findlinestarts(code)), code.co_firstlineno, {}
    for offset in range(0, len(code.co_code), 2):
        line = found[offset] = starts.get(offset, line)
    return found

def tell(code):
    table = code.co_linetable if hasattr(code, "co_lines") else code.co_lnotab
    known = list(lines(code).items())
    told.append([base64.b64encode(table).decode(), code.co_firstlineno, known[:: len(known) // 11 + 1]])
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            tell(constant)

told = []
files = sorted(glob.glob(os.path.dirname(os.__file__) + "/*.py"))
for path in files[:: len(files) // 40]:
    with open(path, encoding="utf-8") as file:
        tell(compile(file.read(), path, "exec"))
json.dump(told, sys.stdout)
"""

VERSIONS = [(3, minor) for minor in range(8, 16)]


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_tables_of_the_standard_library_are_understood(python: Interpreter) -> None:
    """The lines of instructions all over some forty modules are those that the interpreter tells."""
    done = subprocess.run([*python.command, "-W", "ignore", "-c", TABLES], capture_output=True, check=True)
    wrong, checked = [], 0
    for text, first_line, known in json.loads(done.stdout):
        table = base64.b64decode(text)
        assert line_of(table, first_line, -2, python.version[:2]) == first_line
        for offset, line in known:
            checked += 1
            if line_of(table, first_line, offset, python.version[:2]) != line:
                wrong.append((first_line, offset, line))
    assert checked > 10_000
    assert wrong == []


@given(table=st.binary(max_size=200), offset=st.integers(-2, 1 << 12), version=st.sampled_from(VERSIONS))
def test_any_bytes_are_a_table_or_are_refused(table: bytes, offset: int, version: tuple[int, int]) -> None:
    """Whatever stands where a table should be, there is a line, or none, or `ValueError`."""
    try:
        line = line_of(table, 1, offset, version)
    except ValueError:
        return
    assert line is None or abs(line) < 1 << 64


@pytest.mark.parametrize("kind", [13, 14])
def test_a_number_without_an_end_is_refused(kind: int) -> None:
    """It would take minutes to add up, and would have more digits than Python prints."""
    endless = bytes([0x80 | kind << 3]) + b"\x7f" * (1 << 20) + b"\x3f"
    with pytest.raises(ValueError, match="line table"):
        line_of(endless, 1, 0, (3, 11))
