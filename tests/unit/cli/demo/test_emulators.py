from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.demo import emulators
from shared.core.errors import ConfigurationError
from tests.paths import ROOT


def test_all_missing_programs_are_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcloud = tmp_path / "sdk" / "bin" / "gcloud"
    gcloud.parent.mkdir(parents=True)
    gcloud.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(gcloud.parent))
    with (
        pytest.raises(ConfigurationError) as raised,
        emulators.running(tmp_path, lambda _seconds: False),
    ):
        pass
    text = str(raised.value)
    for hint in (
        "Java",
        "gcloud components install cloud-firestore-emulator",
        "gcloud components install pubsub-emulator",
        "make test-tools",
    ):
        assert hint in text


def test_the_version_of_fake_gcs_server_is_the_makefile_s() -> None:
    (pinned,) = re.findall(r"^FAKE_GCS := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert pinned == emulators._FAKE_GCS
