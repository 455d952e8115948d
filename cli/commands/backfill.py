"""``audio-pipeline backfill``: what Drive holds and the tracker does not know is published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import click

from cli import exits
from cli.app import App, load
from cli.options import as_json
from cli.stop import Stop
from cli.ui import json_output, report
from cli.ui.console import screen
from cli.ui.text import shown
from functions.drive_watch.assembly import build_watch
from functions.drive_watch.feeds import Feed
from functions.drive_watch.watch import Watch
from shared.core.errors import ConfigurationError
from shared.core.message import SourceFile


@click.command()
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Leave out what was made before this day (BACKFILL_SINCE).",
)
@as_json
@click.pass_obj
def backfill(verbose: bool, since: datetime | None, json: bool) -> int:
    """Publish every recording of the watched Drives that the tracker does not know.

    The workers that read RECORDINGS_QUEUE_URL extract them. It can be stopped and started
    again: what was published is not published twice.
    """
    app = load({"BACKFILL_SINCE": since.date().isoformat() if since else None}, verbose=verbose)
    if app.settings.recordings_queue_url.kind != "pubsub":
        raise ConfigurationError(["backfill needs RECORDINGS_QUEUE_URL=pubsub://PROJECT/TOPIC"])
    app.services.documents.check()
    run = _Run(app, Stop(), quiet=json)
    with run.stop.on_signals():
        status = run.all()
    if json:
        recordings = (app.tracker.get(item.key) for item in run.published)
        json_output.write(one for one in recordings if one)
    else:
        screen.line(f"{len(run.published)} recordings published")
    return exits.INTERRUPTED if run.stop.requested() else status


@dataclass
class _Run:
    """One call of the command, and what it has published so far."""

    app: App
    stop: Stop
    quiet: bool
    published: list[SourceFile] = field(default_factory=list)

    def all(self) -> int:
        """List every Drive; one that fails does not stop the others."""
        watch = build_watch(self.app.services, cancelled=self.stop.requested)
        return max(self._guarded(feed, watch) for feed in watch.feeds)

    def _guarded(self, feed: Feed, watch: Watch) -> int:
        try:
            self._one(feed, watch, self.stop.requested)
        except Exception as error:
            return report.failed(feed.id, error)
        return exits.OK

    def _one(self, feed: Feed, watch: Watch, stopped: Callable[[], bool]) -> None:
        for items in watch.scan(feed, watch.budget()).pages():
            self.published += items
            for item in [] if self.quiet else items:
                screen.line(f"{screen.marks.waiting} {shown(item.name)}")
            if stopped():
                return
