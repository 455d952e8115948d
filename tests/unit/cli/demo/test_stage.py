from __future__ import annotations

from pathlib import Path

import pytest

from cli.demo.stage import Demo
from tests.drive.standin import StandIn, running


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    with running() as standin:
        return demo_of(standin, tmp_path)


def demo_of(standin: StandIn, root: Path) -> Demo:
    folders = {"Google Meet": standin.world.create_folder("Google Meet")}
    made = Demo(root, standin.world, standin.server, {}, [], folders)
    made.drive_folder.mkdir()
    return made


def test_a_dropped_file_becomes_a_recording_once(demo: Demo) -> None:
    (demo.drive_folder / "A talk.mp4").write_bytes(b"sound")
    assert demo.drop() == []  # it may still be copied
    ((file_id, name),) = demo.drop()
    assert name == "A talk.mp4"
    assert demo.world.state.files[file_id].parent == demo.folders["Google Meet"]
    assert demo.drop() == []


def test_a_file_that_is_being_written_waits(demo: Demo) -> None:
    path = demo.drive_folder / "A talk.mp4"
    with path.open("wb") as file:
        file.write(b"sou")
        file.flush()
        assert demo.drop() == demo.drop() == []
    ((_, name),) = demo.drop()
    assert name == "A talk.mp4"


def test_notes_and_hidden_files_are_skipped(demo: Demo) -> None:
    for name in ("notes.txt", ".DS_Store"):
        (demo.drive_folder / name).write_bytes(b"text")
    demo.drop()
    assert demo.drop() == []
    names = {file.name for file in demo.world.state.files.values()}
    assert "notes.txt" in names
    assert ".DS_Store" not in names
