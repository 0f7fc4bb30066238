"""Code objects: whose code a frame runs, and which line an instruction is."""

from __future__ import annotations

from doctor.model.evidence.stacks import Frame
from doctor.remote.lines import line_of
from doctor.remote.reader import Reader, Unreadable

_UNIT = 2
_MAX_UNITS = 1 << 24
_INTERNAL = "__init__"


class Code:
    """One code object, read once.

    Raises:
        Unreadable: there is no code object at the address.
    """

    def __init__(self, reader: Reader, address: int) -> None:
        layout = reader.layout.code
        head = reader.bytes_at(address, layout.size)
        if reader.type_name(address) != "code":
            raise Unreadable(f"no code object at {address:#x}")
        self._address = address
        self._identity = _identity(reader, head)
        self._version = reader.minor
        self.file = reader.text(_word(head, layout.filename))
        self.function = reader.text(_word(head, layout.qualname or layout.name))
        self.first_line = _int32(head, layout.firstlineno)
        self._table = reader.content(_word(head, layout.linetable))
        self.begin, self.end = _instructions(reader, address, head)
        self.frame_words = _frame_words(reader, head)
        if self.frame_words < 0:
            raise Unreadable(f"no code object at {address:#x}")
        self._frames: dict[int, Frame] = {}

    @property
    def internal(self) -> bool:
        """Whether the interpreter itself made it up, to clean up after `__init__`, say."""
        return self.first_line == 0 and self.file == self.function == _INTERNAL

    def is_still_there(self, reader: Reader) -> bool:
        """Whether the same code object lies at its address, and not one that came after it."""
        head = reader.memory.read(self._address, reader.layout.code.size)
        return len(head) == reader.layout.code.size and _identity(reader, head) == self._identity

    def frame(self, instruction: int) -> Frame:
        """The frame that stands on an instruction, given as the frame's own field has it.

        Raises:
            Unreadable: that is no instruction of this code.
        """
        known = self._frames.get(instruction)
        if known is None:
            known = self._frames[instruction] = Frame(self.file, self._line(instruction), self.function)
        return known

    def _line(self, instruction: int) -> int:
        offset = self._offset(instruction)
        if not -_UNIT <= offset < self.end - self.begin:
            raise Unreadable(f"{instruction:#x} is no instruction of {self.function}")
        try:
            return line_of(self._table, self.first_line, offset, self._version) or self.first_line
        except ValueError as error:
            raise Unreadable(str(error)) from None

    def _offset(self, instruction: int) -> int:
        if self._version >= (3, 11):
            return instruction - self.begin
        return instruction * _UNIT if self._version == (3, 10) else instruction


def _identity(reader: Reader, head: bytes) -> tuple[int, ...]:
    layout = reader.layout.code
    pointers = (reader.layout.object.type, layout.filename, layout.name, layout.linetable)
    return (*(_word(head, pointer) for pointer in pointers), _int32(head, layout.firstlineno))


def _instructions(reader: Reader, address: int, head: bytes) -> tuple[int, int]:
    """Where the code begins and ends; until 3.10 it is a bytes object, whose items are counted from 0."""
    layout = reader.layout.code
    if reader.minor >= (3, 11):
        units = _word(head, reader.layout.object.var_size)
        begin = address + layout.instructions
        size = units * _UNIT
    else:
        begin = 0
        size = reader.signed(_word(head, layout.instructions) + reader.layout.object.var_size)
    if not 0 <= size <= _MAX_UNITS:
        raise Unreadable(f"no code object at {address:#x}")
    return begin, begin + size


def _frame_words(reader: Reader, head: bytes) -> int:
    """How many words a frame of it takes on the stack of frames; 0 where there is none."""
    layout = reader.layout.code
    if reader.minor < (3, 11):
        return 0
    if layout.framesize is not None:
        return _int32(head, layout.framesize)
    fixed = reader.layout.frame.localsplus // 8
    return _int32(head, layout.nlocalsplus) + _int32(head, layout.stacksize) + fixed


def _word(head: bytes, offset: int) -> int:
    return int.from_bytes(head[offset : offset + 8], "little")


def _int32(head: bytes, offset: int) -> int:
    return int.from_bytes(head[offset : offset + 4], "little", signed=True)
