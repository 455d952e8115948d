"""``audio-pipeline audit``: compares sources, tracker and storage, and reports mismatches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

import click

from cli import exits
from cli.app import App, load
from cli.drive_listing import has_drive, watched_recordings
from cli.inspection.reconcile import (
    Problem,
    ProblemKind,
    Tally,
    is_gone,
    missing_audio,
    orphans,
    stale,
    tally,
    waiting,
    wrong_manifest,
)
from cli.inspection.snapshot import Snapshot
from cli.options import Command, Invocation, as_json
from cli.ui import json_output
from cli.ui.console import screen
from cli.ui.report import listed
from cli.ui.text import below, shown
from functions.sftp_compress.manifest import Manifest
from shared.core.counts import counted
from shared.core.errors import (
    ConfigurationError,
    ConflictError,
    PermanentError,
    PipelineError,
    TransientError,
)
from shared.core.message import Source, SourceFile
from shared.core.naming import decode_path, manifest_object, manifest_parts
from shared.core.ports import Documents, PassedOver
from shared.core.records import Status
from shared.core.times import document_time

#: How many findings of one kind are printed.
_SHOWN = 20


@click.command(
    cls=Command,
    examples="audio-pipeline audit\n"
    "audio-pipeline audit ~/Recordings\n"
    "audio-pipeline audit --json | jq -r '.[].key'",
)
@click.argument(
    "folders", nargs=-1, metavar="[DIR…]",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)  # fmt: skip
@as_json
@click.pass_obj
def audit(invocation: Invocation, folders: tuple[Path, ...], json: bool) -> int:
    """Compare the sources as they are now with the tracker and the storage.

    Sources are the recordings below each DIR, else the local files that the tracker knows;
    and Google Drive and the SFTP server, if they are configured. Objects in the storage and
    rows of the manifest are compared too. --json prints the documents of the recordings that
    do not add up.
    """
    app = load(invocation, read_only=True)
    run = AuditRun(app, Snapshot(app.tracker.all_documents()))
    run.compare(folders)
    run.record()
    if json:
        json_output.write(one.recording for one in run.problems if one.recording)
    run.print(folders, quiet=json or invocation.quiet)
    return exits.FAILED if run.problems else exits.OK


@dataclass
class AuditRun:
    """One run of the command: what it has found so far."""

    app: App
    known: Snapshot
    tallies: dict[str, Tally] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    passed_over: PassedOver = field(default_factory=PassedOver)

    def compare(self, folders: Sequence[Path]) -> None:
        """Compare every source, then the leases and the audio."""
        for folder in folders:
            found = self.app.local_folder(folder.absolute(), self._leave_out)
            self.tallies[shown(str(folder))] = tally(found.list(), self.known)
        if not folders:
            self.tallies["local files"] = tally(self._remembered(), self.known)
        inside = tuple(os.fsencode(folder.absolute()) + b"/" for folder in folders) or b""
        self.gone += [
            one.name
            for one in self.known.unseen(Source.LOCAL)
            if decode_path(one.source_id).startswith(inside) and is_gone(one)
        ]
        if has_drive(self.app):
            self.tallies["Google Drive"] = tally(watched_recordings(self.app), self.known)
            self.gone += [one.name for one in self.known.unseen(Source.DRIVE)]
        self._compare_sftp()
        self.problems += [problem for one in self.tallies.values() for problem in one.problems]
        self.problems += stale(self.known, self.app.tracker.clock())
        storage = self.app.storage
        self.problems += missing_audio(self.known, storage)
        objects = storage.list(f"{self.app.settings.pipeline_env}/")
        self.problems += orphans(self.known, objects, self.app.tracker.get)

    def _compare_sftp(self) -> None:
        """Compare the SFTP server, if one is configured, and the manifest of its files."""
        services, settings = self.app, self.app.settings
        name = manifest_object(settings.pipeline_env, settings.output_dir)
        manifest = Manifest(
            storage=services.storage,
            name=name,
            parts=manifest_parts(settings.pipeline_env, settings.output_dir),
            clock=self.app.tracker.clock,
        )
        try:
            self.problems += wrong_manifest(self.known, manifest.current_rows())
        except PipelineError as error:
            self.problems.append(Problem(ProblemKind.UNREADABLE, name, str(error)))
        if not settings.sftp_host or not settings.sftp_credentials:
            return
        last = last_nightly_run(services.documents)
        since = last - timedelta(minutes=settings.sftp_settle_minutes) if last else None
        try:
            files = services.sftp_files(self.passed_over).list()
            found = waiting(files, self.known, since)
            self.tallies["SFTP server"] = tally(found, self.known)
        except (ConfigurationError, TransientError) as error:
            self.problems.append(Problem(ProblemKind.UNREADABLE, settings.sftp_host, str(error)))

    def record(self) -> None:
        """Store the result for the dashboard. Of two audits at one time either may win."""
        documents = self.app.tracker.documents
        result = {
            "finished_at": self.app.tracker.clock(),
            "seen": sum(one.seen for one in self.tallies.values()),
            "problems": len(self.problems),
        }
        read = documents.get("audits", "last")
        with suppress(ConflictError):
            if read is None:
                documents.create("audits", "last", result)
            else:
                documents.replace("audits", read, result)

    def _leave_out(self, path: Path, why: str) -> None:
        name = below(path, Path.cwd())
        if why == "empty":
            self.empty.append(name)
        else:
            self.problems.append(Problem(ProblemKind.UNREADABLE, name, why))

    def _remembered(self) -> Iterator[SourceFile]:
        """Yield the local files that the tracker knows, as they are now."""
        paths = (one.source_id for one in self.known.of_source(Source.LOCAL))
        for path, _ in groupby(paths):
            try:
                yield self.app.local_sources.describe(Path(os.fsdecode(decode_path(path))))
            except PermanentError:
                continue  # it is gone

    def print(self, folders: Sequence[Path], *, quiet: bool) -> None:
        """Print the totals, the findings by kind with what to run, and the totals again."""
        if not quiet:
            self._print_totals()
        for kind in ProblemKind:
            self._print_problems(kind, folders)
        if quiet:
            return
        for note in self._notes():
            screen.line((note, "yellow"))
        if not self.problems:
            screen.line((f"{screen.marks.done} ", "bold green"), "everything adds up")
        elif len(self.problems) > _SHOWN:
            self._print_totals()
        if self.problems:
            counts = [
                f"{count:,} {kind.value}"
                for kind in ProblemKind
                if (count := sum(one.kind is kind for one in self.problems))
            ]
            screen.line(
                (f"{counted(len(self.problems), 'problem')}: {', '.join(counts)}", "bold red")
            )

    def _print_problems(self, kind: ProblemKind, folders: Sequence[Path]) -> None:
        found = [one for one in self.problems if one.kind is kind]
        for one in found[:_SHOWN]:
            screen.line((f"{screen.marks.failed} ", "bold red"), (shown(one.name), "bold"),
                        error=True)  # fmt: skip
            screen.line("  ", shown(one.what), error=True)
        if len(found) > _SHOWN:
            screen.line(f"  … and {len(found) - _SHOWN:,} more {kind.value}", error=True)
        if found and (command := self._command(kind, folders)):
            screen.line("  run: ", (command, "bold"), error=True)

    def _print_totals(self) -> None:
        for name, one in self.tallies.items():
            counts = (
                f"{one.by_status[Status.DONE]} done + {one.by_status[Status.SKIPPED]} skipped"
                f" + {one.by_status[Status.FAILED]} failed + {one.in_flight} in flight"
            )
            equals = "≠" if one.problems else "="
            screen.line((f"{name}: ", "bold"), f"{one.seen} seen {equals} {counts}")

    def _notes(self) -> Iterator[str]:
        if self.empty:
            yield f"{len(self.empty):,} empty: {listed(self.empty)}"
        if passed := self.passed_over.count:
            names = listed(self.passed_over.names, passed)
            yield f"{passed:,} on the SFTP server passed over, not audio by name: {names}"
        if self.gone:
            recordings = counted(len(self.gone), "recording")
            yield f"{recordings} whose source is gone: {listed(self.gone)}"
        files = self.known.count(Source.SFTP)
        if files and not self.app.settings.sftp_host:
            yield f"not compared: the SFTP server ({files:,} of its files are in the tracker)"
        if not has_drive(self.app) and self.known.count(Source.DRIVE):
            yield "not compared: Google Drive (no Drive is configured here)"

    def _command(self, kind: ProblemKind, folders: Sequence[Path]) -> str:
        if kind in (ProblemKind.UNREADABLE, ProblemKind.ORPHAN, ProblemKind.MANIFEST):
            return ""
        if kind is ProblemKind.UNKNOWN:
            drive = self.tallies.get("Google Drive")
            if drive and drive.problems:
                return "audio-pipeline backfill"
            return f"audio-pipeline extract {' '.join(map(shown, map(str, folders))) or 'FILE…'}"
        keys = [one.recording.key for one in self.problems if one.kind is kind and one.recording]
        more = " …" if len(keys) > 1 else ""
        return f"audio-pipeline retry {keys[0]}{more}"


def last_nightly_run(documents: Documents) -> datetime | None:
    """Return when the last nightly run began, or ``None``."""
    runs = documents.find("nightly_runs", order_by="started_at", descending=True, limit=1)
    return next((document_time(run.document["started_at"]) for run in runs), None)
