"""The recordings of a run, what happens to each, and how each may end.

An act is a generator: it puts a file into Drive or onto the SFTP server, yields how many
seconds pass before the next step, and goes on. It also lists how each revision may end.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.demo.drive_standin.control import RemoteWorld
from tests.chaos.clips import PAIRS, Clip, Pair

READER = "reader@project.iam.gserviceaccount.com"
OWNER, COLLEAGUE = "ana@example.com", "bob@example.com"

_AUDIO = ("m4a", "mp4", "webm", "wav", "mp3")
_MIME = {".mp4": "video/mp4", ".webm": "video/webm", ".wav": "audio/x-wav", ".mp3": "audio/mpeg"}
_BROKEN = frozenset({"FAILED truncated", "FAILED corrupt", "FAILED not_a_recording"})
_DONE = frozenset({"DONE"})

#: The first second of the modification times of files on the SFTP server (January 2025).
_EPOCH = 1_735_700_000


@dataclass(frozen=True)
class Revision:
    """One revision of one file. ``endings`` are its statuses, with the code where it has one.

    Unless it is ``required``, the pipeline may never have seen it.
    """

    source: str
    source_id: str
    revision: str
    pair: Pair
    endings: frozenset[str]
    required: bool
    act: str


@dataclass
class Stage:
    """Where acts are performed, and what they expect."""

    world: RemoteWorld
    sftp: Path
    watched: str
    elsewhere: str
    expected: list[Revision] = field(default_factory=list)

    def expect(
        self,
        act: str,
        source: str,
        source_id: str,
        revision: str,
        clip: Clip,
        *also: str,
        endings: frozenset[str] = _DONE,
        required: bool = True,
    ) -> None:
        """Note how a revision may end; ``also`` adds endings."""
        allowed = endings | set(also)
        self.expected.append(
            Revision(source, source_id, revision, clip.pair, allowed, required, act)
        )


@dataclass(frozen=True)
class Part:
    """One entry of the cast: an act, its number, and its clips."""

    act: str
    number: int
    clips: tuple[Clip, ...]
    rng: random.Random

    def play(self, stage: Stage) -> Iterator[float]:
        return ACTS[self.act].play(stage, self)

    @property
    def title(self) -> str:
        return f"Call {self.number} - 2025/01/29 10:{self.number % 60:02d} CST - Recording"


@dataclass(frozen=True)
class Act:
    """How an act is played, the kinds of its clips, and how often it is drawn."""

    play: Callable[[Stage, Part], Iterator[float]]
    kinds: tuple[str, ...]
    weight: int = 1


def draw(count: int, seed: int, folder: Path) -> list[Part]:
    """Return ``count`` parts. Every act has one, then they are drawn by their weights."""
    rng = random.Random(f"cast {seed}")
    names = list(ACTS)
    weights = [ACTS[name].weight for name in names]
    drawn = names[:count] + rng.choices(names, weights, k=max(0, count - len(names)))
    rng.shuffle(drawn)
    pairs = iter(rng.sample(PAIRS, len(PAIRS)))
    parts = []
    for number, name in enumerate(drawn):
        made = []
        for index, wanted in enumerate(ACTS[name].kinds):
            kind = rng.choice(_AUDIO) if wanted == "audio" else wanted
            suffix = {"silent": "mp4", "empty": "wav", "cut": "m4a", "cut wav": "wav"}
            path = folder / f"{number}-{index}.{suffix.get(kind, kind)}"
            made.append(Clip(kind, next(pairs), path))
        parts.append(Part(name, number, tuple(made), random.Random(f"part {seed} {number}")))
    return parts


# Drive


def _put(stage: Stage, part: Part, clip: Clip, **more: Any) -> str:
    more = {"parent": stage.watched, "owner": OWNER} | more
    kind = _MIME.get(clip.path.suffix, "audio/mp4")
    name = str(more.pop("name", part.title))
    made = stage.world.create_file(name, content=str(clip.path), mime_type=kind, **more)
    return str(made)


def _md5(clip: Clip) -> str:
    return hashlib.md5(clip.path.read_bytes()).hexdigest()


def _drive(stage: Stage, part: Part, file_id: str, clip: Clip, *also: str, **more: Any) -> None:
    stage.expect(part.act, "drive", file_id, _md5(clip), clip, *also, **more)


def good(stage: Stage, part: Part) -> Iterator[float]:
    _drive(stage, part, _put(stage, part, part.clips[0]), part.clips[0])
    yield from ()


def no_audio(stage: Stage, part: Part) -> Iterator[float]:
    file_id, no = _put(stage, part, part.clips[0]), frozenset({"SKIPPED no_audio"})
    _drive(stage, part, file_id, part.clips[0], endings=no)
    yield from ()


def damaged(stage: Stage, part: Part) -> Iterator[float]:
    _drive(stage, part, _put(stage, part, part.clips[0]), part.clips[0], endings=_BROKEN)
    yield from ()


def replaced(stage: Stage, part: Part) -> Iterator[float]:
    first, second = part.clips
    file_id = _put(stage, part, first)
    _drive(stage, part, file_id, first, "SKIPPED superseded", required=False)
    yield _soon(part)
    stage.world.new_revision(file_id, content=str(second.path))
    _drive(stage, part, file_id, second)


def trashed(stage: Stage, part: Part) -> Iterator[float]:
    file_id = _put(stage, part, part.clips[0])
    _drive(stage, part, file_id, part.clips[0], "SKIPPED trashed", required=False)
    yield _soon(part)
    stage.world.trash(file_id)


def restored(stage: Stage, part: Part) -> Iterator[float]:
    file_id = _put(stage, part, part.clips[0])
    _drive(stage, part, file_id, part.clips[0])
    yield _soon(part)
    stage.world.trash(file_id)
    yield _soon(part)
    stage.world.restore(file_id)


def deleted(stage: Stage, part: Part) -> Iterator[float]:
    file_id = _put(stage, part, part.clips[0])
    _drive(stage, part, file_id, part.clips[0], "SKIPPED gone", required=False)
    yield _soon(part)
    stage.world.delete(file_id)


def renamed(stage: Stage, part: Part) -> Iterator[float]:
    file_id = _put(stage, part, part.clips[0])
    _drive(stage, part, file_id, part.clips[0])
    yield _soon(part)
    stage.world.rename(file_id, f"Renamed {part.number} - 2025/01/30 11:00 CST - Recording")


def moved_in(stage: Stage, part: Part) -> Iterator[float]:
    file_id = _put(stage, part, part.clips[0], parent=stage.elsewhere)
    _drive(stage, part, file_id, part.clips[0])
    yield _soon(part)
    stage.world.move(file_id, stage.watched)


def moved_out(stage: Stage, part: Part) -> Iterator[float]:
    file_id = _put(stage, part, part.clips[0])
    _drive(stage, part, file_id, part.clips[0], "SKIPPED not_watched", required=False)
    yield _soon(part)
    stage.world.move(file_id, stage.elsewhere)


def folder_moved_in(stage: Stage, part: Part) -> Iterator[float]:
    folder = stage.world.create_folder(f"Meeting {part.number}", parent=stage.elsewhere)
    for clip in part.clips:
        _drive(stage, part, _put(stage, part, clip, parent=folder), clip)
    yield _soon(part)
    stage.world.move(folder, stage.watched)


def shortcut(stage: Stage, part: Part) -> Iterator[float]:
    theirs = stage.world.root(COLLEAGUE)
    file_id = _put(stage, part, part.clips[0], parent=theirs, owner=COLLEAGUE)
    _drive(stage, part, file_id, part.clips[0])
    stage.world.share(file_id, READER)
    yield _soon(part)
    stage.world.create_shortcut(part.title, file_id, parent=stage.watched)


def twins(stage: Stage, part: Part) -> Iterator[float]:
    for _ in range(2):
        _drive(stage, part, _put(stage, part, part.clips[0]), part.clips[0])
        yield part.rng.uniform(0, 1)


def hidden(stage: Stage, part: Part) -> Iterator[float]:
    """Play a recording that Drive's list of changes never shows."""
    file_id = _put(stage, part, part.clips[0], parent=stage.elsewhere)
    _drive(stage, part, file_id, part.clips[0])
    stage.world.hide_from_changes(file_id)
    yield 0.0
    stage.world.move(file_id, stage.watched)


