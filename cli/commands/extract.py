"""``audio-pipeline extract``: extracts the recordings that a person names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from cli import exits
from cli.app import load
from cli.local_runner import LocalRunner, made_otherwise, planned
from cli.options import Command, Invocation, as_json, dry_run, output_options
from cli.stop import Stop
from cli.ui import json_output
from cli.ui.console import screen
from cli.ui.progress import bar
from cli.ui.report import RunSummary, print_failure, print_result
from cli.ui.text import below, shown
from functions.extract_audio.assembly import build_worker
from shared.core.errors import Code, ConfigurationError, PermanentError
from shared.core.message import Source, SourceFile
from shared.core.naming import decode_path
from shared.core.records import Recording, Status
from shared.tracking.lease import Outcome


@click.command(
    cls=Command,
    examples="audio-pipeline extract meeting.mp4\n"
    "audio-pipeline extract --preset whisper --out speech ~/Recordings\n"
    "audio-pipeline extract --json *.mkv | jq '.[].gcs_url'\n"
    "audio-pipeline extract --dry-run ~/Recordings",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--force", is_flag=True, help="Make the audio again, even when it is done.")
@output_options
@dry_run
@as_json
@click.pass_obj
def extract(
    invocation: Invocation,
    files: tuple[Path, ...],
    force: bool,
    options: dict[str, str | None],
    dry_run: bool,
    json: bool,
) -> int:
    """Extract the audio of each FILE; for a folder, of every recording below it.

    Recordings that are done are skipped, unless their audio is gone, or --preset or
    --bitrate asks for another format: then the new audio replaces the old. Failed
    recordings are tried again. One failure does not stop the others.
    """
    app = load(invocation, options, read_only=dry_run)
    remake = bool(options["AUDIO_PRESET"] or options["AUDIO_BITRATE"])
    runner = LocalRunner(app, build_worker(app, Source.LOCAL), Stop(), remake=remake)
    run = ExtractRun(runner, force=force, quiet=json or invocation.quiet)
    if not dry_run:
        app.check_reachable()
        # Results of earlier runs; a receiver that is down costs 10 s.
        app.tracker.announce_due(max_failures=1)
    with runner.stop.on_signals():
        inputs = run.find(files)
        for one in inputs:
            if runner.stop.requested():
                break
            if dry_run:
                run.plan(one)
            else:
                run.extract(one)
    if json:
        json_output.write(run.documents)
    elif not (invocation.quiet or dry_run) and (len(inputs) > 1 or any(map(Path.is_dir, files))):
        run.print_summary()
    return exits.INTERRUPTED if runner.stop.requested() else run.status


@dataclass(frozen=True)
class NamedFile:
    """A file to extract, or the error that was met instead of one.

    ``listed`` files were found in a folder, not named.
    """

    name: str
    found: SourceFile | Exception
    listed: bool = False


@dataclass
class ExtractRun:
    """One run of the command: what it has done so far."""

    runner: LocalRunner
    force: bool
    quiet: bool
    status: int = exits.OK
    documents: list[Recording | dict[str, Any]] = field(default_factory=list)
    summary: RunSummary = field(default_factory=RunSummary)
    made_otherwise: set[str] = field(default_factory=set)

    def find(self, paths: Sequence[Path]) -> list[NamedFile]:
        """Return the files that the arguments name, each once; for a folder, those below it."""
        inputs: dict[str, NamedFile] = {}
        alone = len(paths) == 1
        for path in paths:
            try:
                if path.is_dir():
                    base = path.absolute() if alone else Path.cwd()
                    found = self._below(path.absolute(), base)
                else:
                    item = self.runner.app.local_sources.describe(path)
                    found = [NamedFile(below(path, Path.cwd()), item)]
            except (PermanentError, OSError, ValueError) as error:
                found = [NamedFile(str(path), error)]
            for one in found:
                key = one.found.key if isinstance(one.found, SourceFile) else f"error {one.name}"
                inputs.setdefault(key, one)
        self.summary.total = len(inputs)
        return list(inputs.values())

    def _below(self, folder: Path, base: Path) -> list[NamedFile]:
        """Return the recordings below a folder, and what cannot be read there."""
        inputs: list[NamedFile] = []

        def leave_out(path: Path, why: str) -> None:
            name = below(path, base)
            self.summary.leave_out(name, why)
            if why != "empty":
                inputs.append(NamedFile(name, PermanentError(Code.FORBIDDEN, why), listed=True))

        for item in self.runner.app.local_folder(folder, leave_out).list():
            path = Path(os.fsdecode(decode_path(item.source_id)))
            inputs.append(NamedFile(below(path, base), item, listed=True))
        if not inputs and not self.summary.left_out:
            screen.line(f"{shown(str(folder))}: no recordings below this folder", error=True)
        return inputs

    def extract(self, one: NamedFile) -> None:
        """Extract one file and print how it ended; no error stops the others."""
        if isinstance(one.found, Exception):
            self._fail(one, one.found)
            return
        position = self.summary.ended.total() + 1
        counter = f"[{position}/{self.summary.total}]" if self.summary.total > 1 else ""
        waits: list[str] = []
        try:
            with bar(
                one.name, one.found.size_bytes, position=counter, quiet=self.runner.app.quiet
            ) as drawn:

                def on_wait(why: str) -> None:
                    drawn.waiting(why)
                    if not waits:
                        waits.append(why)
                        screen.line(f"{shown(one.name)}: {why}", error=True)

                result = self.runner.run_by_hand(one.found, drawn.update, on_wait, force=self.force)
        except ConfigurationError:
            raise
        except Exception as error:
            self._fail(one, error)
            return
        if result.outcome is not Outcome.CANCELLED:
            self.summary.add(result, one.name)
        recording, note, done_before = result.recording, "", False
        if recording:
            self.documents.append(recording)
            done_before = result.outcome is Outcome.DUPLICATE and recording.status is Status.DONE
            note = self._note(recording) if done_before else ""
        quiet = self.quiet or (done_before and one.listed)
        self.status = max(self.status, print_result(result, one.name, quiet=quiet, note=note))

    def _note(self, recording: Recording) -> str:
        """Return what to do about a recording that was made with other settings, or empty."""
        settings = self.runner.app.settings
        made = made_otherwise(self.runner.app, recording)
        if not made:
            return ""
        wanted = settings.audio_preset
        if recording.audio and recording.audio.preset == wanted:
            wanted += f" at {settings.audio_bitrate // 1000}k"
        note = f"done as {made}; --force makes it again as {wanted}"
        self.made_otherwise.add(note)
        return note

    def _fail(self, one: NamedFile, error: Exception) -> None:
        self.summary.add_failure()
        self.documents.append(json_output.failure(one.name, error))
        self.status = max(self.status, print_failure(one.name, error))

    def plan(self, one: NamedFile) -> None:
        """Print what would be done with one file."""
        if isinstance(one.found, Exception):
            self._fail(one, one.found)
            return
        action = planned(self.runner, one.found, force=self.force)
        self.documents.append({"name": one.name, "key": one.found.key, "action": action})
        if not self.quiet:
            screen.line(f"{screen.marks.waiting} {shown(one.name)}  ", (action, "dim"))

    def print_summary(self) -> None:
        """Print the counts and the next command."""
        commands = sorted(self.made_otherwise)
        if self.summary.ended[Status.FAILED]:
            commands.append("audio-pipeline status --failed")
        if self.runner.stop.requested():
            commands.append("run the same command to continue")
        self.summary.print(*commands)
