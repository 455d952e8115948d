"""``audio-pipeline status``: shows what is done, running, queued and failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import click
from rich.table import Table
from rich.text import Text

from cli import exits
from cli.app import App, load
from cli.options import Command, Invocation, as_json
from cli.ui import json_output
from cli.ui.console import screen, styled
from cli.ui.text import ago, duration, place, shown, size
from shared.core.message import Source
from shared.core.records import Recording, Status
from shared.runtime import processes

#: Below this width a table would break every word.
_NARROW = 100

_STYLES = {
    Status.QUEUED: "yellow",
    Status.PROCESSING: "cyan",
    Status.DONE: "green",
    Status.FAILED: "red",
    Status.SKIPPED: "dim",
}


@click.command(
    cls=Command,
    examples="audio-pipeline status\n"
    "audio-pipeline status --failed\n"
    "audio-pipeline status --status done --limit 5 --json",
)
@click.option(
    "--failed",
    is_flag=True,
    help="Only failed recordings, with the reason and the command to retry.",
)
@click.option(
    "--status", "only", type=click.Choice([s.value for s in Status], case_sensitive=False),
    help="Only recordings of this status.",
)  # fmt: skip
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True,
    help="At most this many recordings.",
)  # fmt: skip
@as_json
@click.pass_obj
def status(invocation: Invocation, failed: bool, only: str | None, limit: int, json: bool) -> int:
    """Show how many recordings have each status, and those that changed last."""
    app = load(invocation, read_only=True)
    wanted = Status.FAILED if failed else Status(only) if only else None
    if wanted is None:
        recordings = list(app.tracker.recent(limit))
    else:
        recordings = list(app.tracker.with_status(wanted, limit))
    if json:
        json_output.write(recordings)
        return exits.OK
    if app.quiet:
        return exits.OK
    counts = app.tracker.counts()
    parts: list[tuple[str, str] | str] = []
    for state in Status:
        style = f"bold {_STYLES[state]}" if counts[state] else "dim"
        parts += [(f"{counts[state]:,} {state.value.lower()}", style), "   "]
    screen.line(*parts[:-1])
    url = app.settings.tracker_url
    name = url.path if url.kind == "sqlite" else f"firestore://{url.project}/{url.database}"
    screen.line((f"tracker: {shown(name)}", "dim"))
    now = app.tracker.clock()
    if wanted is Status.FAILED:
        _print_failed(app, recordings, counts[Status.FAILED], now)
    elif not recordings:
        screen.line(("nothing yet: audio-pipeline extract FILE", "dim"))
    elif screen.out.width < _NARROW:
        for one in recordings:
            status_text = (f"{one.status.value.lower()} ", _STYLES[one.status])
            changed = (f"  {ago(one.updated_at, now)}", "dim")
            screen.line(status_text, (shown(one.name), "bold"), changed)
            screen.out.print(Text("  ") + _outcome(one, now), soft_wrap=True)
    else:
        _print_table(recordings, now)
    return exits.OK


def _print_table(recordings: Iterable[Recording], now: datetime) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=screen.out.is_terminal)
    table.add_column("", no_wrap=True)
    table.add_column("recording", ratio=2, overflow="ellipsis", no_wrap=True, min_width=12)
    table.add_column("length", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("changed", no_wrap=True)
    table.add_column("audio, or why there is none", ratio=3, overflow="fold")
    for one in recordings:
        table.add_row(
            styled((one.status.value.lower(), _STYLES[one.status])),
            styled(shown(one.name)),
            styled(duration(one.audio.duration_s) if one.audio else ""),
            styled(size(one.audio.bytes) if one.audio else ""),
            styled((ago(one.updated_at, now), "dim")),
            _outcome(one, now),
        )
    screen.out.print(table)


def _outcome(one: Recording, now: datetime) -> Text:
    if one.status is Status.PROCESSING:
        alive = processes.is_alive(one.lease_owner)
        if alive is False:
            return styled(("its worker crashed; the next run starts again", "yellow"))
        if one.lease_expires_at is None or one.lease_expires_at <= now:
            hangs = " but its process still runs" if alive else ""
            return styled((f"its worker stopped responding{hangs}", "yellow"))
        here = ", by a process of this machine" if alive else ""
        return styled((f"{one.progress:.0%} done{here}", "cyan"))
    if one.status is Status.DONE and one.gcs_url:
        silent = ("  silent", "yellow") if one.silent else ""
        return styled(shown(place(one.gcs_url)), silent)
    if one.error:
        return styled(shown(one.error.message), (f" ({shown(one.error.code)})", "dim"))
    return styled(("waiting for a worker", "dim") if one.status is Status.QUEUED else "")


def _print_failed(app: App, recordings: list[Recording], total: int, now: datetime) -> None:
    if not recordings:
        screen.line(("nothing has failed", "green"))
        return
    for one in recordings:
        screen.line((f"{screen.marks.failed} ", "bold red"), (shown(one.name), "bold"),
                    (f"  {ago(one.finished_at, now)}", "dim"))  # fmt: skip
        if one.error:
            screen.line("  ", shown(one.error.message), (f" ({shown(one.error.code)})", "dim"))
        screen.line("  ", (retry_command(app, one), "dim"))
    if total > len(recordings):
        more = f"{total - len(recordings):,} more: --limit {total}"
        screen.line((more, "dim"))
    if len(recordings) > 1:
        kinds = Counter(retry_command(app, one, every=True) for one in recordings)
        for command in kinds:
            screen.line("all of them: ", (command, "bold"))


def retry_command(app: App, recording: Recording, *, every: bool = False) -> str:
    """Return the command that tries a failed recording again, or ``every`` one like it."""
    if recording.source == Source.SFTP and app.settings.sftp_queue_url.kind != "pubsub":
        # The tracker does not record the server. Without an address, the settings name it.
        address = "" if app.settings.sftp_host else "sftp://USER@HOST/DIR "
        return f"audio-pipeline compress {address}--retry-failed"
    return f"audio-pipeline retry {'--failed' if every else recording.key}"
