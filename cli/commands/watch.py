"""``audio-pipeline watch``: extracts every recording that appears below a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import click

from cli import exits
from cli.app import load
from cli.local_runner import LocalRunner, planned
from cli.options import Command, Invocation, dry_run, output_options
from cli.stop import Stop
from cli.ui import json_output
from cli.ui.console import screen
from cli.ui.error_text import error_text
from cli.ui.progress import bar
from cli.ui.report import print_result
from cli.ui.text import below, shown
from cli.watching.watcher import Watcher
from functions.extract_audio.assembly import build_worker
from shared.core.errors import PermanentError, is_transient
from shared.core.message import Source, SourceFile
from shared.core.naming import decode_path
from shared.tracking.lease import Outcome, Result

#: How often ``--once`` tries a recording with a transient error.
_TRIES = 3


@click.command(
    cls=Command,
    examples="audio-pipeline watch ~/Recordings\n"
    "audio-pipeline watch --once --json ~/Recordings >> done.jsonl\n"
    "audio-pipeline watch --dry-run ~/Recordings",
)
@click.argument(
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
)
@click.option("--once", is_flag=True, help="Exit when everything in the folder is extracted.")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True,
    metavar="SECONDS", help="How often to scan the folder.",
)  # fmt: skip
@click.option(
    "--settle", type=click.FloatRange(0, 86400), default=5.0, show_default=True,
    metavar="SECONDS", help="How long a file must stay unchanged before it is extracted.",
)  # fmt: skip
@output_options
@dry_run
@click.option("--json", is_flag=True, help="Print a tracker document per line as things happen.")
@click.pass_obj
def watch(
    invocation: Invocation,
    folder: Path,
    once: bool,
    interval: float,
    settle: float,
    options: dict[str, str | None],
    dry_run: bool,
    json: bool,
) -> int:
    """Extract every new or changed recording below DIR, until Ctrl-C.

    A file is extracted when it has stopped changing and no process writes to it. Hidden
    files and the folder of STORAGE_URL are skipped. Recordings that are done are not
    extracted again, unless --preset or --bitrate asks for another format.
    """
    app = load(invocation, options, read_only=dry_run)
    url = app.settings.storage_url
    if url.kind == "file" and Path(os.path.realpath(folder)).is_relative_to(
        os.path.realpath(url.path)
    ):
        option = "--out" if options["STORAGE_URL"] else "STORAGE_URL"
        raise click.UsageError(f"{shown(str(folder))} is where the audio goes ({option})")
    remake = bool(options["AUDIO_PRESET"] or options["AUDIO_BITRATE"])
    runner = LocalRunner(app, build_worker(app, Source.LOCAL), Stop(), remake=remake)
    run = WatchRun(folder.absolute(), runner, json=json, quiet=json or invocation.quiet)
    if dry_run:
        for item in app.local_folder(run.folder).list():
            run.plan(item)
        return exits.OK
    app.check_reachable()
    watcher = Watcher(folder, runner, run.extract, settle, run.leave_out)
    with runner.stop.on_signals():
        if not invocation.quiet:
            screen.line(f"watching {shown(str(folder))} every {interval:g} s", error=True)
        return run.until_stopped(watcher, interval, once=once)


@dataclass
class WatchRun:
    """One run of the command."""

    folder: Path
    runner: LocalRunner
    json: bool
    quiet: bool
    status: int = exits.OK
    _tries: dict[str, int] = field(default_factory=dict)
    _left_out: set[Path] = field(default_factory=set)

    def extract(self, item: SourceFile) -> Result:
        """Extract one recording and print how it ended."""
        name = self._name(item)
        with bar(name, item.size_bytes, quiet=self.runner.app.quiet) as drawn:
            result = self.runner.run(item, drawn.update)
        if result.outcome in (Outcome.DONE, Outcome.SKIPPED, Outcome.FAILED):
            self.status = max(self.status, print_result(result, name, quiet=self.quiet))
            self._print_line(result)
        elif result.outcome in (Outcome.RETRY, Outcome.CANCELLED):
            print_result(result, name, quiet=self.quiet)
            self._print_line(result)
        if result.outcome is Outcome.RETRY:
            self._tries[item.key] = self._tries.get(item.key, 0) + 1
        else:
            self._tries.pop(item.key, None)
        return result

    def _name(self, item: SourceFile) -> str:
        return below(Path(os.fsdecode(decode_path(item.source_id))), self.folder)

    def _print_line(self, result: Result) -> None:
        if self.json and result.recording:
            json_output.write_line(result.recording)

    def leave_out(self, path: Path, why: str) -> None:
        """Print once that a file or folder cannot be read; empty files may still fill."""
        if why != "empty" and path not in self._left_out:
            self._left_out.add(path)
            name = below(path, self.folder)
            screen.line(f"{shown(name)} {why} and is skipped", error=True)
            if self.json:
                json_output.write_line(json_output.failure(name, OSError(why)))

    def plan(self, item: SourceFile) -> None:
        """Print what would be done with one file."""
        action = planned(self.runner, item)
        if self.json:
            line = {"name": self._name(item), "key": item.key, "action": action}
            json_output.write_line(line)
        elif not self.quiet:
            screen.line(f"{screen.marks.waiting} {shown(self._name(item))}  ", (action, "dim"))

    def until_stopped(self, watcher: Watcher, interval: float, *, once: bool) -> int:
        """Scan, wait, and scan again; return the exit status."""
        stop = self.runner.stop
        while not stop.requested():
            try:
                watcher.scan()
            except Exception as error:
                # The folder may be unmounted for a while, or the tracker unreachable.
                passes = isinstance(error, OSError) or is_transient(error)
                if isinstance(error, PermanentError) or not passes:
                    raise
                screen.line(f"{error_text(error)}; scanning again", error=True)
            else:
                if once and watcher.is_idle:
                    return self.status
            if once and any(tries >= _TRIES for tries in self._tries.values()):
                return exits.FAILED
            stop.wait(interval)
        # Without --once a signal is the normal end.
        return exits.INTERRUPTED if once else exits.OK
