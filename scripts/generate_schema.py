"""Writes the JSON schemas of `--format json` out of the model: `make schema`, and a test fails when one is stale."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from doctor.model import diagnosis, stack_report

FOLDER = Path(__file__).parents[1] / "docs" / "schema"
PRINTED = {diagnosis.SCHEMA: diagnosis.Diagnosis, stack_report.SCHEMA: stack_report.StackReport}
"""What is printed, by the name of its schema."""


def path(name: str) -> Path:
    """Where a schema is published."""
    return FOLDER / f"{name.replace('/', '-')}.json"


def schema(name: str) -> str:
    """A schema as text."""
    body = msgspec.json.schema(PRINTED[name])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, "title": name}
    return json.dumps(head | body, indent=2) + "\n"


if __name__ == "__main__":
    for name in PRINTED:
        path(name).write_text(schema(name))
        print(path(name))
