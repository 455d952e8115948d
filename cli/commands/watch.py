"""``audio-pipeline watch``: every recording that appears below a folder becomes audio."""

from __future__ import annotations

import os
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
from cli.ui.error_text import sentence
from cli.ui.progress import bar
from cli.ui.text import shown
from cli.watching.watcher import Watcher
from shared.core.errors import PermanentError, is_transient
from shared.core.message import SourceFile
from shared.core.records import Recording
from shared.tracking.lease import Outcome, Result

#: Under ``--once``, how often what may pass by itself is tried.
_TRIES = 3


@click.command()
@click.argument(
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
)
@click.option("--once", is_flag=True, help="End when all that is there has been extracted.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True,
    metavar="SECONDS", help="How often to look.",
)  # fmt: skip
@click.option(
    "--settle", type=click.FloatRange(0, 86400), default=5.0, show_default=True,
    metavar="SECONDS", help="How long a file must stay as it is before it is taken.",
)  # fmt: skip
@output_options
@as_json
@click.pass_obj
def watch(
    verbose: bool,
    folder: Path,
    once: bool,
    interval: float,
    settle: float,
    options: dict[str, str | None],
    json: bool,
) -> int:
    """Extract every new or changed recording below DIR, until Ctrl-C.

    A file is taken once it has settled and nobody writes to it. Hidden files, and what
    lies under STORAGE_URL, are left alone. What was extracted before is not done again.
    With --json the array is printed at the end.
    """
    app = load(options, verbose=verbose)
    _refuse_own_output(app, folder)
    app.check_reachable()
    run = _Run(app, Extraction(app, worker_of(app), Stop()), quiet=json)
    watcher = Watcher(folder, run.extraction, run.extract, settle)
    with run.extraction.stop.on_signals():
        screen.line(f"watching {shown(str(folder))}, every {interval:g} s", error=True)
        status = run.until_stopped(watcher, interval, once=once)
    if json:
        json_output.write(run.recordings.values())
    return status


def _refuse_own_output(app: App, folder: Path) -> None:
    url = app.settings.storage_url
    inside = Path(os.path.realpath(folder))
    if url.kind == "file" and inside.is_relative_to(os.path.realpath(url.path)):
        raise click.UsageError(f"{shown(str(folder))} is where the audio goes (STORAGE_URL)")


@dataclass
class _Run:
    """One call of the command."""

    app: App
    extraction: Extraction
    quiet: bool
    status: int = exits.OK
    recordings: dict[str, Recording] = field(default_factory=dict)
    _tries: dict[str, int] = field(default_factory=dict)

    def extract(self, item: SourceFile) -> Result:
        """Extract one recording and tell people of it."""
        with bar(item) as shown_bar:
            result = self.extraction.once(item, shown_bar.update)
        if result.recording:
            self.recordings[item.key] = result.recording
        if result.outcome in (Outcome.DONE, Outcome.SKIPPED, Outcome.FAILED):
            self.status = max(self.status, report.told(result, item.name, quiet=self.quiet))
        elif result.outcome in (Outcome.RETRY, Outcome.CANCELLED):
            report.told(result, item.name, quiet=self.quiet)
        if result.outcome is Outcome.RETRY:
            self._tries[item.key] = self._tries.get(item.key, 0) + 1
        else:
            self._tries.pop(item.key, None)
        return result

    def until_stopped(self, watcher: Watcher, interval: float, *, once: bool) -> int:
        """Look, wait, and look again; returns the exit status."""
        stop = self.extraction.stop
        while not stop.requested():
            looked = self._look(watcher)
            if once and looked and watcher.is_idle:
                return self.status
            if once and any(tries >= _TRIES for tries in self._tries.values()):
                return exits.FAILED
            stop.wait(interval)
        # A watch has no other end than being asked to: only what it was to finish counts.
        return exits.INTERRUPTED if once else exits.OK

    def _look(self, watcher: Watcher) -> bool:
        try:
            watcher.look()
        except Exception as error:
            # A folder may be unmounted for a while, a tracker out of reach.
            if isinstance(error, PermanentError) or not _may_pass(error):
                raise
            screen.line(f"{sentence(error)}; looking again", error=True)
            return False
        return True


def _may_pass(error: Exception) -> bool:
    return isinstance(error, OSError) or is_transient(error)
