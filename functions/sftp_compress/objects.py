"""Names the compressed object of a source, and decides which object it may replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from shared.core import naming
from shared.core.ports import StoredObject
from shared.service.object_writer import ObjectWriter


@dataclass(frozen=True)
class CompressedObjectWriter(ObjectWriter):
    """Objects named by the source's path; a changed source replaces its earlier object."""

    output_dir: str

    has_picture: ClassVar[bool] = False

    def look(self, extension: str) -> None:
        for name in self._names(extension):
            there = self._seen[name] = self.storage.stat(name)
            if there is None or self._is_ours(there):
                return

    def _names(self, extension: str) -> list[str]:
        path = self.claim.recording.source_id
        plain, suffixed = (
            naming.compressed_object(self.env, self.output_dir, path, extension, told_apart_by)
            for told_apart_by in (None, path)
        )
        kept = self.claim.recording.gcs_path
        names = [kept] if kept and kept.endswith(f".{extension}") else []
        return list(dict.fromkeys([*names, plain, suffixed]))

    def _is_ours(self, there: StoredObject) -> bool:
        one = self.claim.recording
        owner = there.metadata.get("source"), there.metadata.get("source_id")
        return owner == (one.source, one.source_id)

    def replaced_by(self, stored: StoredObject) -> list[str]:
        """Return the other objects of this source: of another format, or another name."""
        stems = {name.rpartition(".")[0] for name in self._names("")}
        return sorted(
            there.name
            for stem in stems
            for there in self.storage.list(f"{stem}.")
            if there.name != stored.name and self._is_ours(there)
        )

    def clean_up(self) -> None:
        """Keep everything: the manifest lists the object, and the next revision replaces both."""
