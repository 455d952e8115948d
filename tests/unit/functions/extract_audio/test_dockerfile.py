"""The image by its Dockerfile: no build tools, no root, only its own code."""

from __future__ import annotations

import json
import re

from tests.dockerfile import BUILD, FINAL, STEPS, arguments
from tests.paths import ROOT


def test_both_stages_are_slim_and_of_a_version_that_is_supported() -> None:
    for base in arguments(STEPS, "FROM"):
        assert re.match(r"python:3\.1[1-4]-slim\b", base)


def test_the_image_installs_nothing_and_runs_as_nobody() -> None:
    text = " ".join(arguments(FINAL, "RUN"))
    assert "install" not in text.replace("uninstall", "")
    assert "pip uninstall" in text
    assert arguments(FINAL, "USER") == ["10001"]


def test_what_is_installed_is_pinned_and_the_extra_of_this_function_alone() -> None:
    text = " ".join(arguments(BUILD, "RUN"))
    assert "--constraint constraints.txt" in text
    assert re.findall(r"\[(.*?)\]", text) == ["extract-audio"]


def test_it_starts_the_server_itself_and_logs_at_once() -> None:
    (command,) = arguments(FINAL, "CMD")
    assert json.loads(command) == [
        "functions-framework",
        "--source=functions/extract_audio/main.py",
        "--target=extract_audio",
    ]
    (variables,) = arguments(FINAL, "ENV")
    assert {"PORT=8080", "PYTHONUNBUFFERED=1"} < set(variables.split())


def test_what_is_copied_is_there_and_not_kept_out_of_the_context() -> None:
    let_in = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")
    }
    copied = [part.split()[:-1] for part in arguments(STEPS, "COPY") if "--from" not in part]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists()
        assert any(name == one or name.startswith(f"{one}/") for one in let_in), name
