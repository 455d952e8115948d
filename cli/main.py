"""``audio-pipeline``: the commands, each loaded when it is asked for."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from cli import exits

#: Each command's module has the command under its own name. The words are here so that
#: ``--help`` loads none of them.
COMMANDS = {
    "extract": "Extract the audio of recordings.",
    "compress": "Compress the sound on an SFTP server.",
    "watch": "Extract every new recording below a folder.",
    "status": "Show what was done, what runs, and what failed.",
    "retry": "Try recordings again.",
    "backfill": "Publish what Drive holds and the tracker does not know.",
    "audit": "Reconcile the sources, the tracker and the audio.",
    "doctor": "Check what is installed, reachable and configured.",
    "cost": "Estimate what a month costs on Google Cloud.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order that people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"cli.commands.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings are environment variables: STORAGE_URL (where the audio goes), "
    "TRACKER_URL, AUDIO_PRESET and more; docs/settings.md lists them. "
    "Exit status: 0 all done, 1 something failed, 2 wrong usage.",
)
@click.version_option(package_name="audio-pipeline", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Log more, and show stacks of errors.")
@click.pass_context
def group(ctx: click.Context, verbose: bool) -> None:
    """Turn recordings into audio: every one once, verified, none lost."""
    ctx.obj = verbose


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    verbose = bool({"-v", "--verbose"} & set(sys.argv[1:2] if arguments is None else arguments[:1]))
    try:
        status = _run(arguments)
    except BrokenPipeError:
        status = _reader_gone()
    except Exception as error:
        status = _tell(error, verbose)
    sys.exit(_flushed(status))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        # A command returns its exit status.
        return int(group.main(arguments, "audio-pipeline", standalone_mode=False) or exits.OK)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return exits.INTERRUPTED


def _tell(error: Exception, verbose: bool) -> int:
    from cli.ui.error_text import advice, exit_status, sentence  # noqa: PLC0415

    if verbose:
        traceback.print_exception(error)
    told = "\n".join(filter(None, (sentence(error), advice(error))))
    click.echo(f"audio-pipeline: {told}", err=True)
    return exit_status(error)


def _reader_gone() -> int:
    """End without a word when who reads our output has gone, as in ``| head``."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exits.FAILED


def _flushed(status: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    return status
