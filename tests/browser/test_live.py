"""Chromium on ``audio-pipeline serve``: real extractions, and storage that really goes away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from tests.browser.chromium import browser, check_tools, scenarios
from tests.browser.site import served
from tests.media.clips import run as run_ffmpeg
from tests.serving import Site, site

#: Slower than the slowest machine encodes, so that the source sets the pace: 58 MB take minutes.
_SLOW_BYTES_S = 2_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of an hour in samples of 8 bytes: 58 MB that are soon encoded."""
    path = tmp_path_factory.mktemp("clips") / "large.mkv"
    sound = "sine=f=300:r=8000:d=900,volume='0.6+0.4*sin(t)':eval=frame"
    run_ffmpeg("-f", "lavfi", "-i", sound, "-c:a", "pcm_f64le", path)
    return path


@pytest.fixture(scope="module")
def scenario(
    tmp_path_factory: pytest.TempPathFactory, large: Path
) -> Iterator[Callable[[str], None]]:
    check_tools()
    control = Flask("control")
    with (
        site(tmp_path_factory.mktemp("serve")) as machine,
        # The bar moves with the heartbeat, which is a third of the lease.
        machine.serve(LEASE_SECONDS="3") as serve,
        served(control) as address,
        browser("live.mjs", serve.url, address) as run,
    ):

        @control.post("/")
        def command() -> Any:
            return {"result": _control(machine, large, request.get_json())}

        yield run


def _control(machine: Site, large: Path, command: dict[str, Any]) -> Any:
    """Carry out what a scenario asks for."""
    audio, away = machine.directory / "audio", machine.directory / "unmounted"
    match command["do"]:
        case "record":
            machine.world.set_faults(bandwidth=_SLOW_BYTES_S)
            return machine.world.create_file(
                command["name"], content=str(large), mime_type="video/x-matroska"
            )
        case "hurry":
            machine.world.set_faults(bandwidth=None)
        case "storage goes away":
            audio.rename(away)
        case "storage comes back":
            away.rename(audio)
    return None


@pytest.mark.parametrize("name", scenarios("live.mjs"))
def test_in_chromium(scenario: Callable[[str], None], name: str) -> None:
    scenario(name)
