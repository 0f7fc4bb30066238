"""What a diagnosis does to its target: nothing."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.looking import assert_healthy, look_at
from services import service

THREADS = 97


@contextmanager
def watching(pid: int) -> Iterator[Counter[str]]:
    """Counts the states of a process's threads, over and over until the end of the block."""
    states: Counter[str] = Counter()
    over = threading.Event()

    def watch() -> None:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        while not over.is_set():
            for task in tasks:
                states[(task / "stat").read_text().rpartition(")")[2].split()[0]] += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield states
    finally:
        over.set()
        watcher.join()


def test_the_target_is_never_stopped_and_goes_on() -> None:
    """No look at any of 97 threads finds it stopped or traced, and all of them go on with their work."""
    with service("many_threads", str(THREADS), "13") as running:
        with watching(running.pid) as states:
            looked = look_at(running)
        done = json.loads(running.finish())
    assert_healthy(looked)
    assert states.total() > 100 * THREADS
    assert not states.keys() & {"T", "t"}
    assert done["units"] > 7 * THREADS
