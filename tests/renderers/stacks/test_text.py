"""Stacks for a terminal: what the golden files do not say by themselves."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from cases import Details, Situation, Stay, ThreadSpec, bundle
from doctor.renderers.base import Terminal
from doctor.renderers.stacks.base import stack_renderers
from doctor.stack_groups import stack_report

from .samples import IDLE, PEER, REQUEST, SAMPLES, one_look


def text(name: str, **terminal: object) -> str:
    """A sample as text."""
    return stack_renderers()["text"].render(SAMPLES[name], Terminal(**terminal))  # type: ignore[arg-type]


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("verbose", [False, True])
def test_lines_fit_the_terminal(sample: str, width: int, verbose: bool) -> None:
    """No line is wider than the terminal, and nothing in it steers the terminal."""
    output = text(sample, width=width, verbose=verbose)
    assert all(cell_len(line) <= width for line in output.splitlines())
    assert output.replace("\n", "").isprintable()


def test_the_application_stands_out() -> None:
    """In colour the application's own frames are bold and the libraries dim."""
    output = text("hanging", width=100, color=True)
    assert "\x1b[1m/srv/shop.py:31 in call_inventory\x1b[0m" in output
    assert "\x1b[2m    … 2 frames of http\x1b[0m" in output


def test_all_shows_every_frame() -> None:
    """By default libraries are folded and idle threads are one line; --all shows every frame of every thread."""
    brief, whole = text("hanging"), text("hanging", verbose=True)
    assert "flask/app.py" not in brief
    assert "flask/app.py:880 in dispatch_request" in whole
    assert "… " not in whole.replace("_1 … _12", "").replace("-1 … -7", "")
    assert whole.count("concurrent/futures/thread.py:90 in _worker") == 1


def test_a_big_pool_fits_on_a_screen() -> None:
    """Two hundred threads of one pool, half of them stuck, are two entries on one screen."""
    pool = [
        ThreadSpec(name="worker-0_#", count=100, does=(Stay("read", 10, PEER),), stack=REQUEST),
        ThreadSpec(name="worker-1_#", count=100, does=(Stay("lock", 10),), stack=IDLE),
    ]
    report = stack_report(one_look(Situation(window=0.25, threads=tuple(pool))))
    output = stack_renderers()["text"].render(report, Terminal(width=80))
    assert len(output.splitlines()) < 20
    assert "100 threads  worker-0_1 … _100" in output
    assert "100 threads  worker-1_1 … _100" in output


def test_more_stacks_than_anybody_reads_are_counted() -> None:
    """Of very many different stacks the first are shown, and the rest is counted, unless all are asked for."""
    stacks = [ThreadSpec(name=f"t{n}", does=(Stay("running", 10),), stack=(f"a.py:{n} f",)) for n in range(70)]
    report = stack_report(bundle(Situation(threads=tuple(stacks))))
    assert "and 50 more stacks, 71% of all samples (--all shows them)" in _text(report)
    assert "a.py:69 in f" in _text(report, verbose=True)


def _text(report: object, *, verbose: bool = False) -> str:
    return stack_renderers()["text"].render(report, Terminal(verbose=verbose))  # type: ignore[arg-type]


def test_several_waits_are_counted() -> None:
    """Where threads of one stack wait for different things, it is told how many for which."""
    specs = [
        ThreadSpec(name="a-#", count=2, does=(Stay("read", 10, PEER),), stack=REQUEST),
        ThreadSpec(name="b", does=(Stay("running", 10),), stack=REQUEST),
        *(
            ThreadSpec(name=f"c{n}", does=(Stay("read", 10, Details(peer=f"10.0.1.{n}:80")),), stack=REQUEST)
            for n in range(4)
        ),
    ]
    output = _text(stack_report(one_look(Situation(window=0.25, threads=tuple(specs)))))
    told = " ".join(output.split())
    assert "7 threads a-1 … -2, b, c0 … 3 on a CPU (1), holds the GIL (1), waiting: recvfrom on" in told
    assert "recvfrom on 10.0.0.5:8080 (tcp), no timeout (2), recvfrom on 10.0.1.0:80" in told
    assert "and 2 more waits" in told
