"""``audio-pipeline audit``: seen = done + skipped + failed + in flight, or say what is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from cli import exits
from cli.app import App, load
from cli.inspection.reconcile import Problem, Tally, missing_audio, stale, tally
from cli.options import as_json
from cli.ui import json_output
from cli.ui.console import screen
from cli.ui.text import shown
from shared.core.errors import ConflictError, PermanentError
from shared.core.message import Source, SourceFile
from shared.core.naming import decode_path
from shared.core.records import Recording, Status


@click.command()
@click.argument(
    "folders", nargs=-1, metavar="[DIR…]",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)  # fmt: skip
@as_json
@click.pass_obj
def audit(verbose: bool, folders: tuple[Path, ...], json: bool) -> int:
    """Reconcile the sources as they are now with the tracker and the storage.

    Sources are the recordings below each DIR, else the local files that the tracker
    knows; and Google Drive, where it is configured. With --json, the documents of the
    recordings that do not add up.
    """
    app = load(verbose=verbose)
    app.services.documents.check()
    known = {one.key: one for one in app.tracker.all()}
    tallies = dict(_tallies(app, folders, known))
    problems = [problem for one in tallies.values() for problem in one.problems]
    problems += stale(known.values(), app.tracker.clock())
    problems += missing_audio(known.values(), app.services.storage)
    _record(app, sum(one.seen for one in tallies.values()), len(problems))
    if json:
        json_output.write(problem.recording for problem in problems if problem.recording)
    _print(tallies, problems, quiet=json)
    return exits.FAILED if problems else exits.OK


def _tallies(
    app: App, folders: tuple[Path, ...], known: dict[str, Recording]
) -> Iterator[tuple[str, Tally]]:
    for folder in folders:
        listed = app.services.local_folder(folder.absolute()).list()
        yield shown(str(folder)), tally(listed, known)
    if not folders:
        yield "local files", tally(_remembered(app, known), known)
    if _has_drive(app):
        yield "Google Drive", tally(_in_drive(app), known)


def _remembered(app: App, known: dict[str, Recording]) -> Iterator[SourceFile]:
    """Yield the local files that the tracker knows, as they are now."""
    paths = {one.source_id for one in known.values() if one.source == Source.LOCAL}
    for path in sorted(paths):
        try:
            yield app.services.local_sources.describe(Path(os.fsdecode(decode_path(path))))
        except PermanentError:
            continue  # it is gone: there is nothing left to see


def _has_drive(app: App) -> bool:
    one = app.settings
    return bool(
        one.drive_subjects
        or one.drive_ids
        or one.drive_service_account
        or one.drive_folder_ids
        or one.drive_api_endpoint
    )


def _in_drive(app: App) -> Iterator[SourceFile]:
    """Yield what is watched in Drive; of a file that two accounts see, one."""
    from shared.core.drive_folders import Listing  # noqa: PLC0415

    one, seen = app.settings, set[str]()
    accounts = one.drive_subjects or ("",)
    views = [(account, "") for account in accounts]
    views += [(accounts[0], drive_id) for drive_id in one.drive_ids]
    for account, drive_id in views:
        api = app.services.drive_clients(account)
        listing = Listing(api, one.drive_folder_ids, drive_id=drive_id, since=one.backfill_since)
        for item in listing:
            if item.id not in seen:
                seen.add(item.id)
                yield item.to_source_file(account)


def _record(app: App, seen: int, problems: int) -> None:
    """Store the result for the dashboard; another audit at the same time may overwrite it."""
    documents = app.tracker.documents
    result = {"finished_at": app.tracker.clock(), "seen": seen, "problems": problems}
    read = documents.get("audits", "last")
    with suppress(ConflictError):
        if read is None:
            documents.create("audits", "last", result)
        else:
            documents.replace("audits", read, result)


def _print(tallies: dict[str, Tally], problems: list[Problem], *, quiet: bool) -> None:
    for name, one in tallies.items():
        counts = (
            f"{one.by_status[Status.DONE]} done + {one.by_status[Status.SKIPPED]} skipped"
            f" + {one.by_status[Status.FAILED]} failed + {one.in_flight} in flight"
        )
        equals = "≠" if one.problems else "="
        if not quiet:
            screen.line((f"{name}: ", "bold"), f"{one.seen} seen {equals} {counts}")
    for problem in problems:
        screen.line((f"{screen.marks.failed} ", "bold red"), (shown(problem.name), "bold"),
                    error=True)  # fmt: skip
        screen.line("  ", shown(problem.what), error=True)
    if not problems and not quiet:
        screen.line((f"{screen.marks.done} ", "bold green"), "everything adds up")
