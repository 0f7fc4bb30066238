"""The one line that names the service an answer is about."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from doctor.model.diagnosis import DiagnosedTarget
from doctor.renderers import _phrases as say


def headline(target: DiagnosedTarget, width: int, badge: Text) -> Text:
    """Badge, PID, command and versions; the command is cut where the line would be too long."""
    before, after = f"pid {target.pid} · ", f" · {say.versions(target)}"
    command = Text(say.clean(say.command(target.cmdline)) or "?")
    command.truncate(max(width - cell_len(badge.plain + before + after), 1), overflow="ellipsis")
    return Text.assemble(badge, before, (command.plain, "bold"), after)
