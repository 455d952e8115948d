"""``audio-pipeline retry``: recordings are queued again by hand, with clean counts."""

from __future__ import annotations

from dataclasses import dataclass, field

import click

from cli import exits
from cli.app import App, load
from cli.local_runner import Extraction, worker_of
from cli.options import as_json
from cli.stop import Stop
from cli.ui import json_output, report
from cli.ui.console import screen
from cli.ui.progress import bar
from cli.ui.text import shown
from shared.core.errors import ConfigurationError
from shared.core.message import Source
from shared.core.ports import Queue
from shared.core.records import Recording, Status


@click.command()
@click.argument("keys", nargs=-1, metavar="KEY…")
@click.option("--failed", is_flag=True, help="Every recording that failed.")
@as_json
@click.pass_obj
def retry(verbose: bool, keys: tuple[str, ...], failed: bool, json: bool) -> int:
    """Try the recordings of these keys again, or all that failed.

    audio-pipeline status --failed shows the keys. What has a queue is published to it;
    the rest is extracted here and now.
    """
    if bool(keys) == failed:
        raise click.UsageError("give the keys of recordings, or --failed")
    app = load(verbose=verbose)
    app.check_reachable()
    wanted = keys or tuple(one.key for one in list(app.tracker.with_status(Status.FAILED)))
    run = _Run(app, Stop(), quiet=json)
    with run.stop.on_signals():
        run.all(tuple(dict.fromkeys(wanted)))
    if json:
        json_output.write(run.recordings)
    return exits.INTERRUPTED if run.stop.requested() else run.status


@dataclass
class _Run:
    """One call of the command: what came of its recordings so far."""

    app: App
    stop: Stop
    quiet: bool
    status: int = exits.OK
    recordings: list[Recording] = field(default_factory=list)

    def all(self, keys: tuple[str, ...]) -> None:
        """Try each again; nothing that one meets stops the others."""
        if not keys and not self.quiet:
            screen.line("nothing has failed")
        for key in keys:
            if self.stop.requested():
                return
            try:
                self.status = max(self.status, self._one(key))
            except ConfigurationError:
                raise
            except Exception as error:
                self.status = max(self.status, report.failed(key, error))

    def _one(self, key: str) -> int:
        found = self.app.tracker.get(key)
        if found is None:
            return _refused(key, "the tracker knows no recording of this key")
        queue = _queue(self.app, found)
        if queue is None and found.source == Source.SFTP:
            return _refused(found.name, "files of the SFTP server need SFTP_QUEUE_URL")
        queued = self.app.tracker.retry(key)
        if queued is None:
            return _refused(found.name, "a worker is at it now")
        if queue is not None:
            queue.publish([queued.to_source_file()])
            return self._published(queued)
        return self._extract(queued)

    def _published(self, queued: Recording) -> int:
        self.recordings.append(queued)
        if not self.quiet:
            screen.line(f"{screen.marks.waiting} {shown(queued.name)}  queued again")
        return exits.OK

    def _extract(self, queued: Recording) -> int:
        item = queued.to_source_file()
        extraction = Extraction(self.app, worker_of(self.app, item.source), self.stop)
        with bar(item) as shown_bar:
            result = extraction.by_hand(item, shown_bar.update, shown_bar.waiting)
        if result.recording:
            self.recordings.append(result.recording)
        return report.told(result, item.name, quiet=self.quiet)


def _queue(app: App, recording: Recording) -> Queue | None:
    """Return the queue whose workers have this recording; ``None`` if that is us."""
    if recording.source == Source.DRIVE and app.settings.recordings_queue_url.kind == "pubsub":
        return app.services.recordings_queue
    if recording.source == Source.SFTP and app.settings.sftp_queue_url.kind == "pubsub":
        return app.services.sftp_queue
    return None


def _refused(name: str, why: str) -> int:
    screen.line(f"{screen.marks.failed} {shown(name)}: {why}", error=True)
    return exits.FAILED
