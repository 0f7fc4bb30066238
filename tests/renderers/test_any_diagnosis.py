"""What holds for every diagnosis, whatever the target calls itself and however the findings hang together."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from doctor.model.diagnosis import Diagnosis
from doctor.renderers import _phrases as say
from doctor.renderers.base import Terminal, renderers
from doctor.renderers.markdown import LIMIT

from .samples import SAMPLES
from .strategies import diagnoses

SGR = re.compile(r"\x1b\[[0-9;]*m")
terminals = st.builds(Terminal, width=st.integers(40, 130), color=st.just(False), verbose=st.booleans())
# A diagnosis is large, so building one is slow; that says nothing about the renderers.
any_diagnosis = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def text(diagnosis: Diagnosis, terminal: Terminal) -> str:
    """The text output."""
    return renderers()["text"].render(diagnosis, terminal)


@pytest.mark.parametrize("name", renderers())
@any_diagnosis
@given(diagnosis=diagnoses, terminal=terminals)
def test_renders_as_encodable_text(name: str, diagnosis: Diagnosis, terminal: Terminal) -> None:
    """Every format renders every diagnosis, twice the same, as UTF-8 that ends in one newline."""
    output = renderers()[name].render(diagnosis, terminal)
    assert output == renderers()[name].render(diagnosis, terminal)
    assert output.encode().endswith(b"\n")
    assert not output.endswith("\n\n")


@any_diagnosis
@given(diagnosis=diagnoses, terminal=terminals)
def test_text_holds_no_control_characters(diagnosis: Diagnosis, terminal: Terminal) -> None:
    """Without colour, only newlines steer the terminal, and no line is wider than it."""
    for line in text(diagnosis, terminal).split("\n"):
        assert line.isprintable()
        assert cell_len(line) <= terminal.width


@any_diagnosis
@given(diagnosis=diagnoses, terminal=terminals)
def test_text_begins_and_ends_with_the_verdict(diagnosis: Diagnosis, terminal: Terminal) -> None:
    """The last line repeats the first, which is the verdict."""
    lines = text(diagnosis, terminal).splitlines()
    assert lines[0] == lines[-1]
    assert lines[0].startswith(say.STATUS[diagnosis.verdict.status])


@any_diagnosis
@given(diagnosis=diagnoses, terminal=terminals)
def test_color_adds_only_color(diagnosis: Diagnosis, terminal: Terminal) -> None:
    """Taking the colours away leaves what a pipe would get."""
    colored = Terminal(width=terminal.width, color=True, verbose=terminal.verbose)
    assert SGR.sub("", text(diagnosis, colored)) == text(diagnosis, terminal)


@any_diagnosis
@given(diagnosis=diagnoses)
def test_markdown_fits_one_message(diagnosis: Diagnosis) -> None:
    """The limit holds, and the verdict is the first and the last line."""
    output = renderers()["markdown"].render(diagnosis, Terminal())
    lines = output.splitlines()
    assert len(output) < LIMIT
    assert lines[0] == lines[-1]
    assert say.STATUS[diagnosis.verdict.status] in lines[0]


@any_diagnosis
@given(diagnosis=diagnoses)
def test_markdown_closes_its_code_spans(diagnosis: Diagnosis) -> None:
    """Backticks come in pairs on a line, so that none from the target opens or closes code."""
    for line in renderers()["markdown"].render(diagnosis, Terminal()).splitlines():
        assert line.count("`") % 2 == 0


@pytest.mark.parametrize("sample", set(SAMPLES) - {"hostile"})
def test_json_reads_back(sample: str) -> None:
    """The JSON holds the whole diagnosis; only lone surrogates, which JSON cannot hold, are written out."""
    output = renderers()["json"].render(SAMPLES[sample], Terminal())
    assert msgspec.json.decode(output, type=Diagnosis) == SAMPLES[sample]