# SFTP


def _upload(stage: Stage, part: Part, clip: Clip, name: str, revision: int = 0) -> str:
    """Put a file onto the server whole, as a careful client does; return its revision."""
    path, mtime = stage.sftp / name, _EPOCH + 1000 * part.number + revision
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(clip.path.read_bytes())
    os.utime(unfinished, (mtime, mtime))
    unfinished.replace(path)
    return f"{path.stat().st_size}-{mtime}"


def _sftp(stage: Stage, part: Part, name: str, clip: Clip, *also: str, **more: Any) -> None:
    revision = _upload(stage, part, clip, name, int(more.pop("number", 0)))
    stage.expect(part.act, "sftp", name, revision, clip, *also, **more)


def _name(part: Part, clip: Clip) -> str:
    return f"day {part.number % 3}/take {part.number}{clip.path.suffix}"


def sftp_good(stage: Stage, part: Part) -> Iterator[float]:
    _sftp(stage, part, _name(part, part.clips[0]), part.clips[0])
    yield from ()


def sftp_no_audio(stage: Stage, part: Part) -> Iterator[float]:
    clip, no = part.clips[0], frozenset({"SKIPPED no_audio"})
    _sftp(stage, part, _name(part, clip), clip, endings=no)
    yield from ()


def sftp_damaged(stage: Stage, part: Part) -> Iterator[float]:
    _sftp(stage, part, _name(part, part.clips[0]), part.clips[0], endings=_BROKEN)
    yield from ()


