"""The published JSON schema says what the program prints."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jsonschema

from services import run_doctor, service

ROOT = Path(__file__).parents[1]


def test_the_committed_schema_is_the_model_s() -> None:
    """A change of the model without `make schema` fails here."""
    spec = importlib.util.spec_from_file_location("generate_schema", ROOT / "scripts" / "generate_schema.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PATH.read_text() == script.schema()


def test_a_live_diagnosis_is_valid_under_the_schema() -> None:
    """What `--format json` prints about a sick program keeps the published schema."""
    schema = json.loads((ROOT / "docs" / "schema" / "doctor.diagnosis-1.json").read_text())
    with service("zombie_children", "sick") as sick:
        printed = run_doctor("diagnose", str(sick.pid), "--quick", "--format", "json")
    jsonschema.validate(printed.json, schema)
    assert printed.json["findings"]
