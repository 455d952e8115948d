"""Audio and waveforms, by the key of a recording: only what its document names can be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from flask import Blueprint, Response, current_app, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from functions.dashboard import ranges
from functions.dashboard.context import context
from functions.dashboard.problems import ProblemError
from shared.core import naming
from shared.core.records import Audio, Recording

blueprint = Blueprint("media", __name__)

#: Enough to listen to a long recording; the player asks for another link when it is over.
PLAY_FOR = timedelta(hours=6)

_TYPES = {
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "mka": "audio/x-matroska",
}


def audio_of(key: str) -> tuple[Recording, Audio]:
    """Return a recording and its audio; raises ``ProblemError`` (404) without one."""
    recording = context().recording(key)
    if recording.audio is None:
        raise ProblemError(404, "this recording has no audio yet")
    return recording, recording.audio


@blueprint.get("/audio/<key>")
def audio(key: str) -> BaseResponse:
    """Send the audio, by ranges, or redirect to the bucket."""
    if "signature" in request.args or "expires" in request.args:
        signature, expires = request.args.get("signature", ""), request.args.get("expires", "")
        context().links.check(key, expires, signature)
    recording, found = audio_of(key)
    if address := context().links.remote(found, PLAY_FOR):
        answer = redirect(address, 302)
        answer.headers["Cache-Control"] = "no-store"
        return answer
    return _send(recording, found)


def _send(recording: Recording, found: Audio) -> Response:
    try:
        file = context().storage.open(found.object)
    except FileNotFoundError:
        raise ProblemError(404, "the audio is no longer in the storage") from None
    size = file.seek(0, 2)
    etag = f'"{found.crc32c}-{size}"'
    modified = recording.upload_timestamp or datetime.now(UTC)
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Last-Modified": ranges.http_date(modified),
        "Cache-Control": "private, no-cache",
        "Content-Type": _TYPES.get(found.object.rpartition(".")[2], "application/octet-stream"),
    }
    if "download" in request.args:
        headers["Content-Disposition"] = _attachment(found.object)
    if request.if_none_match.contains(etag.strip('"')):
        file.close()
        return Response(status=304, headers=headers)
    try:
        wanted = request.headers.get("Range")
        if not ranges.is_current(request.headers.get("If-Range"), etag, modified):
            wanted = None
        span = ranges.requested(wanted, size)
    except ranges.UnsatisfiableError:
        file.close()
        raise ProblemError(
            416, "the audio ends before this range", headers={"Content-Range": f"bytes */{size}"}
        ) from None
    status = 200
    if span is not None:
        status = 206
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    span = span or ranges.Span(0, size)
    headers["Content-Length"] = str(span.end - span.start)
    if request.method == "HEAD":
        file.close()
        return Response(status=status, headers=headers)
    answer = Response(ranges.blocks(file, span), status=status, headers=headers)
    answer.call_on_close(file.close)
    return answer


def _attachment(name: str) -> str:
    # The last part of an object's name is a slug: letters and digits of any script.
    last = name.rpartition("/")[2]
    plain = last.encode("ascii", "ignore").decode().replace('"', "") or "audio"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(last)}"


@blueprint.get("/waveforms/<key>")
def waveform(key: str) -> Response:
    """Send the picture of the loudness."""
    _, found = audio_of(key)
    try:
        with context().storage.open(naming.waveform_object(found.object)) as file:
            picture = file.read()
    except FileNotFoundError:
        raise ProblemError(404, "this recording has no waveform") from None
    answer = current_app.response_class(picture, content_type="image/png")
    answer.headers["Cache-Control"] = "private, max-age=3600"
    answer.set_etag(found.crc32c)
    answer.make_conditional(request)
    return answer
