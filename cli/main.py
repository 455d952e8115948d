"""``audio-pipeline``: a command's module is imported when the command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from cli import exits
from cli.options import Invocation, common_options
from shared.core.kernel import hide_process

#: Each command is in the module of its name. The texts are here so that ``--help`` imports
#: no command.
COMMANDS = {
    "extract": "Extract the audio of recordings.",
    "watch": "Extract every new recording in a folder.",
    "compress": "Compress the audio files on an SFTP server.",
    "status": "Show what is done, running, queued and failed.",
    "retry": "Try recordings again.",
    "backfill": "Queue Drive recordings that were never processed.",
    "audit": "Compare sources, tracker and storage, and report mismatches.",
    "serve": "Run the whole system on this machine.",
    "doctor": "Check your setup.",
    "cost": "Estimate the monthly cost on Google Cloud.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"cli.commands.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest one for a mistyped name."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from difflib import get_close_matches  # noqa: PLC0415

            close = get_close_matches(args[0], COMMANDS, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]}?" if close else ""
            ctx.fail(f"No such command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_manual(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415

        from cli.manual import page  # noqa: PLC0415

        assert isinstance(context.command, click.Group)
        version = metadata.version("audio-pipeline")
        click.echo(page(context.command, "audio-pipeline", version), nl=False)
        context.exit(exits.OK)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings are environment variables, or lines of a TOML file "
    "(~/.config/audio-pipeline/config.toml, or --config FILE): storage_url (where the audio "
    "goes), tracker_url, audio_preset and more; docs/settings.md lists them. The environment "
    "overrides the file.\n\n"
    "\b\nShell completion (zsh_source and fish_source for zsh and fish):\n"
    '  eval "$(_AUDIO_PIPELINE_COMPLETE=bash_source audio-pipeline)"\n\n'
    "Exit status: 0 all done, 1 something failed, 2 wrong usage or settings, 130 interrupted.",
)
@click.version_option(package_name="audio-pipeline", message="%(prog)s %(version)s")
@click.option(
    "--man", is_flag=True, is_eager=True, expose_value=False, callback=_print_manual,
    help="Print the manual: audio-pipeline --man | man -l -",
)  # fmt: skip
def group() -> None:
    """Turn recordings into verified audio, each exactly once."""


group.params[:0] = common_options()


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    hide_process()
    invocation = Invocation()
    try:
        # A command returns its exit status.
        status = int(
            group.main(arguments, "audio-pipeline", standalone_mode=False, obj=invocation)
            or exits.OK
        )
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except click.Abort:
        status = exits.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone, as in `| head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = exits.FAILED
    except Exception as error:
        from cli.ui.error_text import advice, error_text, exit_status  # noqa: PLC0415

        if invocation.verbose:
            import traceback  # noqa: PLC0415

            traceback.print_exception(error)
        lines = filter(None, (error_text(error), advice(error)))
        click.echo("audio-pipeline: " + "\n".join(lines), err=True)
        status = exit_status(error)
    sys.exit(status)
