"""The numbers that rules compare with: they live in `thresholds.yaml`, each with its unit and its reason."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

from doctor.errors import InvalidDefinition
from doctor.model.base import Value
from doctor.model.finding import Measurement


class Threshold(Value, frozen=True, kw_only=True):
    """A number a rule compares with."""

    value: float
    unit: str
    source: str

    def measured(self, value: float) -> Measurement:
        """A measured value beside this threshold."""
        return Measurement(value=round(value, 3), unit=self.unit, threshold=self.value, source=self.source)


@cache
def thresholds() -> dict[str, dict[str, Threshold]]:
    """All thresholds, by finding id and name.

    Raises:
        InvalidDefinition: the file does not parse.
    """
    text = files("doctor").joinpath("thresholds.yaml").read_bytes()
    try:
        return msgspec.yaml.decode(text, type=dict[str, dict[str, Threshold]])
    except msgspec.MsgspecError as error:
        raise InvalidDefinition("thresholds", f"thresholds.yaml: {error}", "mend the file named") from error
