"""Writes the JSON schema of `--format json` out of the model: `make schema`, and a test fails when it is stale."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from doctor.model.diagnosis import SCHEMA, Diagnosis

PATH = Path(__file__).parents[1] / "docs" / "schema" / f"{SCHEMA.replace('/', '-')}.json"


def schema() -> str:
    """The schema as text."""
    body = msgspec.json.schema(Diagnosis)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, "title": SCHEMA}
    return json.dumps(head | body, indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(schema())
    print(PATH)
