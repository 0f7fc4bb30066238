"""Bundles as files: what is saved comes back, and what is no bundle is told by name with what to do."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circumstances import ROOT, UNPRIVILEGED, needs_setpriv
from doctor import __version__
from doctor.errors import ExitCode, UnreadableBundle, UnwritableOutput
from doctor.model.bundle import Bundle, Cost, Skipped, Window
from doctor.model.evidence import kinds
from doctor.model.target import ProcessRef, Target
from doctor.store.bundle_file import SCHEMA, is_bundle, load, save

SCALARS: dict[type[msgspec.inspect.Type], st.SearchStrategy[Any]] = {
    msgspec.inspect.NoneType: st.none(),
    msgspec.inspect.BoolType: st.booleans(),
    msgspec.inspect.IntType: st.integers(-(2**63), 2**64 - 1),
    msgspec.inspect.FloatType: st.floats(allow_nan=False, allow_infinity=False),
    msgspec.inspect.StrType: st.text(max_size=8),
}


def values(info: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    """Any value of a type of the model."""
    match info:
        case msgspec.inspect.StructType():
            fields = st.fixed_dictionaries({field.name: values(field.type) for field in info.fields})
            return st.builds(lambda kind, given: kind(**given), st.just(info.cls), fields)
        case msgspec.inspect.UnionType():
            return st.one_of(*map(values, info.types))
        case msgspec.inspect.VarTupleType():
            return st.lists(values(info.item_type), max_size=2).map(tuple)
        case msgspec.inspect.DictType():
            return st.dictionaries(values(info.key_type), values(info.value_type), max_size=2)
        case msgspec.inspect.LiteralType():
            return st.sampled_from(info.values)
    return SCALARS[type(info)]


def any_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of a class of the model."""
    return values(msgspec.inspect.type_info(kind))


