"""``audio-pipeline backfill``: queues Drive recordings that were never processed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import click

from cli import exits
from cli.app import App, load
from cli.drive_listing import watched_recordings
from cli.options import Command, Invocation, as_json, dry_run
from cli.stop import Stop
from cli.ui import json_output
from cli.ui.console import screen
from cli.ui.report import print_failure
from cli.ui.text import shown
from functions.drive_watch.assembly import build_watch
from shared.core.counts import counted
from shared.core.errors import ConfigurationError
from shared.core.message import SourceFile


@click.command(
    cls=Command,
    examples="audio-pipeline backfill --since 2025-01-01\naudio-pipeline backfill --dry-run",
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Skip recordings made before this day (BACKFILL_SINCE).",
)
@dry_run
@as_json
@click.pass_obj
def backfill(invocation: Invocation, since: datetime | None, dry_run: bool, json: bool) -> int:
    """Queue every recording of the watched Drives that the tracker does not know.

    The workers of RECORDINGS_QUEUE_URL extract them. The command can be stopped and started
    again; nothing is queued twice.
    """
    options = {"BACKFILL_SINCE": since.date().isoformat() if since else None}
    app = load(invocation, options, read_only=dry_run)
    quiet = json or invocation.quiet
    if dry_run:
        new = [item for item in watched_recordings(app) if app.tracker.get(item.key) is None]
        if json:
            json_output.write({"name": one.name, "key": one.key, "action": "queue"} for one in new)
        elif not quiet:
            for item in new:
                screen.line(f"{screen.marks.waiting} {shown(item.name)}  ", ("queue", "dim"))
            screen.line(f"{counted(len(new), 'recording')} would be queued")
        return exits.OK
    queue = app.settings.recordings_queue_url
    if queue.kind == "local" and not queue.path:
        # A queue inside this process would be lost when it ends.
        needed = "pubsub://PROJECT/TOPIC, or local:///SOCKET of a running serve"
        raise ConfigurationError([f"backfill needs RECORDINGS_QUEUE_URL: {needed}"])
    app.documents.check()
    run = BackfillRun(app, Stop(), quiet=quiet)
    with run.stop.on_signals():
        status = run.all()
    if json:
        recordings = (app.tracker.get(item.key) for item in run.queued)
        json_output.write(one for one in recordings if one)
    elif not quiet:
        screen.line(f"{counted(len(run.queued), 'recording')} queued")
    return exits.INTERRUPTED if run.stop.requested() else status


@dataclass
class BackfillRun:
    """One run of the command: what it has queued so far."""

    app: App
    stop: Stop
    quiet: bool
    queued: list[SourceFile] = field(default_factory=list)

    def all(self) -> int:
        """Scan every Drive; one error does not stop the others. Return the exit status."""
        watch, status = build_watch(self.app, cancelled=self.stop.requested), exits.OK
        for feed in watch.feeds:
            try:
                for items in watch.scan(feed, watch.budget()).pages():
                    self.queued += items
                    for item in [] if self.quiet else items:
                        screen.line(f"{screen.marks.waiting} {shown(item.name)}")
                    if self.stop.requested():
                        break
            except Exception as error:
                status = max(status, print_failure(feed.id, error))
        return status
