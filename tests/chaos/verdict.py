"""What became of a run, judged from the sources, the tracker and the files alone."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from shared.adapters.local.storage import FilesystemStorage
from shared.core.records import Recording, Status
from shared.tracking.tracker import Tracker
from tests.chaos.cast import Revision
from tests.chaos.clips import SECONDS, heard
from tests.services import BIN

_TOLERANCE_S = 0.2


@dataclass
class Verdict:
    """Counts of a run, and its problems: none when the pipeline kept its promise.

    ``lost`` recordings have no audio, ``doubled`` ones two objects, ``partial`` ones an object
    that is not the whole sound.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.partial or self.problems)

    def text(self) -> str:
        """Return the verdict for people."""
        lines = [f"{count:6}  {name}" for name, count in sorted(self.counts.items())]
        for name in ("lost", "doubled", "partial", "problems"):
            found = getattr(self, name)
            lines += [f"{len(found):6}  {name}", *(f"        {each}" for each in found)]
        return "\n".join(lines)


def ending(one: Recording) -> str:
    """Return a recording's status, and its code where it has one."""
    return f"{one.status.value} {one.error.code if one.error else ''}".rstrip()


def judge(
    expected: Sequence[Revision],
    directory: Path,
    tracker: Tracker,
    labels: Mapping[tuple[str, str], str],
) -> Verdict:
    """Compare what there is with what was expected."""
    found = Verdict()
    documents: dict[tuple[str, str], list[Recording]] = defaultdict(list)
    for one in tracker.all():
        documents[one.source_id, one.revision].append(one)
    found.counts["recordings"] = sum(len(each) for each in documents.values())
    by_status = Counter(ending(one) for each in documents.values() for one in each)
    found.counts |= {f"recordings {name}": count for name, count in by_status.items()}
    wanted = {(each.source_id, each.revision): each for each in expected}
    for place in documents.keys() - wanted.keys():
        found.problems.append(f"a document that nothing explains: {documents[place][0]}")
    done: dict[str, tuple[str, Recording, Revision]] = {}
    for place, each in wanted.items():
        label, known = labels[place], documents.get(place, [])
        if not known and each.required:
            found.lost.append(f"{label} was never seen")
        if len(known) > 1:
            found.doubled.append(f"{label} has {len(known)} documents")
        for one in known:
            if ending(one) not in each.endings:
                lost = found.lost if "DONE" in each.endings else found.problems
                message = one.error.message if one.error else ""
                lost.append(f"{label} is {ending(one)} ({message})")
            elif one.status is Status.DONE:
                done[one.key] = label, one, each
    _judge_objects(found, directory, done)
    return found


def _judge_objects(
    found: Verdict, directory: Path, done: Mapping[str, tuple[str, Recording, Revision]]
) -> None:
    storage = FilesystemStorage(directory / "audio")
    objects: dict[str, list[str]] = defaultdict(list)
    for there in storage.list("dev/"):
        if there.name.endswith("_audio.mp3") or "_compressed." in there.name:
            objects[there.metadata.get("key", "")].append(there.name)
    found.counts["objects"] = sum(len(names) for names in objects.values())
    newest = _newest_of_sftp(done)
    whole: list[tuple[str, Recording, Revision]] = []
    for key, (label, one, each) in done.items():
        names = objects.pop(key, [])
        if each.source == "sftp" and newest[each.source_id] != key:
            if names:
                found.problems.append(f"{label}: the object is of an older revision: {names}")
        elif len(names) > 1:
            found.doubled.append(f"{label} has {len(names)} objects: {names}")
        elif not names:
            found.lost.append(f"{label} is DONE and has no object")
        elif one.audio is None or names != [one.audio.object]:
            found.problems.append(f"{label}: the document names another object than {names}")
        else:
            whole.append((label, one, each))
    for key, names in objects.items():
        found.problems.append(f"objects of no DONE recording: {key or 'none'} {names}")
    _judge_sounds(found, storage, directory, whole)
    _judge_manifest(found, storage, {key: done[key] for key in newest.values()})


def _judge_sounds(
    found: Verdict,
    storage: FilesystemStorage,
    directory: Path,
    done: Sequence[tuple[str, Recording, Revision]],
) -> None:
    paths = [directory / "audio" / str(one.gcs_path) for _, one, _ in done]
    pairs = [each.pair for _, _, each in done]
    sounds = heard(paths, pairs, directory)
    for (label, one, each), (pair, seconds) in zip(done, sounds, strict=True):
        if pair != each.pair or abs(seconds - SECONDS) > _TOLERANCE_S:
            found.partial.append(f"{label}: {pair} for {seconds} s instead of {each.pair}")
        there = storage.stat(str(one.gcs_path))
        if there is None or one.audio is None or there.crc32c != one.audio.crc32c:
            found.partial.append(f"{label}: other bytes than the document names")


def _newest_of_sftp(done: Mapping[str, tuple[str, Recording, Revision]]) -> dict[str, str]:
    """Return the key of each source's newest revision; the names sort by their time."""
    newest: dict[str, str] = {}
    for key, (_, one, each) in done.items():
        if each.source != "sftp":
            continue
        other = newest.get(each.source_id)
        if other is None or done[other][1].revision.split("-")[1] < one.revision.split("-")[1]:
            newest[each.source_id] = key
    return newest


def _judge_manifest(
    found: Verdict,
    storage: FilesystemStorage,
    done: Mapping[str, tuple[str, Recording, Revision]],
) -> None:
    if not done:
        return
    try:
        with storage.open("dev/compressed/manifest.json") as file:
            manifest = json.load(file)
    except (OSError, ValueError) as error:
        found.problems.append(f"the manifest: {error}")
        return
    rows = {row["source"]: row for row in manifest["files"]}
    found.counts["manifest rows"] = len(rows)
    wanted = {one.source_id: one for _, one, _ in done.values()}
    for source in rows.keys() ^ wanted.keys():
        found.problems.append(f"the manifest has a row too many or too few: {source}")
    for source in rows.keys() & wanted.keys():
        audio, row = wanted[source].audio, rows[source]
        if audio is None or (row["object"], row["bytes"]) != (audio.object, audio.bytes):
            found.problems.append(f"the manifest is wrong about {source}: {row}")
    if manifest["totals"]["files"] != len(rows) or manifest["totals"]["bytes"] != sum(
        row["bytes"] for row in rows.values()
    ):
        found.problems.append(f"the manifest's totals: {manifest['totals']}")


def audit(environ: Mapping[str, str], directory: Path) -> list[str]:
    """Run ``audio-pipeline audit``, which has to find nothing."""
    ended = subprocess.run(
        [str(BIN / "audio-pipeline"), "audit"],
        cwd=directory,
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if ended.returncode == 0:
        return []
    return [f"audit: {line}" for line in (ended.stdout + ended.stderr).splitlines() if line]


def leftovers(directory: Path) -> list[str]:
    """Return the processes that still work in this run's folder."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if "ffmpeg" in one.name() and str(directory) in " ".join(one.cmdline()):
                found.append(f"left running: {one}")
    return found