BUNDLES = st.builds(
    Bundle,
    target=any_of(Target),
    window=any_of(Window),
    evidence=st.lists(st.one_of(*map(any_of, kinds())), max_size=3).map(tuple),
    skipped=st.lists(any_of(Skipped), max_size=2).map(tuple),
    cost=any_of(Cost),
)
"""Any bundle that can be stored."""

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def plain() -> Bundle:
    """A small bundle with evidence of the host."""
    process = ProcessRef(
        pid=7, ppid=1, start_ticks=13, started_at="2024-01-01T00:00:00Z", cmdline=("app",), exe=None, python="3.12.1"
    )
    host = next(kind for kind in kinds() if kind.__name__ == "Host")
    return Bundle(
        target=Target(root=process, host="here"),
        window=Window(started_at="2024-01-01T00:00:00Z", duration_s=10.0),
        evidence=(cast(Any, host)(pid=None, cpus=2, load_1m=0.5, memory=(), pressure=None),),
        skipped=(),
        cost=Cost(),
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a bundle may be written."""
    return tmp_path / "incident.doctor.gz"


def refusal(path: Path) -> UnreadableBundle:
    """The error that reading gives; it leads to wrong usage, names the file and says what to do."""
    with pytest.raises(UnreadableBundle) as caught:
        load(path)
    assert caught.value.exit_code == ExitCode.USAGE
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def edited(bundle: Bundle, path: Path, edit: Edit) -> Path:
    """A bundle file with something changed in its JSON."""
    save(bundle, path)
    content = json.loads(gzip.decompress(path.read_bytes()))
    edit(content)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(bundle=BUNDLES)
def test_what_is_saved_comes_back(bundle: Bundle, file: Path) -> None:
    """Any bundle of any evidence is read as it was saved."""
    save(bundle, file)
    assert is_bundle(file)
    assert load(file) == bundle


def test_the_same_bundle_gives_the_same_bytes(plain: Bundle, tmp_path: Path) -> None:
    """A file holds the evidence and not the moment of its writing."""
    save(plain, tmp_path / "one")
    save(plain, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_cut_off_bundle_is_told_at_any_length(plain: Bundle, file: Path) -> None:
    """Wherever a copy broke off, the file is refused, and past its first bytes it is known as cut off."""
    save(plain, file)
    whole = file.read_bytes()
    slugs = {}
    for length in range(0, len(whole), 10):
        file.write_bytes(whole[:length])
        slugs[length] = refusal(file).slug
    assert slugs.pop(0) == "foreign-file"
    assert set(slugs.values()) == {"truncated-bundle"}
    assert "copy the bundle again" in refusal(file).hint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f",
        b"not a bundle",
        b"{}",
        gzip.compress(b""),
        gzip.compress(b"not a bundle"),
        gzip.compress(b"\x00\xff" * 100),
        gzip.compress(b"[]"),
        gzip.compress(b"{}"),
        gzip.compress(b'{"schema": 1, "doctor_version": "1"}'),
        gzip.compress(b'{"schema": "doctor.diagnosis/1", "doctor_version": "0.1.0"}'),
        gzip.compress(b"[" * 100_000),
        b"\x1f\x8b" + b"\x00" * 100,
    ],
)
def test_a_foreign_file_is_told(content: bytes, file: Path) -> None:
    """What never was a bundle, compressed or not, is told from one, with the command that writes one."""
    file.write_bytes(content)
    error = refusal(file)
    assert error.slug == "foreign-file"
    assert "doctor capture" in error.hint


def test_a_damaged_bundle_is_refused(plain: Bundle, file: Path) -> None:
    """A bundle with any byte changed on its way is refused, or still reads as what it was."""
    save(plain, file)
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with suppress(UnreadableBundle):
            assert load(file) == plain


def test_a_newer_bundle_names_the_upgrade(plain: Bundle, file: Path) -> None:
    """A format that is not known yet is told with the doctor that wrote it and how to get it."""
    edited(plain, file, lambda content: content.update(schema="doctor.bundle/2", doctor_version="9.9", more=1))
    error = refusal(file)
    assert error.slug == "newer-bundle"
    assert "doctor.bundle/2 of doctor 9.9" in error.message
    assert SCHEMA in error.message
    assert error.hint == "pip install --upgrade service-doctor"


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content["evidence"].append({"kind": "horoscope", "pid": 7}),
        lambda content: content["evidence"].append({"pid": 7}),
        lambda content: content["evidence"].append(7),
        lambda content: content["evidence"][0].update(mood="good"),
        lambda content: content["evidence"][0].update(cpus="two"),
        lambda content: content["target"].pop("root"),
        lambda content: content.update(verdict="fine"),
    ],
)
def test_unknown_content_is_told(edit: Edit, plain: Bundle, file: Path) -> None:
    """Evidence, fields and values of another doctor are refused, with both versions named."""
    edited(plain, file, edit)
    error = refusal(file)
    assert error.slug == "unknown-content"
    assert f"this is {__version__}" in error.message
    assert "the doctor that wrote it" in error.hint


def test_deep_nesting_is_refused(plain: Bundle, file: Path) -> None:
    """A file made to exhaust the stack is refused like any other."""
    edited(plain, file, lambda content: content["evidence"].append("@"))
    text = gzip.decompress(file.read_bytes()).replace(b'"@"', b"[" * 100_000 + b"]" * 100_000)
    file.write_bytes(gzip.compress(text))
    assert refusal(file).slug in ("unknown-content", "foreign-file")


def test_a_folder_is_no_bundle(tmp_path: Path) -> None:
    """A folder is refused with the system's own words."""
    error = refusal(tmp_path)
    assert error.slug == "unreadable-bundle"
    assert "Is a directory" in error.message
    assert not is_bundle(tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is refused with the system's own words."""
    assert refusal(tmp_path / "missing").slug == "unreadable-bundle"
    assert not is_bundle(tmp_path / "missing")


@needs_setpriv
def test_a_file_that_may_not_be_read(plain: Bundle, file: Path) -> None:
    """A file of which the permissions forbid the reading is refused with the system's own words."""
    save(plain, file)
    file.chmod(0)
    code = "import sys, pathlib; from doctor.store.bundle_file import load; load(pathlib.Path(sys.argv[1]))"
    command = [*UNPRIVILEGED, sys.executable, "-c", code, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"UnreadableBundle: cannot read {file}: Permission denied" in done.stderr


@pytest.mark.parametrize("name", ["missing/incident", "folder"])
def test_a_file_that_cannot_be_written(name: str, plain: Bundle, tmp_path: Path) -> None:
    """A bundle that cannot be written says where, why, and what to do."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnwritableOutput, match=r"cannot write .*: .* directory") as caught:
        save(plain, tmp_path / name)
    assert "-o" in caught.value.hint


def test_a_full_disk_is_told(plain: Bundle) -> None:
    """A device without room says so."""
    full = Path("/dev/full")
    if not full.exists() or not os.access(full, os.W_OK):
        pytest.skip("there is no /dev/full here")
    with pytest.raises(UnwritableOutput, match="No space left on device"):
        save(plain, full)
