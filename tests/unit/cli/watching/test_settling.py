import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.watching.settling import Settling, open_for_writing
from shared.core.message import SourceFile


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def item(path: str = "/a.mp4", revision: str = "1-1") -> SourceFile:
    return SourceFile(
        source="local",
        source_id=path,
        revision=revision,
        name=path,
        mime_type="video/mp4",
        size_bytes=1,
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
    )


def test_a_file_is_taken_when_it_has_stayed_the_same() -> None:
    clock = Clock()
    settling = Settling(5, clock)

    assert settling.settled([item()]) == []
    assert settling.unsettled == 1
    clock.now += 4.9
    assert settling.settled([item()]) == []
    clock.now += 0.1
    assert settling.settled([item()]) == [item()]
    assert settling.unsettled == 0


def test_each_change_starts_the_wait_again() -> None:
    clock = Clock()
    settling = Settling(5, clock)
    settling.settled([item(revision="1-1")])
    clock.now += 5

    assert settling.settled([item(revision="2-1")]) == []
    clock.now += 4
    assert settling.settled([item(revision="2-2")]) == []
    clock.now += 5
    assert settling.settled([item(revision="2-2")]) == [item(revision="2-2")]


def test_a_file_that_reappears_waits_again() -> None:
    clock = Clock()
    settling = Settling(5, clock)
    settling.settled([item()])
    settling.settled([])
    clock.now += 5

    assert settling.settled([item()]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows who has a file open")
def test_a_file_open_for_writing_is_detected(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("written", "appended", "read", "closed")}
    for path in paths.values():
        path.write_bytes(b"x")
    names = [bytes(path) for path in paths.values()]

    with paths["written"].open("r+b"), paths["appended"].open("ab"), paths["read"].open("rb"):
        assert open_for_writing(names) == {bytes(paths["written"]), bytes(paths["appended"])}
    assert open_for_writing(names) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows who has a file open")
def test_a_name_that_is_not_utf8_is_known_too(tmp_path: Path) -> None:
    name = bytes(tmp_path) + b"/\xff.mp4"

    with open(name, "wb"):  # noqa: PTH123 - a path of bytes
        assert open_for_writing([name]) == {name}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows open files")
def test_a_process_that_closes_other_files_meanwhile_is_still_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    over = threading.Event()

    def open_and_close() -> None:
        while not over.is_set():
            for number in [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]:
                os.close(number)

    other = threading.Thread(target=open_and_close)
    other.start()
    try:
        # Lower descriptors are freed, so that some are listed before this one.
        spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
        with path.open("ab"):
            for number in spare:
                os.close(number)
            found = [open_for_writing([bytes(path)]) for _ in range(50)]
    finally:
        over.set()
        other.join()
    assert found == [{bytes(path)}] * 50
