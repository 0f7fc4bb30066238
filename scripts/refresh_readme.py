"""Puts the program's own help into the `$ doctor … --help` blocks of the README; a test fails when they are stale."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(```console\n\$ doctor (?P<arguments>[^\n]*--help)\n)(?P<help>.*?)(```)", re.DOTALL)


def refreshed(text: str) -> str:
    """The text with what the program prints now in every block."""
    return BLOCK.sub(lambda block: block[1] + _help(block["arguments"].split()) + block[4], text)


def _help(arguments: list[str]) -> str:
    command = [sys.executable, "-m", "doctor", *arguments]
    return subprocess.run(
        command, env=os.environ | {"COLUMNS": "100"}, capture_output=True, text=True, check=True
    ).stdout


if __name__ == "__main__":
    README.write_text(refreshed(README.read_text()))
