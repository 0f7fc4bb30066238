"""Puts this folder on the path, so that tests anywhere below it can say `from services import service`.

At its end a run tells which interpreters it had; in CI, where `CI` is set, a run that had too few of them fails.
"""

from __future__ import annotations

import os

import pytest

from interpreters import MINOR_VERSIONS, interpreters, minor_versions


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session that had too few."""
    if _too_few() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the versions there were."""
    terminalreporter.write_line("CPython here: " + ", ".join(map(str, interpreters())))
    if _too_few():
        terminalreporter.write_line(f"{MINOR_VERSIONS} minor versions are needed, try `make interpreters`", red=True)


def _too_few() -> bool:
    return bool(os.environ.get("CI")) and len(minor_versions()) < MINOR_VERSIONS
