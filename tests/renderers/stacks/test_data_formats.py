"""The formats that other programs read, held against what those programs take."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import msgspec
import pytest

from doctor.model.stack_report import StackReport
from doctor.renderers.base import Terminal
from doctor.renderers.stacks.base import stack_renderers

from .samples import SAMPLES

NUMBERS = {"type": "array", "items": {"type": "number", "minimum": 0}}
SPEEDSCOPE = {
    "type": "object",
    "required": ["$schema", "shared", "profiles"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "name": {"type": "string"},
        "exporter": {"type": "string"},
        "activeProfileIndex": {"type": "integer"},
        "shared": {
            "type": "object",
            "required": ["frames"],
            "properties": {
                "frames": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "file": {"type": "string"},
                            "line": {"type": "number"},
                        },
                        "additionalProperties": False,
                    },
                }
            },
        },
        "profiles": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "name", "unit", "startValue", "endValue", "samples", "weights"],
                "properties": {
                    "type": {"const": "sampled"},
                    "name": {"type": "string"},
                    "unit": {"enum": ["none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"]},
                    "startValue": {"type": "number"},
                    "endValue": {"type": "number"},
                    "samples": {"type": "array", "items": NUMBERS},
                    "weights": NUMBERS,
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
"""src/lib/file-format-spec.ts of speedscope, as far as sampled profiles go."""


def render(format_name: str, sample: str) -> str:
    """A sample in a format."""
    return stack_renderers()[format_name].render(SAMPLES[sample], Terminal())


@pytest.mark.parametrize("sample", SAMPLES)
def test_speedscope_takes_it(sample: str) -> None:
    """The file has speedscope's schema, every sample has its weight, and every frame exists."""
    file = json.loads(render("speedscope", sample))
    jsonschema.validate(file, SPEEDSCOPE)
    assert len(file["profiles"]) == len(SAMPLES[sample].timelines)
    for profile in file["profiles"]:
        assert len(profile["samples"]) == len(profile["weights"])
        assert profile["endValue"] == pytest.approx(sum(profile["weights"]))
        assert {frame for path in profile["samples"] for frame in path} <= set(range(len(file["shared"]["frames"])))


def test_speedscope_weighs_in_seconds() -> None:
    """The profile of a thread that was there all the time is as long as the window; one look has no length."""
    profiles: dict[str, Any] = {one: json.loads(render("speedscope", one))["profiles"] for one in SAMPLES}
    assert {one["unit"] for one in profiles["contended"]} == {"seconds"}
    assert [one["endValue"] for one in profiles["contended"]] == pytest.approx([10.0] * 4)
    assert {(one["unit"], one["endValue"]) for one in profiles["hanging"]} == {("none", 1)}


def test_speedscope_keeps_the_order() -> None:
    """Samples come as they were seen, outermost frame first."""
    file = json.loads(render("speedscope", "contended"))
    names = [frame["name"] for frame in file["shared"]["frames"]]
    samples = file["profiles"][0]["samples"]
    assert [names[frame] for frame in samples[0]] == ["_bootstrap", "_bootstrap_inner", "run", "main", "round_all"]
    lines = [file["shared"]["frames"][path[-1]]["line"] for path in samples]
    assert lines[:3] == [7, 9, 7]


@pytest.mark.parametrize("sample", SAMPLES)
def test_flamegraph_takes_it(sample: str) -> None:
    """Each line is frames between semicolons and a count behind the last space, and no sample is lost."""
    report, lines = SAMPLES[sample], render("collapsed", sample).splitlines()
    counts = []
    for line in lines:
        match = re.fullmatch(r"(.*)\s+?(\d+)", line)
        assert match, line
        assert all(match[1].split(";")), line
        counts.append(int(match[2]))
    assert sum(counts) == sum(stay.samples for timeline in report.timelines for stay in timeline.stays)


def test_flamegraph_s_frames_are_process_thread_and_stack() -> None:
    """Process, thread, then the stack from the outermost frame to the innermost."""
    (line,) = [line for line in render("collapsed", "hanging").splitlines() if ";tax;" in line]
    assert line == (
        "process 100:python;tax;_bootstrap (threading.py:1002);_bootstrap_inner (threading.py:1045);"
        "run (threading.py:982);main (/srv/tax.py:30);round_all (/srv/tax.py:7) 1"
    )


def test_a_semicolon_in_a_name_parts_nothing() -> None:
    """Names with semicolons are as many frames as they are."""
    lines = render("collapsed", "hostile").splitlines()
    assert sorted(line.count(";") for line in lines)[-2:] == [31, 102]


@pytest.mark.parametrize("sample", SAMPLES)
def test_json_is_the_whole_report(sample: str) -> None:
    """What is printed as JSON is read back as the same report, save for characters that UTF-8 cannot hold."""
    read = msgspec.json.decode(render("json", sample), type=StackReport)
    assert read == SAMPLES[sample] or sample == "hostile"
    assert len(read.groups) == len(SAMPLES[sample].groups)
