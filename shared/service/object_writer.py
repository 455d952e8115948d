"""Writes a recording's objects to the bucket, each under a name of its own.

The name is written to the document before the upload, which is create-only. So a retry after
a crash uses the same name, and two recordings that want one name get two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from shared.core import naming
from shared.core.errors import ConflictError, ObjectExistsError, TransientError
from shared.core.ports import Storage, StoredObject
from shared.core.records import Audio, Chunk
from shared.core.times import format_time, time_as_json
from shared.media.chunks import Piece
from shared.media.encode import Encoded
from shared.media.presets import Recipe
from shared.media.verify import Verified
from shared.tracking.claim import Claim
from shared.tracking.lease import WorkControl

#: Longer titles are cut in an object's metadata; the document has the whole name.
MAX_TITLE_BYTES = 1024

#: Fields of the document that a processing log leaves out.
_PROTOCOL = (
    *("status", "lease_owner", "lease_expires_at", "progress", "finished_at"),
    *("announced_at", "announce_after"),
)


@dataclass(frozen=True)
class ObjectWriter:
    """The objects of one claimed recording. Every write renews the lease first."""

    storage: Storage
    claim: Claim
    control: WorkControl
    env: str
    _written: set[str] = field(init=False, repr=False, default_factory=set)
    _seen: dict[str, StoredObject | None] = field(init=False, repr=False, default_factory=dict)

    #: Whether a picture and chunks are stored beside the audio.
    has_picture: ClassVar[bool] = True

    def look(self, extension: str) -> None:
        """Note which object is there, before the last check that the source is unchanged.

        Only that object is replaced then. A worker that is frozen between the check and the
        upload finds that another revision's worker wrote the name meanwhile. Recordings whose
        revisions have objects of their own need no look.
        """

    def prepare(self, path: Path, extension: str) -> AbstractContextManager[None]:
        """Start to write the audio while it is verified; it stays invisible until ``audio``."""
        return self.storage.prepare(self._names(extension)[0], path)

    def publish(
        self,
        path: Path,
        recipe: Recipe,
        picture: Path,
        pieces: Sequence[Piece],
        duration_s: float,
    ) -> tuple[StoredObject, tuple[Chunk, ...]]:
        """Store the audio and the objects beside it, and remove what earlier runs left there.

        Returns the audio, and the chunks as the document lists them. The picture comes
        before the chunks: it reserves the name against other recordings.
        """
        is_retry = bool(self.claim.recording.gcs_path)
        stored = self.audio(path, recipe, duration_s)
        beside = naming.waveform_object(stored.name)
        if not self._create(beside, picture, "image/png", is_retry=is_retry):
            # Its audio has another extension. The next try finds the name taken.
            raise TransientError(
                f"another recording took the name of {stored.name} at the same time"
            )
        chunks, rows = [], []
        for index, piece in enumerate(pieces):
            name = naming.chunk_object(stored.name, index, recipe.extension)
            size = self._put(name, piece.path, recipe.content_type).bytes
            chunk = Chunk(object=name, start_s=piece.start_s, end_s=piece.end_s, bytes=size)
            chunks.append(chunk)
            rows.append({**asdict(chunk), "sha256": file_sha256(piece.path)})
        if rows:
            index_of_chunks = {"audio": stored.name, "chunks": rows}
            self._put_json(naming.chunks_index_object(stored.name), index_of_chunks)
        # Other presets and crashed runs leave objects; the document names only one.
        audio = self.claim.recording.audio
        names = [*self._names(recipe.extension), *([audio.object] if audio else [])]
        for stem in sorted({name.rpartition(".")[0] for name in names}):
            for there in self._beside(stem):
                if self._is_ours(there) and there.name not in self._written:
                    self._delete(there)
        return stored, tuple(chunks)

    def audio(self, path: Path, recipe: Recipe, duration_s: float) -> StoredObject:
        """Store the audio under the recording's name, with a suffix where that is taken.

        Raises ``LeaseLostError``, or what the storage met.
        """
        one = self.claim.recording
        recorded = one.recorded_at
        about = (
            {  # for people who browse the bucket
                # Cloud Storage allows 8 KiB of custom metadata per object ("Quotas and limits").
                "title": one.name.encode()[:MAX_TITLE_BYTES].decode(errors="ignore"),
                "recorded_at": format_time(recorded) if recorded.tzinfo else recorded.isoformat(),
                "duration_s": f"{duration_s:.3f}",
            }
            | ({"source_url": one.source_url} if one.source_url else {})
        )
        for name in self._names(recipe.extension):
            # The names of two recordings may differ in nothing but the extension, and the
            # objects beside the audio have none.
            picture = self.storage.stat(naming.waveform_object(name)) if self.has_picture else None
            if picture and not self._is_ours(picture):
                continue
            self.claim.update(gcs_path=name)
            is_retry = bool(one.gcs_path)
            stored = self._create(name, path, recipe.content_type, about, is_retry=is_retry)
            if stored:
                if one.gcs_path and one.gcs_path != name:  # the audio of another preset
                    self.remove(one.gcs_path)
                return stored
        raise ObjectExistsError(name)

    def _names(self, extension: str) -> list[str]:
        one = self.claim.recording
        plain = naming.audio_object(self.env, one.name, one.created_at, extension)
        suffixed = naming.audio_object(self.env, one.name, one.created_at, extension, one.key)
        # The first claim's object stays, even if the rules for names change later.
        kept = [one.gcs_path] if one.gcs_path and one.gcs_path.endswith(f".{extension}") else []
        return list(dict.fromkeys([*kept, plain, suffixed]))

    def _is_ours(self, there: StoredObject) -> bool:
        """Return whether this recording may replace an object."""
        return there.metadata.get("key") == self.claim.recording.key

    def _create(
        self,
        name: str,
        path: Path,
        content_type: str,
        about: Mapping[str, str] | None = None,
        *,
        is_retry: bool,
    ) -> StoredObject | None:
        """Create the object, or replace what an earlier run left; ``None`` if it is taken.

        With ``is_retry`` an earlier run may have left it. It is replaced then even where the
        bytes are equal: a worker that was frozen, and lost its lease since, may be about to
        delete it, and deletes only the generation that it has seen.

        Raises ``TransientError`` when another worker wrote it since the ``look``: two
        revisions of one source share an object, and the next try finds which one is current.
        """
        if name in self._seen:
            there = self._seen[name]
        else:
            there = self.storage.stat(name) if is_retry else None
        if there is None:
            try:
                return self._put(name, path, content_type, if_generation=0, about=about)
            except ObjectExistsError:
                there = self.storage.stat(name)
                if self._seen and there and self._is_ours(there):
                    raise TransientError(f"another worker wrote {name} at the same time") from None
        if there is None or not self._is_ours(there):
            return None
        with _another_writer(name):
            return self._put(name, path, content_type, if_generation=there.generation, about=about)

    def remove(self, name: str) -> None:
        """Remove an object, unless it is not this recording's."""
        there = self.storage.stat(name)
        if there and self._is_ours(there):
            self._delete(there)

    def clean_up(self) -> None:
        """Remove what a crashed run left, for a recording that ends without audio.

        Nothing else would: the document of such a recording names no object.
        """
        one = self.claim.recording
        if one.gcs_path and not one.audio:
            for there in self._beside(one.gcs_path.rpartition(".")[0]):
                if there.metadata.get("key") == one.key:
                    self._delete(there)

    def _beside(self, stem: str) -> list[StoredObject]:
        """Return the objects of one name without its extension: audio, chunks, picture."""
        picture = self.storage.stat(naming.waveform_object(f"{stem}."))
        return [*self.storage.list(f"{stem}."), *([picture] if picture else [])]

    def _delete(self, there: StoredObject) -> None:
        self.control.renew()
        with _another_writer(there.name):
            self.storage.delete(there.name, if_generation=there.generation)

    def done(
        self, encoded: Encoded, verified: Verified, stored: StoredObject, now: datetime
    ) -> dict[str, Any]:
        """Return the fields of the DONE document about its audio."""
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
        one = self.claim.recording.evolve(**fields)
        entry = {
            **{name: value for name, value in one.to_document().items() if name not in _PROTOCOL},
            "settings": asdict(recipe),
            "stages_s": seconds,
            "finished_at": now,
        }
        self._put_json(naming.log_object(self.env, one.key, now), entry)

    def _put_json(self, name: str, value: object) -> None:
        text = json.dumps(value, ensure_ascii=False, indent=2, default=time_as_json)
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
        one = self.claim.recording
        owner = {
            "key": one.key,
            "source": one.source,
            "source_id": one.source_id,
            "revision": one.revision,
        }
        return self.storage.put(
            name,
            content,
            content_type=content_type,
            metadata={**owner, **(about or {})},
            if_generation=if_generation,
        )


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _another_writer(name: str) -> Iterator[None]:
    try:
        yield
    except ConflictError as error:
        raise TransientError(f"another worker replaced {name} at the same time") from error
