"""``audio-pipeline extract``: recordings that a person names become audio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from cli import exits
from cli.app import App, load
from cli.local_runner import Extraction, worker_of
from cli.options import as_json, output_options
from cli.stop import Stop
from cli.ui import json_output, report
from cli.ui.console import screen
from cli.ui.progress import bar
from cli.ui.text import shown
from shared.core.errors import ConfigurationError, PermanentError
from shared.core.message import SourceFile
from shared.core.records import Recording
from shared.tracking.lease import Result


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--force", is_flag=True, help="Extract again what is done already.")
@output_options
@as_json
@click.pass_obj
def extract(
    verbose: bool, files: tuple[Path, ...], force: bool, options: dict[str, str | None], json: bool
) -> int:
    """Extract the audio of each FILE; of a folder, of every recording below it.

    A recording that is done already is left alone, unless its audio is gone. One that
    failed is tried again. A file that cannot be extracted does not stop the others.
    """
    app = load(options, verbose=verbose)
    app.check_reachable()
    stop = Stop()
    run = _Run(Extraction(app, worker_of(app), stop), force=force, quiet=json)
    with stop.on_signals():
        for found in expanded(app, files):
            if stop.requested():
                break
            run.one(found)
        if json:
            json_output.write(run.recordings)
    return exits.INTERRUPTED if stop.requested() else run.status


@dataclass
class _Run:
    """One call of the command: what came of its files so far."""

    extraction: Extraction
    force: bool
    quiet: bool
    status: int = exits.OK
    recordings: list[Recording] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def one(self, found: SourceFile | Unusable) -> None:
        """Extract one file and tell about it; nothing that it meets stops the others."""
        if isinstance(found, Unusable):
            self.status = max(self.status, report.failed(found.name, found.error))
        elif found.key not in self._seen:
            self._seen.add(found.key)
            self.status = max(self.status, self._extract(found))

    def _extract(self, item: SourceFile) -> int:
        try:
            result = self._result(item)
        except ConfigurationError:
            raise
        except Exception as error:
            return report.failed(item.name, error)
        if result.recording:
            self.recordings.append(result.recording)
        return report.told(result, item.name, quiet=self.quiet)

    def _result(self, item: SourceFile) -> Result:
        told: set[str] = set()
        with bar(item) as shown_bar:

            def on_wait(why: str) -> None:
                shown_bar.waiting(why)
                if item.key not in told:
                    told.add(item.key)
                    screen.line(f"{shown(item.name)}: {why}", error=True)

            return self.extraction.by_hand(item, shown_bar.update, on_wait, force=self.force)


@dataclass(frozen=True)
class Unusable:
    """An argument that leads to no recording, and why."""

    name: str
    error: Exception


def expanded(app: App, paths: Sequence[Path]) -> Iterator[SourceFile | Unusable]:
    """Yield the recordings that the arguments name; of a folder, those below it."""
    for path in paths:
        try:
            if path.is_dir():
                yield from _below(app, path)
            else:
                yield app.services.local_sources.describe(path)
        except (PermanentError, OSError, ValueError) as error:
            yield Unusable(str(path), error)


def _below(app: App, folder: Path) -> Iterator[SourceFile]:
    count = 0
    for item in app.services.local_folder(folder).list():
        count += 1
        yield item
    if not count:
        screen.line(f"{shown(str(folder))}: no recordings below this folder", error=True)
