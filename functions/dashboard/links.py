"""Links to audio that work for a while.

In a bucket on Google Cloud the storage signs them. Files of this machine are served by the
dashboard itself, under links that it signs with a key of its own, kept beside the records.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import url_for

from functions.dashboard.problems import ProblemError
from shared.core.errors import ConflictError
from shared.core.ports import Documents, Storage
from shared.core.records import Audio, Recording
from shared.tracking.tracker import Tracker

LIFETIMES = {"day": timedelta(days=1), "week": timedelta(days=7)}

_COLLECTION, _ID = "dashboard", "links"


@dataclass(frozen=True)
class Links:
    """Makes and checks links to the audio of recordings."""

    tracker: Tracker
    storage: Storage

    def make(self, recording: Recording, audio: Audio, lifetime: timedelta) -> tuple[str, datetime]:
        """Return an absolute link and when it ends."""
        expires = (self.tracker.clock() + lifetime).replace(microsecond=0)
        if address := self.remote(audio, lifetime):
            return address, expires
        until = int(expires.timestamp())
        signature = self._sign(recording.key, until)
        link = url_for(
            "media.audio", key=recording.key, expires=until, signature=signature, _external=True
        )
        return link, expires

    def remote(self, audio: Audio, lifetime: timedelta) -> str | None:
        """Return the link that the storage signs; ``None`` where we serve the file ourselves."""
        address = self.storage.signed_url(audio.object, lifetime)
        return address if address.startswith(("https://", "http://")) else None

    def check(self, key: str, expires: str, signature: str) -> None:
        """Raise ``ProblemError`` (403) unless we signed the link and its time is not over."""
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
            raise ProblemError(403, "this link is damaged: copy it again")
        expected = self._sign(key, int(expires))
        if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
            raise ProblemError(403, "this link is damaged: copy it again")
        if int(expires) < self.tracker.clock().timestamp():
            raise ProblemError(403, "this link has expired: open the recording and copy a new one")

    def _sign(self, key: str, until: int) -> str:
        message = f"{key}\n{until}".encode()
        return hmac.new(_secret(self.tracker.documents), message, hashlib.sha256).hexdigest()


def _secret(documents: Documents) -> bytes:
    read = documents.get(_COLLECTION, _ID)
    if read is None:
        try:
            read = documents.create(_COLLECTION, _ID, {"secret": secrets.token_hex(32)})
        except ConflictError:  # another process made it
            return _secret(documents)
    return bytes.fromhex(read.document["secret"])
