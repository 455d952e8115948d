"""The images' bill of materials, made by the tool and the command of their Dockerfile."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.artefact.archives import pip, virtual_environment
from tests.dockerfile import EXTRACT, WEB, Dockerfile, arguments
from tests.paths import ROOT


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tool, from the files whose hashes are written down."""
    lock = ROOT / "infra" / "requirements" / "sbom.txt"
    made = tmp_path_factory.mktemp("sbom") / "venv"
    programs = virtual_environment(made, "--require-hashes", "--requirement", str(lock), cwd=ROOT)
    return programs / "cyclonedx-py"


@pytest.mark.slow
def test_it_lists_every_package_with_its_version(tool: Path, tmp_path: Path) -> None:
    (_, step) = arguments(EXTRACT.sbom, "RUN")
    made = tmp_path / "sbom.cdx.json"
    # Of its own environment: a quarter of the packages of this one, at a quarter of the time.
    python = tool.with_name("python")
    words = step.replace("/sbom.cdx.json", str(made)).replace("/app/.venv/bin/python", str(python))
    subprocess.run([tool, *words.split()[1:]], check=True)

    bill = json.loads(made.read_text())
    listed = {f"{one['name']}=={one['version']}" for one in bill["components"]}
    frozen = pip(python.parent.parent, "freeze", cwd=ROOT).split()

    assert bill["bomFormat"] == "CycloneDX"
    assert {one.lower().replace("_", "-") for one in frozen} <= {
        one.lower().replace("_", "-") for one in listed
    }
    assert all("purl" in one for one in bill["components"])


@pytest.mark.parametrize("image", [EXTRACT, WEB])
def test_each_image_has_one(image: Dockerfile) -> None:
    assert "--from=sbom /sbom.cdx.json sbom.cdx.json" in arguments(image.final, "COPY")
    assert "--from=build /app/.venv /app/.venv" in arguments(image.sbom, "COPY")
    install, make = arguments(image.sbom, "RUN")
    assert "--require-hashes" in install
    assert make.startswith("cyclonedx-py environment ")


@pytest.mark.parametrize("image", [EXTRACT, WEB])
def test_every_base_is_named_by_its_digest(image: Dockerfile) -> None:
    bases = {text.split()[0] for text in arguments(image.steps, "FROM")}
    (base,) = bases
    name, _, digest = base.partition("@sha256:")
    assert name == "python:3.13-slim"
    assert len(digest) == 64