def sftp_replaced(stage: Stage, part: Part) -> Iterator[float]:
    first, second = part.clips
    name = _name(part, first)
    _sftp(stage, part, name, first, "SKIPPED superseded", required=False)
    yield _soon(part)
    _sftp(stage, part, name, second, number=1)


def sftp_removed(stage: Stage, part: Part) -> Iterator[float]:
    name = _name(part, part.clips[0])
    _sftp(stage, part, name, part.clips[0], "SKIPPED gone", required=False)
    yield _soon(part)
    (stage.sftp / name).unlink()


def sftp_renamed(stage: Stage, part: Part) -> Iterator[float]:
    clip, name = part.clips[0], _name(part, part.clips[0])
    _sftp(stage, part, name, clip, "SKIPPED gone", required=False)
    yield _soon(part)
    new = f"day 0/renamed {part.number}{clip.path.suffix}"
    path = stage.sftp / new
    path.parent.mkdir(exist_ok=True)
    (stage.sftp / name).replace(path)
    found = path.stat()
    stage.expect(part.act, "sftp", new, f"{found.st_size}-{int(found.st_mtime)}", clip)


def sftp_twins(stage: Stage, part: Part) -> Iterator[float]:
    """Play two files whose compressed objects want one name."""
    for clip in part.clips:
        _sftp(stage, part, _name(part, clip), clip)
        yield part.rng.uniform(0, 1)


def _soon(part: Part) -> float:
    """Return a pause that ends at any moment of a recording's way through the pipeline."""
    return part.rng.choice((0.2, 1.0, 3.0, 8.0)) * part.rng.random()


ACTS: dict[str, Act] = {
    "good": Act(good, ("audio",), 30),
    "no audio": Act(no_audio, ("silent",), 3),
    "damaged": Act(damaged, ("cut",), 3),
    "noise": Act(damaged, ("noise",), 1),
    "replaced": Act(replaced, ("audio", "audio"), 4),
    "trashed": Act(trashed, ("audio",), 3),
    "restored": Act(restored, ("audio",), 3),
    "deleted": Act(deleted, ("audio",), 2),
    "renamed": Act(renamed, ("audio",), 3),
    "moved in": Act(moved_in, ("audio",), 3),
    "moved out": Act(moved_out, ("audio",), 2),
    "folder moved in": Act(folder_moved_in, ("audio", "audio"), 2),
    "shortcut": Act(shortcut, ("audio",), 3),
    "twins": Act(twins, ("audio",), 3),
    "hidden": Act(hidden, ("audio",), 1),
    "SFTP good": Act(sftp_good, ("wav",), 12),
    "SFTP MP3": Act(sftp_good, ("mp3",), 4),
    "SFTP no audio": Act(sftp_no_audio, ("empty",), 2),
    "SFTP damaged": Act(sftp_damaged, ("cut wav",), 2),
    "SFTP replaced": Act(sftp_replaced, ("wav", "wav"), 4),
    "SFTP removed": Act(sftp_removed, ("mp3",), 2),
    "SFTP renamed": Act(sftp_renamed, ("wav",), 2),
    "SFTP twins": Act(sftp_twins, ("wav", "mp3"), 2),
}
