"""Options that several commands share, and the class of all commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from shared.media.presets import PRESETS, WITH_BITRATE

#: Which option sets which variable. Errors name the option when it was given.
OPTION_OF = {
    "AUDIO_PRESET": "--preset",
    "AUDIO_BITRATE": "--bitrate",
    "STORAGE_URL": "--out",
    "OUTPUT_FORMAT": "--format",
    "SFTP_SETTLE_MINUTES": "--settle",
    "BACKFILL_SINCE": "--since",
}


@dataclass
class Invocation:
    """The options that every command takes, before or after the command's name."""

    verbose: bool = False
    quiet: bool = False
    config: Path | None = None


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    invocation = context.ensure_object(Invocation)
    if value and parameter.name:
        setattr(invocation, parameter.name, value)


def common_options() -> list[click.Option]:
    """Return the options that every command takes."""
    shared: dict[str, Any] = {"expose_value": False, "callback": _remember}
    return [
        click.Option(["-q", "--quiet"], is_flag=True, help="Print only errors.", **shared),
        click.Option(
            ["-v", "--verbose"], is_flag=True, help="Log more, and print tracebacks.", **shared
        ),
        click.Option(
            ["--config"],
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Read settings from this TOML file.",
            **shared,
        ),
    ]


class Command(click.Command):
    """A command with the common options, and examples below its help."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        if examples:
            lines = "\n".join(f"  {line}" for line in examples.strip().splitlines())
            kwargs["epilog"] = f"Examples:\n\n\b\n{lines}"
        super().__init__(*args, **kwargs)
        self.params += common_options()


as_json = click.option(
    "--json", is_flag=True, help="Print an array of tracker documents, and nothing else."
)

dry_run = click.option(
    "--dry-run", is_flag=True, help="Show what would be done, and change nothing."
)


def output_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that replace settings; the command gets them as ``options``."""

    @wraps(command)
    def collect(
        *args: Any, preset: str | None, bitrate: str | None, out: str | None, **kwargs: Any
    ) -> int:
        options = {"AUDIO_PRESET": preset, "AUDIO_BITRATE": bitrate, "STORAGE_URL": out}
        return command(*args, options=options, **kwargs)

    for option in (
        click.option("--out", metavar="URL", help="Where the audio goes (STORAGE_URL)."),
        click.option(
            "--bitrate",
            metavar="RATE",
            help=f"Bit rate for {' and '.join(WITH_BITRATE)} (AUDIO_BITRATE).",
        ),
        click.option(
            "--preset",
            type=click.Choice(list(PRESETS)),
            help="Output format (AUDIO_PRESET).",
        ),
    ):
        collect = option(collect)
    return collect
