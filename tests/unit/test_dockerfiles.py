"""What the images promise, by their Dockerfiles: no build tools, no root, only their code."""

from __future__ import annotations

import json
import re

import pytest

from tests.dockerfile import EXTRACT, WEB, Dockerfile, arguments
from tests.paths import ROOT

both = pytest.mark.parametrize("image", [EXTRACT, WEB], ids=["extract_audio", "web"])


@both
def test_both_stages_are_slim_and_of_a_supported_version(image: Dockerfile) -> None:
    for base in arguments(image.steps, "FROM"):
        assert re.match(r"python:3\.1[1-4]-slim\b", base)


@both
def test_the_image_installs_nothing_and_runs_without_root(image: Dockerfile) -> None:
    text = " ".join(arguments(image.final, "RUN"))
    assert "install" not in text.replace("uninstall", "")
    assert "pip uninstall" in text
    assert arguments(image.final, "USER") == ["10001"]


@pytest.mark.parametrize(
    ("image", "functions"), [(EXTRACT, ["extract_audio"]), (WEB, ["dashboard", "drive_watch"])]
)
def test_only_its_functions_requirements_are_installed(
    image: Dockerfile, functions: list[str]
) -> None:
    packages, own = (
        text.partition("install ")[2].split() for text in arguments(image.build, "RUN")
    )
    assert packages[:2] == ["--no-cache-dir", "--require-hashes"]
    assert packages[2:] == [word for name in functions for word in ("--requirement", f"{name}.txt")]
    # The package's own dependencies are the command's.
    assert own == ["--no-cache-dir", "--no-deps", "."]
    copied = arguments(image.build, "COPY")
    assert {f"functions/{one}/requirements.txt {one}.txt" for one in functions} < set(copied)
    assert "constraints.txt ./" in copied  # which each requirements.txt names


@pytest.mark.parametrize(
    ("image", "source", "target"),
    [(EXTRACT, "extract_audio", "extract_audio"), (WEB, "drive_watch", "notify")],
)
def test_it_starts_the_server_itself_and_logs_at_once(
    image: Dockerfile, source: str, target: str
) -> None:
    (command,) = arguments(image.final, "CMD")
    assert json.loads(command) == [
        "functions-framework",
        f"--source=functions/{source}/main.py",
        f"--target={target}",
    ]
    (variables,) = arguments(image.final, "ENV")
    assert {"PORT=8080", "PYTHONUNBUFFERED=1"} < set(variables.split())


@both
def test_copied_files_exist_and_are_in_the_context(image: Dockerfile) -> None:
    let_in = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")
    }
    copied = [part.split()[:-1] for part in arguments(image.steps, "COPY") if "--from" not in part]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists()
        assert any(name == one or name.startswith(f"{one}/") for one in let_in), name


def test_the_mounted_bucket_belongs_to_the_images_user() -> None:
    text = (ROOT / "infra" / "terraform" / "extract_audio.tf").read_text()

    assert f'"uid={arguments(EXTRACT.final, "USER")[0]}"' in text
