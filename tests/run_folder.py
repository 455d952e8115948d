"""A folder that the worker processes of one test run share, and locks between them.

pytest-xdist runs the tests in several processes. What is expensive to start, such as an
emulator, is started by the first of them that needs it and stopped by the one that started them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Names the folder to the workers, which inherit the environment.
_VARIABLE = "AUDIO_PIPELINE_TEST_RUN"


def pytest_configure(config: pytest.Config) -> None:
    if not _is_worker(config):
        os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="audio-pipeline-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _is_worker(config):
        return
    folder = Path(os.environ.pop(_VARIABLE))
    for pid in folder.glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(pid.read_text()), signal.SIGKILL)
    shutil.rmtree(folder)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Have one worker collect first in CI, and the others after it.

    In a fresh clone pytest first rewrites the assertions of every module, which takes longer than
    all the rest. The first worker writes the result beside the tests, where the others find it.
    """
    if _is_worker(session.config) and os.environ.get("CI") == "true":
        folder = Path(os.environ[_VARIABLE])
        with locked(folder / "collection.lock"):
            if not (folder / "collected").exists():
                found = yield
                (folder / "collected").touch()
                return found
    return (yield)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")  # set by pytest-xdist


def run_folder() -> Path | None:
    """Return the folder of this run; None outside of pytest."""
    folder = os.environ.get(_VARIABLE)
    return Path(folder) if folder else None


def stop_at_end(name: str, process_group: int) -> None:
    """Have a process group killed when the run ends."""
    folder = run_folder()
    assert folder is not None
    (folder / f"{name}.pid").write_text(str(process_group))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out of the block. The lock ends with its process."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
