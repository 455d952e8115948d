"""After any changes in a Drive, a drain leaves no watched recording unpublished. Seeded."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Set
from pathlib import Path

import pytest

from cli.demo.drive_standin import World
from cli.demo.drive_standin.state import SHORTCUT, File
from shared.core.message import make_key
from tests.drive.rig import Rig, make_rig
from tests.drive.standin import OWNER, READER

ROUNDS = 25


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with make_rig(request, tmp_path) as rig:
        yield rig


class Fate:
    """Does random things to a world of a few folders, some of which are watched."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.watched = [world.create_folder(f"watched {number}") for number in range(2)]
        self.shared = world.create_folder("of Ana", owner=OWNER, parent="")
        self.folders = [*self.watched, world.create_folder("elsewhere"), self.shared]
        self.files: list[str] = []
        self.late: set[str] = set()
        self.acts: list[Callable[[], object]] = [
            self.folder, self.file, self.file, self.shortcut, self.move, self.move_folder,
            self.trash, self.restore, self.replace, self.rename, self.delete, self.share,
        ]  # fmt: skip

    def act(self) -> None:
        self.random.choice(self.acts)()

    def pick(self, ids: list[str]) -> str | None:
        alive = [one for one in ids if one in self.world.state.files]
        return self.random.choice(alive) if alive else None

    def place(self) -> str:
        return self.pick(self.folders) or self.watched[0]

    def folder(self) -> None:
        self.folders.append(self.world.create_folder("folder", parent=self.place()))

    def file(self) -> None:
        content = self.random.randbytes(8)
        self.files.append(self.world.create_file("file", content=content, parent=self.place()))

    def shortcut(self) -> None:
        # What Ana owns is seen only through a folder that comes and goes as a whole.
        mine = [one for one in self.files if self.owner(one) == READER]
        if target := self.pick(mine):
            self.files.append(self.world.create_shortcut("to", target, parent=self.place()))

    def owner(self, file_id: str) -> str:
        file = self.world.state.files.get(file_id)
        return file.owner if file and file.mime_type != SHORTCUT else ""

    def move(self) -> None:
        if file := self.pick(self.files):
            self.world.move(file, self.place())

    def move_folder(self) -> None:
        folder, place = self.pick(self.folders[4:]), self.place()
        if folder and folder not in {step.id for step in self.lineage(place)}:
            self.world.move(folder, place)

    def lineage(self, file_id: str) -> list[File]:
        return list(self.world.state.lineage(self.world.state.files[file_id]))

    def trash(self) -> None:
        if one := self.pick(self.files + self.folders):
            self.world.trash(one)

    def restore(self) -> None:
        files = self.world.state.files
        trashed = [one for one in files if files[one].explicitly_trashed]
        if one := self.pick(trashed):
            self.world.restore(one)
            # No change reports the contents of a folder that comes from outside, so a
            # shortcut to that is followed again by the next full compare.
            self.late |= {step.id for step in self.world.state.subtree(files[one])}

    def replace(self) -> None:
        file = self.pick(self.files)
        if file and self.world.state.files[file].content:
            self.world.new_revision(file, self.random.randbytes(8))

    def rename(self) -> None:
        if one := self.pick(self.files + self.folders):
            self.world.rename(one, "renamed")

    def delete(self) -> None:
        if (one := self.pick(self.files)) and self.random.random() < 0.3:
            self.world.delete(one)

    def share(self) -> None:
        if self.random.random() < 0.5:
            self.world.share(self.shared, READER)
        else:
            self.world.revoke(self.shared, READER)


def watched_keys(world: World, folders: list[str], late: Set[str] = frozenset()) -> set[str]:
    """Return the keys of the recordings that are watched now, by Drive's documentation alone.

    Those of ``late`` to which only a shortcut leads are left out.
    """
    state = world.state

    def is_there(file: File) -> bool:
        return state.sees(READER, file) and not state.trashed(file)

    def lies_below(file: File) -> bool:
        # A parent folder that the account cannot see is not listed for it either.
        above = itertools.takewhile(lambda step: state.sees(READER, step), state.lineage(file))
        return any(step.id in folders for step in above if step is not file)

    keys = set()
    for file in state.files.values():
        if not is_there(file) or not lies_below(file) or file.shortcut_target in late:
            continue
        found = state.files.get(file.shortcut_target) if file.shortcut_target else file
        if found and is_there(found) and found.content:
            keys.add(make_key("drive", found.id, found.content.md5))
    return keys


@pytest.mark.parametrize("seed", range(6))
def test_no_watched_recording_is_left_out(rig: Rig, seed: int) -> None:
    fate = Fate(rig.world, seed)
    folders = [*fate.watched, fate.shared]
    rig.configure(DRIVE_FOLDER_IDS=",".join(folders))
    rig.maintain()
    for _ in range(ROUNDS):
        for _ in range(fate.random.randint(1, 8)):
            fate.act()
        rig.drain()
        assert watched_keys(rig.world, folders, fate.late) <= published(rig)
    rig.maintain(full=True)
    assert watched_keys(rig.world, folders) <= published(rig)
    assert len(published(rig)) > 10


def published(rig: Rig) -> set[str]:
    return {recording.key for recording in rig.recordings()}
