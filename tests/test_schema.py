"""The published JSON schemas say what the program prints."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jsonschema

from services import run_doctor, service

ROOT = Path(__file__).parents[1]


def test_the_committed_schemas_are_the_model_s() -> None:
    """A change of the model without `make schema` fails here."""
    spec = importlib.util.spec_from_file_location("generate_schema", ROOT / "scripts" / "generate_schema.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name in script.PRINTED:
        assert script.path(name).read_text() == script.schema(name)
    assert {file.name for file in script.FOLDER.iterdir()} == {script.path(name).name for name in script.PRINTED}


def test_a_live_diagnosis_is_valid_under_the_schema() -> None:
    """What `--format json` prints about a sick program keeps the published schema."""
    schema = json.loads((ROOT / "docs" / "schema" / "doctor.diagnosis-1.json").read_text())
    with service("zombie_children", "sick") as sick:
        printed = run_doctor("diagnose", str(sick.pid), "--quick", "--format", "json")
    jsonschema.validate(printed.json, schema)
    assert printed.json["findings"]


def test_live_stacks_are_valid_under_the_schema() -> None:
    """What `doctor stacks --format json` prints keeps the published schema, sampled or not."""
    schema = json.loads((ROOT / "docs" / "schema" / "doctor.stacks-1.json").read_text())
    with service("waits") as target:
        for duration in ((), ("--duration", "0.5")):
            printed = run_doctor("stacks", str(target.pid), *duration, "--format", "json")
            jsonschema.validate(printed.json, schema)
            assert {group["state"] for group in printed.json["groups"]} == {"running", "waiting", "idle"}
