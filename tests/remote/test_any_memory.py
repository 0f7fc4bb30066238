"""Whatever bytes are read, a reader of stacks returns or says that they cannot be read, after so many reads at most."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.remote.attach import attach
from doctor.remote.code import Code
from doctor.remote.interpreters import Interpreters
from doctor.remote.layouts.tables import Version, layout
from doctor.remote.memory import Memory, SegmentedMemory
from doctor.remote.reader import Reader, Unreadable
from doctor.remote.sampler import Sampler
from interpreters import Interpreter, interpreters
from remote.parked import live
from services import service

EVERY = pytest.mark.parametrize("python", interpreters(), ids=str)
VERSIONS: list[Version] = [(3, 8, 18), (3, 11, 7), (3, 12, 1), (3, 13, 0), (3, 15, 0)]
PAGES = [0x7F00_0000_0000 + 4096 * number for number in range(5)]
WORDS = [0, 1, 2, 3, 8, 255, 1 << 24, (1 << 31) - 1, 1 << 32, 1 << 56, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
NAMES = [int.from_bytes(text.ljust(8, b"\0"), "little") for text in (b"code", b"__init__", "größe".encode())]
MOST_BYTES = 1024
USER_SPACE = 1 << 56
MOST_READS = 300_000
SEEDS = st.integers(0, (1 << 64) - 1)


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # the same for each run is what is wanted


class Arbitrary(Memory):
    """Any bytes, the same ones for each address, among them many addresses of each other; some reads are short."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        chance = _chance(seed)
        self._weights = [chance.random() for _ in range(4)]
        self._short = chance.choice([0.0, 0.01, 0.2])
        self._pages = PAGES[: chance.randint(1, len(PAGES))]
        self._seed = seed
        self._known: dict[int, bytes] = {}

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        self.calls += 1
        if not 0 < address < USER_SPACE or size <= 0:
            return b""
        if _chance(self._seed ^ address * size).random() < self._short:
            size = size * 2 // 3
        size = min(size, MOST_BYTES)
        begin = address & ~7
        return b"".join(map(self._word, range(begin, address + size, 8)))[address - begin :][:size]

    def _word(self, address: int) -> bytes:
        if address not in self._known:
            chance = _chance(self._seed ^ address)
            (kind,) = chance.choices(range(4), self._weights)
            word = (
                chance.choice(self._pages) + chance.choice([0, 0, 0, 8, 48, 64]),
                chance.choice(WORDS),
                chance.choice(NAMES),
                chance.getrandbits(64),
            )[kind]
            self._known[address] = word.to_bytes(8, "little")
        return self._known[address]


class Damaged(Memory):
    """The memory of a program at rest, in which some words are those of another place, and some are any."""

    def __init__(self, memory: Memory, seed: int) -> None:
        super().__init__()
        self._memory = memory
        self._seed = seed
        self._rate = _chance(seed).choice([0.0003, 0.003, 0.03])

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        self.calls += 1
        content = bytearray(self._memory.read(address, size))
        chance = _chance(self._seed ^ address ^ size << 48)
        words = len(content) // 8
        for _ in range(int(words * self._rate + chance.random())):
            place, other = (chance.randrange(words) * 8 for _ in range(2))
            there = int.from_bytes(content[other : other + 8], "little")
            word = chance.choice([there, there, address, chance.choice([*WORDS, *NAMES]), chance.getrandbits(64)])
            content[place : place + 8] = word.to_bytes(8, "little")
        return bytes(content[: chance.randrange(len(content) + 1)] if chance.random() < self._rate else content)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"3.{version[1]}")
@given(seed=SEEDS)
@settings(deadline=None, max_examples=60)
def test_arbitrary_memory(version: Version, seed: int) -> None:
    """Lists of threads, code objects and samples are read or refused, and chains that lead in circles are left."""
    memory = Arbitrary(seed)
    reader = Reader(memory, layout(version, "x86_64"), version)
    for address in PAGES:
        for read in (Interpreters, Code, Sampler):
            with suppress(Unreadable):
                read(reader, address)
    assert memory.calls < MOST_READS


@given(content=st.binary(min_size=200, max_size=400), version=st.sampled_from(VERSIONS))
def test_any_bytes_are_a_string_or_are_refused(content: bytes, version: Version) -> None:
    """Whatever stands where a `str` or `bytes` should be, there is one, or it is refused."""
    reader = Reader(SegmentedMemory([(PAGES[0], content)]), layout(version, "x86_64"), version)
    for read in (reader.text, reader.content, reader.type_name):
        with suppress(Unreadable):
            assert len(read(PAGES[0])) <= len(content)


def test_characters_that_do_not_exist_are_refused() -> None:
    """A damaged string of four bytes a character has numbers in it that no character has."""
    version = (3, 13, 0)
    unicode = layout(version, "x86_64").unicode
    content = bytearray(unicode.compact_size) + b"\xff" * 16
    content[unicode.length] = 4
    state = 4 << unicode.kind_shift | 1 << unicode.compact_shift
    content[unicode.state : unicode.state + 4] = state.to_bytes(4, "little")
    reader = Reader(SegmentedMemory([(PAGES[0], bytes(content))]), layout(version, "x86_64"), version)
    with pytest.raises(Unreadable):
        reader.text(PAGES[0])


@EVERY
def test_damaged_memory(python: Interpreter) -> None:
    """A sampler of a real program copes with any damage to what it reads."""
    with service("stacks/parked", python=python) as parked, live(parked.pid) as process:
        whole, runtime = attach(process)

        @given(seed=SEEDS)
        @settings(deadline=None, max_examples=10)
        def damage(seed: int) -> None:
            memory = Damaged(process.memory, seed)
            with suppress(Unreadable):
                sampler = Sampler(whole._replace(memory=memory), runtime.address)
                for _ in range(3):
                    sampler.sample()
            assert memory.calls < MOST_READS

        damage()
