"""Reads the playbooks into typed values, and finds the one that answers a finding.

They lie beside the package in a checkout and inside it in a wheel; a file that is not right fails loudly, by name.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec

from doctor.errors import InvalidDefinition
from doctor.model.playbook import Playbook


@cache
def load_playbooks() -> dict[str, Playbook]:
    """Every playbook that ships with doctor, by id.

    Raises:
        InvalidDefinition: a file is malformed.
    """
    return read_library(library_folder())


def match(finding_id: str) -> Playbook | None:
    """The playbook that answers a finding, or None."""
    return next((playbook for playbook in load_playbooks().values() if finding_id in playbook.findings), None)


def library_folder() -> Path:
    """The folder the shipped playbooks lie in, one folder an area below it."""
    package = Path(str(files("doctor.playbook")))
    shipped = package / "library"
    return shipped if shipped.is_dir() else package.parents[1] / "playbooks"


def read_library(folder: Path) -> dict[str, Playbook]:
    """Every playbook below a folder, by id, in the order of the ids.

    Raises:
        InvalidDefinition: a file is no playbook, is not named after its id, or repeats the id of another.
    """
    playbooks: dict[str, Playbook] = {}
    names: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.yaml"), key=lambda path: (path.name, path)):
        name = path.relative_to(folder)
        playbook = _read(path, name)
        if playbook.id in names:
            raise _invalid(name, f"the id {playbook.id!r} is taken by {names[playbook.id]}")
        playbooks[playbook.id], names[playbook.id] = playbook, name
    return playbooks


def _read(path: Path, name: Path) -> Playbook:
    try:
        playbook = msgspec.yaml.decode(path.read_bytes(), type=Playbook)
    except msgspec.MsgspecError as error:
        raise _invalid(name, " ".join(str(error).split())) from error
    if playbook.id != path.stem:
        raise _invalid(name, f"the id is {playbook.id!r}, the file name says {path.stem!r}")
    return playbook


def _invalid(name: Path, reason: str) -> InvalidDefinition:
    return InvalidDefinition(
        "playbook", f"{name}: {reason}", "mend the file named; doctor/model/playbook.py is its schema"
    )
