"""What every command works with: settings, services and logs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO, cast

import click

from cli.options import OPTION_OF, Invocation
from shared.bootstrap import Services
from shared.config.settings import Settings
from shared.core.errors import ConfigurationError
from shared.runtime import logging as logs


class App(Services):
    """The services of one run of the command line."""

    #: Whether only errors are printed.
    quiet = False

    def check_reachable(self) -> None:
        """Raise before any work when the tracker or the storage cannot be used."""
        self.documents.check()
        self.storage.check()


def load(
    invocation: Invocation,
    options: Mapping[str, str | None] | None = None,
    *,
    read_only: bool = False,
) -> App:
    """Read the settings: options first, then the environment, then the config file.

    ``options`` are variables by name. With ``read_only`` a missing tracker counts as empty
    and no file is created. Raises ``ConfigurationError`` with every problem.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    configured = environment(invocation)
    try:
        settings = Settings.from_environment(configured | given)
    except ConfigurationError as error:
        # Name the option where a problem is one of an option, not of its variable.
        names = {name: OPTION_OF[name] for name in given if name in OPTION_OF}
        problems = [one.partition(" ") for one in error.problems]
        raise ConfigurationError(
            [f"{names.get(name, name)}{space}{rest}" for name, space, rest in problems]
        ) from None
    app = App(settings, read_only=read_only)
    app.quiet = invocation.quiet
    level = logging.INFO if invocation.verbose else logging.WARNING
    handler = logs.setup(app.settings, level=level, stream=cast(TextIO, _Stderr()))
    if not invocation.verbose:
        handler.addFilter(_for_people)
    return app


def environment(invocation: Invocation) -> dict[str, str]:
    """Return the environment over the config file. Raises ``ConfigurationError``."""
    path = invocation.config or Path(click.get_app_dir("audio-pipeline")) / "config.toml"
    if invocation.config is None and not path.is_file():
        return dict(os.environ)
    from cli import config_file  # noqa: PLC0415  # most people have no such file

    configured = config_file.read(path, Settings.variables())
    return configured | {name: value for name, value in os.environ.items() if value.strip()}


class _Stderr:
    """Standard error at the time of each write: a progress bar replaces ``sys.stderr``."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _for_people(record: logging.LogRecord) -> bool:
    """Drop tracebacks, and messages that the command prints itself."""
    record.exc_info = record.exc_text = None
    return not record.name.startswith(("shared.tracking.", "shared.adapters.local.sources"))
