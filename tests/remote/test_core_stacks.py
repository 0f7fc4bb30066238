"""A core file of a program at rest has the stacks that the program itself had."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from doctor.remote.core import CoreProcess
from interpreters import Interpreter, oldest_and_newest
from remote.oracle import Thread, of_program
from remote.sampling import Sampling, parked_differences
from remote.test_core import gcore, needs_gcore
from services import service


@needs_gcore
@pytest.mark.parametrize("python", oldest_and_newest(), ids=str)
def test_parked_threads_are_in_a_core_file_where_they_see_themselves(python: Interpreter, tmp_path: Path) -> None:
    """All stacks are equal line for line, be the file plain or packed."""
    with service("stacks/parked", python=python, env={"MALLOC_ARENA_MAX": "1"}) as parked:
        plain = gcore(parked.pid, tmp_path)
        facts = parked.facts
    packed = tmp_path / "packed.gz"
    with plain.open("rb") as content, gzip.open(packed, "wb", compresslevel=1) as out:
        shutil.copyfileobj(content, out)
    for path in (plain, packed):
        watch = Sampling.of(CoreProcess(path))
        assert parked_differences(of_program(facts, by=watch.by), _threads(watch)) == ""


def _threads(watch: Sampling) -> list[Thread]:
    sample = watch.sampler.sample()
    assert (sample.gil_holders, sample.collecting) == (frozenset(), False)
    return watch.threads(sample, watch.by)
