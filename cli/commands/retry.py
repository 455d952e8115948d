"""``audio-pipeline retry``: tries recordings again, with clean counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import click

from cli import exits
from cli.app import App, load
from cli.commands.status import retry_command
from cli.local_runner import LocalRunner
from cli.options import Command, Invocation, as_json, dry_run
from cli.stop import Stop
from cli.ui import json_output
from cli.ui.console import screen
from cli.ui.progress import bar
from cli.ui.report import print_failure, print_result
from cli.ui.text import shown
from functions.extract_audio.assembly import build_worker
from shared.core.errors import ConfigurationError
from shared.core.message import Source
from shared.core.records import Recording, Status


@click.command(
    cls=Command,
    examples="audio-pipeline retry --failed\n"
    "audio-pipeline retry local-3f2a…\n"
    "audio-pipeline retry --failed --dry-run",
)
@click.argument("keys", nargs=-1, metavar="KEY…")
@click.option("--failed", is_flag=True, help="Try every failed recording again.")
@dry_run
@as_json
@click.pass_obj
def retry(
    invocation: Invocation, keys: tuple[str, ...], failed: bool, dry_run: bool, json: bool
) -> int:
    """Try the recordings of these keys again, or all that failed.

    `audio-pipeline status --failed` shows the keys. Recordings with a queue are published
    to it; the others are extracted by this command.
    """
    if bool(keys) == failed:
        raise click.UsageError("a KEY or --failed is required")
    app = load(invocation, read_only=True)
    wanted = keys or tuple(one.key for one in list(app.tracker.with_status(Status.FAILED)))
    run = RetryRun(app, Stop(), quiet=json or invocation.quiet, dry_run=dry_run)
    with run.stop.on_signals():
        run.all(tuple(dict.fromkeys(wanted)))
    if json:
        json_output.write(run.documents)
    return exits.INTERRUPTED if run.stop.requested() else run.status


@dataclass
class RetryRun:
    """One run of the command: what it has done so far."""

    app: App
    stop: Stop
    quiet: bool
    dry_run: bool
    status: int = exits.OK
    documents: list[Recording | dict[str, Any]] = field(default_factory=list)

    def all(self, keys: tuple[str, ...]) -> None:
        """Try each recording again; one error does not stop the others."""
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
                self.documents.append(json_output.failure(key, error))
                self.status = max(self.status, print_failure(key, error))

    def _one(self, key: str) -> int:
        found = self.app.tracker.get(key)
        if found is None:
            return self._refuse(key, "the tracker has no recording with this key")
        # The queue whose workers process this recording; without one, we do.
        settings, queue = self.app.settings, None
        if found.source == Source.DRIVE and settings.recordings_queue_url.kind == "pubsub":
            queue = self.app.recordings_queue
        elif found.source == Source.SFTP and settings.sftp_queue_url.kind == "pubsub":
            queue = self.app.sftp_queue
        elif found.source == Source.SFTP:
            return self._refuse(found.name, f"run: {retry_command(self.app, found)}")
        if self.dry_run:
            action = "queue again" if queue else "extract again"
            self.documents.append({"name": found.name, "key": found.key, "action": action})
            if not self.quiet:
                screen.line(f"{screen.marks.waiting} {shown(found.name)}  ", (action, "dim"))
            return exits.OK
        if queue is None:
            self.app.check_reachable()
        queued = self.app.tracker.retry(key)
        if queued is None:
            return self._refuse(found.name, "a worker is processing it now")
        item = queued.to_source_file()
        if queue:
            queue.publish([item])
            self.documents.append(queued)
            if not self.quiet:
                screen.line(f"{screen.marks.waiting} {shown(queued.name)}  queued again")
            return exits.OK
        runner = LocalRunner(self.app, build_worker(self.app, Source(item.source)), self.stop)
        with bar(item.name, item.size_bytes, quiet=self.app.quiet) as drawn:
            result = runner.run_by_hand(item, drawn.update, drawn.waiting)
        if result.recording:
            self.documents.append(result.recording)
        return print_result(result, item.name, quiet=self.quiet)

    def _refuse(self, name: str, why: str) -> int:
        self.documents.append(json_output.failure(name, LookupError(why)))
        screen.line(f"{screen.marks.failed} {shown(name)}: {why}", error=True)
        return exits.FAILED
