"""The schema `doctor.diagnosis/1` for programs: the same diagnosis gives the same bytes."""

from __future__ import annotations

from doctor.model.diagnosis import Diagnosis
from doctor.renderers._encoding import to_json
from doctor.renderers.base import Renderer, Terminal


class JsonRenderer(Renderer):
    """Prints all of a diagnosis, two spaces a level."""

    suffix = ".json"

    def render(self, diagnosis: Diagnosis, terminal: Terminal) -> str:  # noqa: ARG002 - JSON looks the same everywhere
        """The diagnosis as JSON, fields in the order of the schema and measurements by name."""
        return to_json(diagnosis)
