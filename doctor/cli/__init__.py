"""The `doctor` command: one module a subcommand in `commands/`, imported only when it is called."""

from __future__ import annotations

import io
import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import click

from doctor import __version__
from doctor.cli.terminal import reader_may_leave
from doctor.errors import DoctorError, ExitCode


class LazyGroup(click.Group):
    """Finds subcommands by folder: the command `leak-check` is `commands/leak_check.py`'s object `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every command's name, sorted."""
        package = import_module("doctor.cli.commands")
        return sorted(module.name.replace("_", "-") for module in iter_modules(package.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"doctor.cli.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; click itself would report a closed stdout as a failure."""
        with reader_may_leave():
            return super().invoke(ctx)


@click.group(
    "doctor", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="doctor %(version)s")
def cli() -> None:
    """Says what is wrong with a running Python service, why, how sure it is, and what to do."""


def main() -> None:
    """Runs the command line and ends the process with one of doctor's exit codes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that is not UTF-8
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        error.show()
        code = ExitCode.USAGE
    except DoctorError as error:
        click.echo(f"doctor: {error.message}\n  → {error.hint}  [{error.slug}]", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("doctor: interrupted; the target was left as it was", err=True)
        code = ExitCode.INTERRUPTED
    sys.exit(int(code or 0))
