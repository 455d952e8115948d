"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

as_json = click.option(
    "--json",
    is_flag=True,
    help="Print an array of tracker documents, and nothing else, on standard output.",
)

_PRESETS = click.Choice(["mp3", "copy", "opus", "whisper"])


def output_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that stand in for variables, handed over as ``options``."""

    @wraps(command)
    def collect(
        *args: Any, preset: str | None, bitrate: str | None, out: str | None, **kwargs: Any
    ) -> int:
        options = {"AUDIO_PRESET": preset, "AUDIO_BITRATE": bitrate, "STORAGE_URL": out}
        return command(*args, options=options, **kwargs)

    for option in (
        click.option("--out", metavar="URL", help="Where the audio goes (STORAGE_URL)."),
        click.option("--bitrate", metavar="RATE", help="Of mp3 and opus (AUDIO_BITRATE)."),
        click.option("--preset", type=_PRESETS, help="What is made of it (AUDIO_PRESET)."),
    ):
        collect = option(collect)
    return collect
