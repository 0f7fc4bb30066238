"""The machine under the service: load, memory and pressure over the window."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from doctor.collectors.base import Capture, Collector, Pace
from doctor.model.evidence.host import Host, HostMemory, Pressure
from doctor.procfs.parse import parse_kilobytes, parse_pressure_us

_INTERVAL_S = 1.0
_SHARE = 0.01


class HostCollector(Collector):
    """Reads /proc/loadavg, /proc/meminfo and /proc/pressure."""

    kind = Host
    cost = "4 small files a second"
    right = "none"
    deadline_s = 1.0

    def collect(self, capture: Capture) -> Iterator[Host]:
        """One value for the whole host."""
        stalled = _stalled_us()
        began_s = capture.now_s()
        memory = [_memory(at_s) for at_s in Pace(capture, _INTERVAL_S, _SHARE).ticks()]
        yield Host(
            pid=None,
            cpus=os.cpu_count() or 1,
            load_1m=os.getloadavg()[0],
            memory=tuple(memory),
            pressure=_pressure(stalled, _stalled_us(), capture.now_s() - began_s),
        )


def _memory(at_s: float) -> HostMemory:
    sizes = parse_kilobytes(Path("/proc/meminfo").read_bytes())
    return HostMemory(at_s, sizes["MemTotal"], sizes["MemAvailable"], sizes.get("SwapFree", 0))


def _stalled_us() -> dict[str, int] | None:
    """Time stalled since boot, by "resource some|full"; None on a kernel without PSI."""
    stalled: dict[str, int] = {}
    for resource in ("cpu", "memory", "io"):
        try:
            totals = parse_pressure_us(Path(f"/proc/pressure/{resource}").read_bytes())
        except OSError:
            return None
        stalled |= {f"{resource} {kind}": total for kind, total in totals.items()}
    return stalled


def _pressure(first: dict[str, int] | None, last: dict[str, int] | None, elapsed_s: float) -> Pressure | None:
    if first is None or last is None or elapsed_s <= 0:
        return None

    def share(name: str) -> float:
        return round((last[name] - first[name]) / 1e6 / elapsed_s, 4)

    return Pressure(
        cpu_some=share("cpu some"),
        memory_some=share("memory some"),
        memory_full=share("memory full"),
        io_some=share("io some"),
        io_full=share("io full"),
    )
