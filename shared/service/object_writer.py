"""Putting a recording's objects into the bucket, each under a name that is its own.

The name is written to the document before the upload, which is create-only: whoever comes
after a crash finds the same name, and two recordings that want one name get two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.core import naming
from shared.core.errors import ObjectExistsError, TransientError
from shared.core.ports import Storage, StoredObject
from shared.core.records import Audio, Chunk, Recording
from shared.media.chunks import Piece
from shared.media.encode import Encoded
from shared.media.presets import Recipe
from shared.media.verify import Verified
from shared.tracking.claim import Claim
from shared.tracking.lease import WorkControl

#: Longer titles are cut in an object's metadata; the document has the whole name.
MAX_TITLE_BYTES = 1024


@dataclass(frozen=True)
class ObjectWriter:
    """The objects of one claimed recording. Every write renews the lease first."""

    storage: Storage
    claim: Claim
    control: WorkControl
    env: str
    _written: set[str] = field(init=False, repr=False, default_factory=set)

    @property
    def _recording(self) -> Recording:
        return self.claim.recording

    @property
    def _metadata(self) -> dict[str, str]:
        one = self._recording
        return {
            "key": one.key,
            "source": one.source,
            "source_id": one.source_id,
            "revision": one.revision,
        }

    def _audio_metadata(self, duration_s: float) -> dict[str, str]:
        """Return what people who browse the bucket want to know about an audio object."""
        one = self._recording
        # Cloud Storage allows 8 KiB of custom metadata per object ("Quotas and limits").
        title = one.name.encode()[:MAX_TITLE_BYTES].decode(errors="ignore")
        about = {
            "title": title,
            "recorded_at": one.recorded_at.isoformat().replace("+00:00", "Z"),
            "duration_s": f"{duration_s:.3f}",
        }
        return about | ({"source_url": one.source_url} if one.source_url else {})

    def publish(
        self,
        path: Path,
        recipe: Recipe,
        picture: Path,
        pieces: Sequence[Piece],
        duration_s: float,
    ) -> tuple[StoredObject, tuple[Chunk, ...]]:
        """Store the audio and all that lies beside it, and remove what runs before left there.

        Returns the audio, and what the document says of the chunks. The picture comes
        before the chunks: its name tells other recordings that the place is taken.
        """
        stored = self.audio(path, recipe, duration_s)
        self.waveform(stored.name, picture)
        chunks = self.chunks(stored.name, pieces, recipe)
        self._tidy(recipe.extension)
        return stored, chunks

    def audio(self, path: Path, recipe: Recipe, duration_s: float) -> StoredObject:
        """Store the audio under the recording's name; told apart where that is taken.

        Raises ``LeaseLostError``, or what the storage met.
        """
        earlier = self._recording.gcs_path
        for name in self._names(recipe.extension):
            if self._is_taken(name):
                continue
            self.claim.update(gcs_path=name)
            about = self._audio_metadata(duration_s)
            stored = self._create(name, path, recipe.content_type, about)
            if stored:
                self._remove_earlier(earlier, name)
                return stored
        raise ObjectExistsError(name)

    def _names(self, extension: str) -> list[str]:
        one = self._recording
        plain = naming.audio_object(self.env, one.name, one.created_at, extension)
        suffixed = naming.audio_object(self.env, one.name, one.created_at, extension, one.key)
        # The first claim's object stays, even if the rules of naming change after it.
        kept = [one.gcs_path] if one.gcs_path and one.gcs_path.endswith(f".{extension}") else []
        return list(dict.fromkeys([*kept, plain, suffixed]))

    def _is_ours(self, there: StoredObject) -> bool:
        """Tell whether an object is one that this recording's may replace."""
        return there.metadata.get("key") == self._recording.key

    def _is_taken(self, name: str) -> bool:
        """Tell whether another recording's objects lie where those beside this one would.

        With other containers two recordings can have one name but for its ending.
        """
        beside = self.storage.stat(naming.waveform_object(name))
        return beside is not None and not self._is_ours(beside)

    def _create(
        self, name: str, path: Path, content_type: str, about: Mapping[str, str] | None = None
    ) -> StoredObject | None:
        """Create the object, or replace what an earlier run of ours left; ``None`` if taken."""
        try:
            return self._put(name, path, content_type, if_generation=0, about=about)
        except ObjectExistsError:
            there = self.storage.stat(name)
        if there is None or not self._is_ours(there):
            return None
        return self._put(name, path, content_type, if_generation=there.generation, about=about)

    def _remove_earlier(self, earlier: str | None, name: str) -> None:
        """Remove the object of another preset that this one replaces."""
        if not earlier or earlier == name:
            return
        there = self.storage.stat(earlier)
        if there and self._is_ours(there):
            self._delete(there)

    def _tidy(self, extension: str) -> None:
        """Remove what is ours under any of our names and was not written now.

        Other presets, and runs that a crash cut off, leave it: the document names one only.
        """
        names = self._names(extension)
        if self._recording.audio:
            names.append(self._recording.audio.object)
        for stem in sorted({name.rpartition(".")[0] for name in names}):
            picture = self.storage.stat(naming.waveform_object(f"{stem}."))
            beside = [*self.storage.list(f"{stem}."), *([picture] if picture else [])]
            for there in beside:
                if self._is_ours(there) and there.name not in self._written:
                    self._delete(there)

    def _delete(self, there: StoredObject) -> None:
        self.control.renew()
        self.storage.delete(there.name, if_generation=there.generation)

    def chunks(self, audio: str, pieces: Sequence[Piece], recipe: Recipe) -> tuple[Chunk, ...]:
        """Store the chunks and their index; returns what the document says of them."""
        made = []
        for index, piece in enumerate(pieces):
            name = naming.chunk_object(audio, index, recipe.extension)
            stored = self._put(name, piece.path, recipe.content_type)
            made.append(
                Chunk(object=name, start_s=piece.start_s, end_s=piece.end_s, bytes=stored.bytes)
            )
        if pieces:
            rows = [
                {**asdict(chunk), "sha256": _sha256(piece.path)}
                for chunk, piece in zip(made, pieces, strict=True)
            ]
            self._put_json(naming.chunks_index_object(audio), {"audio": audio, "chunks": rows})
        return tuple(made)

    def waveform(self, audio: str, picture: Path) -> None:
        """Store the picture beside the audio.

        Raises ``TransientError`` when another recording, whose audio has another ending,
        took the same place at the same time: the next try finds it taken.
        """
        if not self._create(naming.waveform_object(audio), picture, "image/png"):
            raise TransientError(f"another recording has just taken the place of {audio}")

    def done(
        self, encoded: Encoded, verified: Verified, stored: StoredObject, now: datetime
    ) -> dict[str, Any]:
        """Return the fields that the DONE document gets for its audio."""
        return {
            "audio": Audio(
                object=stored.name,
                bytes=stored.bytes,
                crc32c=stored.crc32c,
                duration_s=round(encoded.duration_s, 3),
                start_offset_s=encoded.start_offset_s,
                codec=encoded.recipe.codec_name,
                bitrate_kbps=verified.bitrate_kbps,
                preset=encoded.recipe.preset,
            ),
            "gcs_path": stored.name,
            "gcs_url": self.storage.url(stored.name),
            "upload_timestamp": stored.updated or now,
            "error": None,
        }

    def log(
        self, now: datetime, fields: dict[str, Any], recipe: Recipe, seconds: dict[str, float]
    ) -> None:
        """Store what was done, with which settings, and how long each stage took."""
        one = self._recording.evolve(**fields)
        entry = {
            **{name: value for name, value in one.to_document().items() if _is_result(name)},
            "settings": asdict(recipe),
            "stages_s": seconds,
            "finished_at": now,
        }
        self._put_json(naming.log_object(self.env, one.key, now), entry)

    def _put_json(self, name: str, value: object) -> None:
        text = json.dumps(value, ensure_ascii=False, indent=2, default=_plain)
        self._put(name, text.encode() + b"\n", "application/json")

    def _put(
        self,
        name: str,
        content: Path | bytes,
        content_type: str,
        if_generation: int | None = None,
        about: Mapping[str, str] | None = None,
    ) -> StoredObject:
        self.control.renew()
        self._written.add(name)
        return self.storage.put(
            name,
            content,
            content_type=content_type,
            metadata={**self._metadata, **(about or {})},
            if_generation=if_generation,
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_result(name: str) -> bool:
    """Tell whether a field belongs into a log: not what only the protocol needs."""
    return name not in ("status", "lease_owner", "lease_expires_at", "progress", "finished_at")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(type(value).__name__)
