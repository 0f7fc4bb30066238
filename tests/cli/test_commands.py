"""Every command as a user types it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from circumstances import ROOT
from doctor.errors import ExitCode
from doctor.model.evidence import kind_of, kinds
from doctor.rules.base import rules
from services import Completed, Service, run_doctor, service

from .runs import SHORT

KEYS = {
    "": "schema doctor_version target window verdict findings checked skipped rule_errors cost",
    "target": "pid cmdline python started_at host children",
    "window": "started_at duration_s",
    "verdict": "status summary root_causes",
    "cost": "target_paused_ms doctor_cpu_s bytes_read db_ms",
    "finding": "ref id level confidence title explanation where subjects measurements evidence fingerprint causes"
    " effects playbook next",
    "where": "file line function thread pid",
    "measurement": "value unit threshold source",
    "skipped": "collector reason remedy pids rules decisive",
}
"""Section 5 of the design, with what was added to it since: children, checked, fingerprint, and what a skip costs."""


class Saved:
    """A live diagnosis of a sick service, and the bundle it was told to save."""

    def __init__(self, target: Service, folder: Path) -> None:
        self.target = target
        self.bundle = folder / "incident.doctor.gz"
        arguments = ("diagnose", str(target.pid), "--quick", "--format", "json", "--save", str(self.bundle))
        self.live = run_doctor(*arguments)

    def again(self, *options: str) -> Completed:
        """The diagnosis of the bundle."""
        return run_doctor("diagnose", str(self.bundle), *options)


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """Seven workers that wait for a dependency without a timeout."""
    with service("hanging_dependency", "sick", "--token", "hunter2") as target:
        yield Saved(target, tmp_path_factory.mktemp("saved"))


def row_of(listed: Completed, key: str, value: object) -> dict[str, Any]:
    """The one row of a list that has this value."""
    assert listed.exit_code == ExitCode.OK
    (row,) = [row for row in listed.json if row[key] == value]
    return dict(row)


def assert_keys(value: dict[str, Any], name: str) -> None:
    """Exactly the documented keys, in their order."""
    assert list(value) == KEYS[name].split()


def test_ps_lists_what_runs(sick: Saved) -> None:
    """A process is listed with version, threads and command line, and whether doctor may attach."""
    row = row_of(run_doctor("ps", "--format", "json"), "pid", sick.target.pid)
    assert row["python"] == sick.live.json["target"]["python"]
    assert row["threads"] == 8
    assert row["attach"] == "yes"
    assert row["command"][-3:] == ["sick", "--token", "***"]


def test_ps_as_a_table(sick: Saved) -> None:
    """For a person the same is a table, without secrets, and doctor itself is not in it."""
    listed = run_doctor("ps")
    assert listed.exit_code == ExitCode.OK
    head, *rows = listed.stdout.splitlines()
    assert head.split()[:2] == ["pid", "python"]
    assert [row for row in rows if row.split()[:1] == [str(sick.target.pid)]]
    assert "-m doctor ps" not in listed.stdout
    assert "hunter2" not in listed.stdout


def test_ps_names_ports_and_servers() -> None:
    """A server is listed with the port it listens on."""
    with service("dependency", "0.1") as target:
        row = row_of(run_doctor("ps", "--format", "json"), "pid", target.pid)
    assert row["ports"] == [target.port]


def test_preflight_knows_every_collector(sick: Saved) -> None:
    """Each kind of evidence is named with what it costs and what it takes, and nothing stands in the way."""
    checked = run_doctor("preflight", str(sick.target.pid), "--format", "json")
    assert checked.exit_code == ExitCode.OK
    assert [row["collector"] for row in checked.json] == [kind_of(kind) for kind in kinds()]
    assert all(row["tier"] == "read" and row["cost"] and row["needs"] for row in checked.json)
    assert all(row["ready"] is True and row["remedy"] is None for row in checked.json)


def test_preflight_for_a_person(sick: Saved) -> None:
    """The text names the process and the version first."""
    checked = run_doctor("preflight", str(sick.target.pid))
    assert checked.exit_code == ExitCode.OK
    version = sick.live.json["target"]["python"]
    assert checked.stdout.startswith(f"process {sick.target.pid}, Python {version}\n")


def test_rules_are_all_listed() -> None:
    """Each rule of the package is listed with its evidence and its thresholds, in either format."""
    listed = run_doctor("rules", "--format", "json")
    assert [row["id"] for row in listed.json] == list(rules())
    assert all(row["title"] and row["evidence"] for row in listed.json)
    table = run_doctor("rules")
    assert table.exit_code == ExitCode.OK
    assert all(name in table.stdout for name in rules())


def test_explain_says_how_a_finding_is_recognised() -> None:
    """An explanation has the evidence, the thresholds with their sources, the look-alikes, and the playbook."""
    explained = run_doctor("explain", "slow-dependency")
    assert explained.exit_code == ExitCode.OK
    assert explained.stdout.startswith("slow-dependency\n")
    for part in ("Symptom", "Threshold", "Not to be confused with", "Evidence it needs: ", "Can cause: "):
        assert part in explained.stdout
    assert "doctor playbook show slow-dependency" in explained.stdout


def test_explain_offers_what_is_close() -> None:
    """A finding that does not exist is wrong usage, and what may have been meant is named."""
    explained = run_doctor("explain", "slow-dependancy")
    assert explained.exit_code == ExitCode.USAGE
    assert "perhaps: slow-dependency" in explained.stderr


def test_a_live_diagnosis_has_its_exit_code(sick: Saved) -> None:
    """A service whose workers hang on a dependency fails with the code for an error, and the dependency is named."""
    assert sick.live.exit_code == ExitCode.FAIL
    (cause,) = sick.live.json["verdict"]["root_causes"]
    found = {finding["ref"]: finding for finding in sick.live.json["findings"]}
    assert found[cause]["id"] == "slow-dependency"
    assert f"127.0.0.1:{sick.target.facts['dependency_port']}" in found[cause]["title"]


def test_a_saved_bundle_gives_the_same_answer(sick: Saved) -> None:
    """The JSON of a saved bundle is, byte for byte, the JSON of the live run that saved it, and so is the exit code."""
    again = sick.again("--format", "json")
    assert again.stdout == sick.live.stdout
    assert again.exit_code == sick.live.exit_code


def test_json_has_exactly_the_documented_keys(sick: Saved) -> None:
    """No key is missing or unknown, at any level, and they come in the documented order."""
    diagnosis = sick.live.json
    assert diagnosis["schema"] == "doctor.diagnosis/1"
    assert_keys(diagnosis, "")
    for part in ("target", "window", "verdict", "cost"):
        assert_keys(diagnosis[part], part)
    assert diagnosis["findings"]
    for finding in diagnosis["findings"]:
        assert_keys(finding, "finding")
        for where in finding["where"]:
            assert_keys(where, "where")
        for measurement in finding["measurements"].values():
            assert_keys(measurement, "measurement")
    for skipped in diagnosis["skipped"]:
        assert_keys(skipped, "skipped")


def test_skips_have_exactly_the_documented_keys(sick: Saved, tmp_path: Path) -> None:
    """What could not be checked is told with the same keys, when there is some."""
    content = json.loads(gzip.decompress(sick.bundle.read_bytes()))
    content["evidence"] = [evidence for evidence in content["evidence"] if evidence["kind"] != "stacks"]
    partial = tmp_path / "partial.doctor.gz"
    partial.write_bytes(gzip.compress(json.dumps(content).encode()))
    skips = run_doctor("diagnose", str(partial), "--format", "json").json["skipped"]
    assert "stacks" in [skip["collector"] for skip in skips]
    for skip in skips:
        assert_keys(skip, "skipped")


def test_nothing_was_done_to_the_target(sick: Saved) -> None:
    """The cost says that nothing was paused, and what doctor took."""
    cost = sick.live.json["cost"]
    assert cost["target_paused_ms"] == 0.0
    assert cost["doctor_cpu_s"] > 0
    assert cost["bytes_read"] > 0


@pytest.mark.parametrize(
    ("format_name", "first"),
    [("text", "✗ FAIL  pid {pid}"), ("markdown", "**✗ FAIL** pid {pid}"), ("json", "{{")],
)
def test_every_format_says_the_same(format_name: str, first: str, sick: Saved) -> None:
    """Each format begins as it should, names the root cause, the next command, and no secret."""
    again = sick.again("--format", format_name)
    assert again.exit_code == ExitCode.FAIL
    assert again.stdout.startswith(first.format(pid=sick.target.pid)), again.stdout[:80]
    assert "slow-dependency" in again.stdout
    assert "doctor playbook show slow-dependency" in again.stdout
    assert "hunter2" not in again.stdout
    assert again.stdout.endswith("\n")
    assert again.stderr == ""


def test_the_verdict_is_first_and_last(sick: Saved) -> None:
    """In text the line with the verdict is the first and the last."""
    lines = sick.again().stdout.splitlines()
    assert lines[0] == lines[-1]
    assert lines[0].startswith("✗ FAIL")


def test_verbose_explains(sick: Saved) -> None:
    """-v adds the explanation of each finding."""
    explanation = sick.live.json["findings"][0]["explanation"].split()[:5]
    assert " ".join(explanation) in " ".join(sick.again("-v").stdout.split())
    assert " ".join(explanation) not in " ".join(sick.again().stdout.split())


@pytest.mark.parametrize("format_name", ["text", "markdown", "json"])
def test_a_file_holds_what_stdout_would(format_name: str, sick: Saved, tmp_path: Path) -> None:
    """-o writes the same output, and nothing to stdout."""
    file = tmp_path / "diagnosis"
    written = sick.again("--format", format_name, "-o", str(file))
    assert (written.exit_code, written.stdout) == (ExitCode.FAIL, "")
    assert file.read_text(encoding="utf-8") == sick.again("--format", format_name).stdout


def test_a_pipe_gets_no_colours(sick: Saved) -> None:
    """Output that is no terminal has no escape sequences, and progress is not in it."""
    assert "\x1b" not in sick.again().stdout
    assert sick.live.stderr == ""


def test_capture_saves_what_diagnose_reads(sick: Saved, tmp_path: Path) -> None:
    """A bundle that was captured first and judged later holds no secret, and says what the next command is."""
    bundle = tmp_path / "later.doctor.gz"
    captured = run_doctor("capture", str(sick.target.pid), *SHORT, "-o", str(bundle))
    assert (captured.exit_code, captured.stdout) == (ExitCode.OK, "")
    assert captured.stderr == f"next: doctor diagnose {bundle}\n"
    assert b"hunter2" not in gzip.decompress(bundle.read_bytes())
    judged = run_doctor("diagnose", str(bundle), "--format", "json")
    assert judged.json["target"]["pid"] == sick.target.pid
    assert judged.json["window"]["duration_s"] == 0.5


def test_workers_are_left_out_on_demand(sick: Saved) -> None:
    """--no-children diagnoses the named process alone; by default its Python children come with it."""
    assert [child["pid"] for child in sick.live.json["target"]["children"]] == [sick.target.facts["dependency_pid"]]
    alone = run_doctor("diagnose", str(sick.target.pid), *SHORT, "--no-children", "--format", "json")
    assert alone.json["target"]["children"] == []


def test_a_bundle_is_found_whatever_its_name(sick: Saved, tmp_path: Path) -> None:
    """A bundle under another name is still a bundle, and one that is named like a number is read by its path."""
    other = tmp_path / "7"
    other.write_bytes(sick.bundle.read_bytes())
    assert run_doctor("diagnose", str(other), "--format", "json").stdout == sick.live.stdout


def test_it_runs_from_anywhere_without_a_home(sick: Saved) -> None:
    """Doctor needs neither a home folder nor a terminal, and the documented schema is the one it prints."""
    nowhere = run_doctor("diagnose", str(sick.bundle), "--format", "json", env={"HOME": "/nonexistent", "TERM": ""})
    assert nowhere.exit_code == ExitCode.FAIL
    schema = json.loads((ROOT / "docs" / "schema" / "doctor.diagnosis-1.json").read_text())
    assert nowhere.json["schema"] in json.dumps(schema)
