"""Objects of other processes are what those processes say they are, and nothing that is read makes the reader fail."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.remote.layouts import Layout, tables
from doctor.remote.memory import Memory
from doctor.remote.objects import Remote
from doctor.remote.reader import Reader, Unreadable
from interpreters import OWN, Interpreter, interpreters
from remote.reading import reading
from services import Service, service


@contextmanager
def objects(python: Interpreter) -> Iterator[tuple[Service, Reader]]:
    """The program that has one of each, and a reader of it."""
    with service("objects", python=python) as target, reading(target.pid) as (reader, _):
        yield target, reader


def found(one: Remote, told: dict[str, Any]) -> dict[str, Any]:
    """What is read of an object, for all that the program told of it."""
    readers: dict[str, Callable[[Any], Any]] = {
        "address": lambda _: one.address,
        "type_name": lambda _: one.type_name,
        "value": lambda _: plain(one.value),
        "length": lambda _: len(one),
        "elements": lambda told: [found(*pair) for pair in zip(one, told, strict=True)],
        "items": lambda told: [
            [found(*pair) for pair in zip(row, told_row, strict=True)]
            for row, told_row in zip(one.items(), told, strict=True)
        ],
        "attributes": lambda told: [
            [name, found(value, told_value)]
            for (name, value), (_, told_value) in zip(one.attributes(), told, strict=True)
        ],
    }
    return {question: readers[question](answer) for question, answer in told.items()}


def plain(value: object) -> str:
    """As the program writes it."""
    return hex(value) if type(value) is int else ascii(value)


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_every_kind_of_object(python: Interpreter) -> None:
    """All of an object is read as it is: type, value, elements, items, attributes, and the same of what is in it."""
    with objects(python) as (target, reader):
        for told in target.facts["objects"]:
            assert found(Remote(reader, told["address"]), told) == told


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_attributes_by_name(python: Interpreter) -> None:
    """An attribute is found by its name wherever it is kept, and one that is missing is unreadable."""
    with objects(python) as (target, reader):
        for told in target.facts["objects"]:
            one = Remote(reader, told["address"])
            for name, value in told.get("attributes", []):
                assert one[name].address == value["address"]
            with pytest.raises(Unreadable, match="has no absent"):
                one["absent"]
        for told in target.facts["namespaces"]:
            one = Remote(reader, told["address"])
            assert {name: one[name].address for name in told["has"]} == told["has"]


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_functions_classes_and_references(python: Interpreter) -> None:
    """Functions, methods and classes tell their names, and methods and weak references what they refer to."""
    with objects(python) as (target, reader):
        for told in target.facts["callables"]:
            one = Remote(reader, told["address"])
            answers = {question: getattr(one, question) for question in told}
            assert {question: getattr(answer, "address", answer) for question, answer in answers.items()} == told


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_bases(python: Interpreter) -> None:
    """An object is of its class and of all bases of that, and of no other class."""
    with objects(python) as (target, reader):
        for address, bases in target.facts["bases"]:
            one = Remote(reader, address)
            assert all(one.is_a(base) for base in bases)
            assert not one.is_a("Point")


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_large_containers(python: Interpreter) -> None:
    """Containers of 70,000 are read in pieces without a gap, or as far as is asked, and keys are found in them."""
    every, some = list(range(70_000)), [n for n in range(70_000) if n % 7]
    with objects(python) as (target, reader):
        large = {name: Remote(reader, address) for name, address in target.facts["large"].items()}
        assert {name: len(one) for name, one in large.items()} == {
            "texts": 70_000, "numbers": 60_000, "list": 70_000, "set": 60_000, "deque": 70_000,
        }  # fmt: skip
        assert sampled(large["list"]) == every[::97]
        assert sampled(large["deque"]) == (every[-1000:] + every[:-1000])[::97]
        assert sampled(large["numbers"]) == some[::97]
        assert sampled(value for _, value in large["texts"].items()) == every[::97]
        assert len({one.address for one in large["set"]}) == 60_000
        assert [key.value for key, _ in large["numbers"].items(limit=3)] == [1, 2, 3]
        assert [one.value for one in large["list"].elements(limit=2)] == [0, 1]
        last = large["texts"].get("key69999")
        assert last is not None
        assert last.value == 69_999
        assert large["texts"].get("key70000") is None
        assert large["numbers"].get("1") is None


def sampled(elements: Iterable[Remote]) -> list[object]:
    """The values of some of many, which are read in no time."""
    return [one.value for one in list(elements)[::97]]


def test_what_is_asked_of_the_wrong_kind_is_unreadable() -> None:
    """A number has no elements and a list no value: the error is the one for everything that cannot be read."""
    with objects(OWN) as (target, reader):
        by_type = {told["type_name"]: Remote(reader, told["address"]) for told in target.facts["objects"]}
        number, sequence = by_type["int"], by_type["list"]
        for question in (
            lambda: len(number),
            lambda: list(number),
            lambda: number.items(),
            lambda: number.get("a"),
            lambda: number.function,
            lambda: number.self,
            lambda: number.referent,
            lambda: number.qualname,
            lambda: number.module,
            lambda: sequence.value,
            lambda: Remote(reader, 0).type_name,
            lambda: Remote(reader, number.address + 8).type_name,
        ):
            with pytest.raises(Unreadable):
                question()


WORDS = [0, 1, 2, 7, 8, 16, 40, 64, 255, 1 << 12, 1 << 31, (1 << 63) - 1, (1 << 64) - 1]
"""What lengths, offsets and flags may be torn into."""
TYPE = 1 << 16
"""Where there is a type, so that much else passes for an object."""
OBJECT = 1 << 20
READY, ANY_TYPE = 1 << 12, 1 << 31
FLAGS = [0, 1 << 2 | 1 << 4 | 1 << 9, 1 << 9, *(1 << bit for bit in range(24, 32))]
"""Inline values, those of a class, a class of Python code, and the kinds that flags tell."""
MINORS = [(3, minor) for minor in range(8, 16)]


class Arbitrary(Memory):
    """Has something at every address, which another look may find changed; only one type stands firm."""

    def __init__(self, layout: Layout, flags: int, name: bytes, words: list[int], seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311
        self._words = [TYPE, OBJECT, *words]
        fields = layout.type
        content = dict.fromkeys(range(0, fields.cached_keys + 8, 8), OBJECT)
        content |= {fields.flags: flags | READY | ANY_TYPE, fields.basicsize: 32, fields.itemsize: 8}
        content |= {fields.dictoffset: self._random.choice([0, 16, 2**64 - 8]), fields.name: TYPE - 64}
        content |= {layout.object.type: TYPE}
        self._type = b"".join(content[place].to_bytes(8, "little") for place in sorted(content))
        self._name = name + b"\0"

    def read(self, address: int, size: int) -> bytes:
        """The type or its name, or any words, and of those now and then too few."""
        self.calls += 1
        if TYPE <= address < TYPE + len(self._type):
            return self._type[address - TYPE :][:size]
        if address == TYPE - 64:
            return self._name
        size = self._random.choice([size] * 30 + [self._random.randint(0, size)])
        words = self._random.choices(self._words, k=min(size // 8 + 1, 64))
        content = b"".join(word.to_bytes(8, "little") for word in words)
        return (content * (size // len(content) + 1))[:size]


class Torn(Memory):
    """That of a process, but for some reads that find something else."""

    def __init__(self, whole: Memory, seed: int, every: int) -> None:
        super().__init__()
        self._whole = whole
        self._random = random.Random(seed)  # noqa: S311
        self._every = every

    def read(self, address: int, size: int) -> bytes:
        """What is there, or less of it, or what is somewhere near, or with one word replaced."""
        self.calls += 1
        content = self._whole.read(address, size)
        if self._random.randrange(self._every):
            return content
        place = self._random.randrange(max(len(content), 1)) & ~7
        word = self._random.choice(WORDS).to_bytes(8, "little")
        near = self._whole.read(address + self._random.choice([-16, -8, 8, 16]), size)
        return self._random.choice([content[:place], near, (content[:place] + word + content[place + 8 :])[:size]])


def ask_everything(one: Remote, depth: int = 2) -> None:
    """Every question there is, of an object and some of what it has."""
    questions: list[Callable[[], object]] = [
        lambda: one.type_name,
        lambda: one.is_a("dict"),
        lambda: one.value,
        lambda: len(one),
        lambda: one.get("a"),
        lambda: one["note"],
        lambda: one.qualname,
        lambda: one.module,
    ]
    for question in questions:
        with suppress(Unreadable):
            question()
    reached: list[Callable[[], Iterable[Remote]]] = [
        lambda: one.elements(9),
        lambda: (value for _, value in one.items(9)),
        lambda: (value for _, value in one.attributes(9)),
        lambda: [one.type],
        lambda: [one.self],
        lambda: [one.function],
        lambda: [one.referent],
    ]
    for reach in reached if depth else []:
        with suppress(Unreadable):
            for other in reach():
                ask_everything(other, depth - 1)


@settings(max_examples=300, deadline=None)
@given(
    flags=st.sampled_from(FLAGS),
    name=st.sampled_from([b"float", b"set", b"collections.deque", b"method", b"function", b"weakref", b"Point"]),
    words=st.lists(st.sampled_from(WORDS) | st.integers(0, (1 << 64) - 1)),
    seed=st.integers(0, 1 << 32),
    minor=st.sampled_from(MINORS),
)
def test_arbitrary_memory_is_a_value_or_unreadable(
    flags: int, name: bytes, words: list[int], seed: int, minor: tuple[int, int]
) -> None:
    """Where every address has arbitrary bytes, nothing but `Unreadable` is raised, after a bounded number of reads."""
    layout = tables.layout((*minor, 4), "x86_64")
    memory = Arbitrary(layout, flags, name, words, seed)
    ask_everything(Remote(Reader(memory, layout, (*minor, 4)), OBJECT), depth=1)
    assert memory.calls < 1 << 20


@pytest.fixture(scope="module", params=[interpreters()[0], interpreters()[-1]], ids=str)
def parked_objects(request: pytest.FixtureRequest) -> Iterator[tuple[Service, Reader]]:
    """The program on the oldest and on the newest interpreter."""
    with objects(request.param) as opened:
        yield opened


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), every=st.sampled_from([2, 10, 50]), data=st.data())
def test_torn_reads_are_a_value_or_unreadable(
    parked_objects: tuple[Service, Reader], seed: int, every: int, data: st.DataObject
) -> None:
    """Where some reads of real objects find something else, nothing but `Unreadable` is raised, and it ends."""
    target, reader = parked_objects
    told = data.draw(st.sampled_from(target.facts["objects"]))
    memory = Torn(reader.memory, seed, every)
    ask_everything(Remote(reader._replace(memory=memory), told["address"]))
    assert memory.calls < 1 << 16
