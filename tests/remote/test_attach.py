"""Which interpreters doctor reads, and why it does not read the others."""

from __future__ import annotations

import pytest

from doctor.errors import UnknownLayout
from doctor.remote.attach import attach
from doctor.remote.core import CoreProcess
from doctor.remote.memory import SegmentedMemory
from doctor.remote.process import Process
from interpreters import Interpreter, free_threaded_interpreters, interpreters
from remote.parked import live, parked
