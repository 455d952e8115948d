"""``audio-pipeline backfill`` over the Drive stand-in and a queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.demo.drive_standin.errors import READONLY
from tests.drive.rig import Rig, make_rig
from tests.drive.standin import OWNER, READER

COMMAND = Path(sys.executable).with_name("audio-pipeline")


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with make_rig(request, tmp_path, on="google") as rig:
        rig.video("old.mp4", created="2024-12-31T23:00:00Z")
        rig.video("new.mp4", created="2025-01-01T10:00:00Z")
        yield rig


def backfill(
    rig: Rig, folder: Path, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "backfill", *arguments],
        env={**os.environ, **rig.environ, **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_publishes_missing_recordings_once(rig: Rig, tmp_path: Path) -> None:
    done = backfill(rig, tmp_path, "--since", "2025-01-01")
    assert done.returncode == 0, done.stderr
    assert "new.mp4" in done.stdout
    assert "1 recording queued" in done.stdout
    assert rig.names() == ["new.mp4"]
    assert "0 recordings queued" in backfill(rig, tmp_path, "--since", "2025-01-01").stdout
    assert "1 recording queued" in backfill(rig, tmp_path).stdout
    assert len(rig.messages(2)) == 2


def test_json_is_the_documents_and_nothing_else(rig: Rig, tmp_path: Path) -> None:
    documents = json.loads(backfill(rig, tmp_path, "--json").stdout)
    assert {one["name"]: one["status"] for one in documents} == {
        "old.mp4": "QUEUED",
        "new.mp4": "QUEUED",
    }


def test_a_dry_run_changes_nothing(rig: Rig, tmp_path: Path) -> None:
    planned = backfill(rig, tmp_path, "--dry-run", "--since", "2025-01-01")
    assert planned.returncode == 0, planned.stderr
    assert "new.mp4  queue" in planned.stdout
    assert "1 recording would be queued" in planned.stdout
    assert rig.names() == []

    assert backfill(rig, tmp_path, "--since", "2025-01-01").returncode == 0
    before = rig.recordings()
    planned = backfill(rig, tmp_path, "--dry-run", "--json")
    assert [one["name"] for one in json.loads(planned.stdout)] == ["old.mp4"]
    assert rig.recordings() == before
    # The queue has what was queued before, and nothing of the dry run.
    assert [one["name"] for one in rig.messages(1)] == ["new.mp4"]


def test_one_account_that_fails_does_not_stop_the_others(rig: Rig, tmp_path: Path) -> None:
    rig.world.identity.delegations = {READER: {READONLY}}
    rig.world.identity.suspended = {"bob@example.com"}
    rig.video("of Ana.mp4", owner=OWNER)
    done = backfill(rig, tmp_path, DRIVE_SUBJECTS=f"bob@example.com,{OWNER}")
    assert done.returncode == 1
    assert "bob@example.com" in done.stderr
    assert rig.names() == ["of Ana.mp4"]


def test_without_a_queue_it_reports_it(rig: Rig, tmp_path: Path) -> None:
    done = backfill(rig, tmp_path, RECORDINGS_QUEUE_URL="local://")
    assert done.returncode == 2
    assert "RECORDINGS_QUEUE_URL" in done.stderr


def test_a_wrong_date(rig: Rig, tmp_path: Path) -> None:
    assert backfill(rig, tmp_path, "--since", "yesterday").returncode == 2
