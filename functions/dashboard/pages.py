"""The pages, rendered on the server; they work without JavaScript."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, render_template, request, stream_with_context

from functions.dashboard import export, history, listing, parameters
from functions.dashboard.context import context, is_unavailable
from functions.dashboard.listing import Filters
from functions.dashboard.stats import ACTIVE
from shared.core.counts import counted
from shared.core.ports import Op
from shared.core.records import COLLECTION, Recording, Status
from shared.core.titles import read_title

log = logging.getLogger(__name__)

blueprint = Blueprint("pages", __name__)

#: A recording that waits for longer than this is reported on the overview.
WAITING_TOO_LONG = timedelta(minutes=30)

_HEALTH_STALE_S = 60.0
_RECENT = 8


@blueprint.app_context_processor
def common() -> dict[str, Any]:
    """Return what the frame of every page shows."""
    return {
        "health": context().monitor.health(stale_s=_HEALTH_STALE_S),
        "env": context().backend.env,
        "now": context().tracker.clock(),
        "notice": _notice(),
    }


def _notice() -> str:
    """Return what the form before this page has done, as ``/api/retry`` reports it."""

    def number(name: str) -> int:
        text = request.args.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0

    if "retried" not in request.args:
        return ""
    done, refused = number("retried"), number("refused")
    text = f"{counted(done, 'recording')} queued again."
    if refused:
        text += f" {refused} could not be: in progress, or unknown."
    if number("more"):
        text += " There are more: retry again for the next ones."
    return text


@blueprint.get("/")
def overview() -> str:
    """Show the health, the recordings in progress, and the latest ones."""
    stats, monitor = context().stats, context().monitor

    def read() -> dict[str, Any]:
        found = context().tracker.recent(_RECENT + ACTIVE)
        return {
            "counts": stats.counts(),
            "active": stats.active(),
            "failures": stats.failures(),
            "oldest": stats.oldest_waiting(),
            "days": stats.days(),
            "recent": [one for one in found if one.status is not Status.PROCESSING][:_RECENT],
            "night": next(iter(monitor.nights()), None),
            "channels": monitor.channels(),
            "audit": monitor.last_audit(),
        }

    return render_template(
        "overview.html", waiting_too_long=WAITING_TOO_LONG, known=_if_available(read)
    )


def _if_available(read: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Return what ``read`` finds in the tracker; ``None`` while that is down.

    The pages that show which component is down must not need all of them.
    """
    try:
        return read()
    except Exception as error:
        if not is_unavailable(error):
            raise
        log.warning("the tracker cannot be read: %s", error)
        return None


@blueprint.get("/recordings")
def recordings() -> str:
    """Show a list of recordings by filters, or the result of a search."""
    filters = parameters.filters(request.args)
    cursor = request.args.get("cursor", "")
    # Someone who pastes a key means that recording.
    exact = (
        context().tracker.get(filters.q) if parameters.is_key(filters.q) and not cursor else None
    )
    found = listing.page(context().documents, filters, cursor)
    rows = [exact, *found.recordings] if exact and not cursor else list(found.recordings)
    return render_template(
        "recordings.html",
        filters=filters,
        rows=rows,
        cursor=cursor,
        next_cursor=found.cursor,
        counts=context().stats.counts(),
        failures=context().stats.failures(),
    )


@blueprint.get("/recordings.csv")
def recordings_csv() -> Response:
    """Send the list of these filters as a file for spreadsheets."""
    filters = parameters.filters(request.args)
    lines = stream_with_context(export.rows(context().documents, filters))
    return Response(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="recordings.csv"'},
    )


@blueprint.get("/recordings/<key>")
def recording(key: str) -> str:
    """Show one recording: player, links, history, error."""
    found = context().recording(key)
    log = history.processing_log(context().storage, context().backend.env, found)
    return render_template(
        "recording.html",
        one=found,
        steps=history.steps(found),
        stages=history.stages(log),
        settings=log.get("settings") if isinstance(log.get("settings"), dict) else {},
        document=found.to_document(),
    )


@blueprint.get("/nightly")
def nightly() -> str:
    """Show the nightly runs, and the files of the last one."""
    nights = context().monitor.nights()
    documents, counts = context().documents, {}
    for status in Status if nights else ():
        counts[status.value] = documents.count(
            COLLECTION,
            ("source", Op.EQ, "sftp"),
            ("status", Op.EQ, status.value),
            ("updated_at", Op.GE, nights[0]["started_at"]),
        )
    files = listing.page(documents, Filters(source="sftp"), limit=50)
    return render_template(
        "nightly.html",
        nights=nights,
        counts=counts,
        files=files.recordings,
        has_sftp=context().backend.has_sftp,
    )


@blueprint.get("/health")
def health() -> str:
    """Show every component, Drive's channels, the queue, and the last audit."""
    stats, monitor = context().stats, context().monitor

    def read() -> dict[str, Any]:
        return {
            "channels": monitor.channels(),
            "counts": stats.counts(),
            "oldest": stats.oldest_waiting(),
            "audit": monitor.last_audit(),
        }

    return render_template("health.html", state=monitor.health(), known=_if_available(read))


def title_of(recording: Recording) -> str:
    """Return what people call a recording: its name without the date; never empty."""
    return read_title(recording.name).text or recording.name.strip() or recording.key
