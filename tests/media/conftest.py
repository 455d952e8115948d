"""Clips that the tests of a run share, and the worker to put them through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.media import clips, rig


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the clip of a name (``clips.CLIPS``), made when it is first asked for."""
    directory = tmp_path_factory.mktemp("clips")

    def get(name: str) -> Path:
        path = directory / name
        if not path.exists():
            clips.make(name, path)
            path.chmod(0o444)
        return path

    return get


@pytest.fixture
def worker(tmp_path: Path) -> rig.Rig:
    return rig.Rig(tmp_path)
