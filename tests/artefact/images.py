"""An image's steps, run in a directory instead of a container, and what they make."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.artefact import archives, deployed
from tests.artefact.deployed import Deployed
from tests.dockerfile import Dockerfile, arguments
from tests.paths import ROOT


@dataclass(frozen=True)
class Image:
    """What the image has in ``WORKDIR``, and the environment that it gives its programs."""

    dockerfile: Dockerfile
    directory: Path
    env: Mapping[str, str]

    def program(self, *command: str) -> list[str]:
        """Return a command whose program is found as the image's ``PATH`` finds it."""
        found = shutil.which(command[0], path=self.env["PATH"])
        assert found is not None
        assert Path(found).is_relative_to(self.directory), command[0]
        return [found, *command[1:]]

    def serve(self, *command: str, **env: str) -> AbstractContextManager[Deployed]:
        """Run ``command``, else the one that the image runs by default."""
        (default,) = arguments(self.dockerfile.final, "CMD")
        program = self.program(*(command or json.loads(default)))
        log = self.directory.with_name("service.log")
        return deployed.serving(program, self.directory, {**self.env, **env}, log)


def packages(image: Image) -> set[str]:
    """Return the names of what is installed; all but our own are the pinned versions, and
    nothing that installs is among them.
    """
    listed = archives.pip(image.directory / ".venv", "freeze", cwd=ROOT).splitlines()
    pinned = set((ROOT / "constraints.txt").read_text().split())
    others = {line for line in listed if line not in pinned}
    assert all(line.startswith("audio-pipeline @ file:") for line in others), others
    assert not list((image.directory / ".venv" / "bin").glob("pip*"))
    return {line.partition("==")[0] for line in listed}


def context(directory: Path) -> None:
    """Make the build's context: what .dockerignore lets in."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (line[1:] for line in lines if line.startswith("!")):
        copy(ROOT / name, directory / name)


def copy(source: Path, target: Path) -> None:
    """Copy as ``COPY`` does: the content of a directory, a file by its name."""
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def build(dockerfile: Dockerfile, base: Path, env: Mapping[str, str]) -> Image:
    """Run the steps of the first stage, and the copies of the last."""
    there, here, app = base / "context", base / "src", base / "app"
    context(there)
    for name, text in dockerfile.build:
        if name == "COPY":
            *sources, target = text.split()
            for source in sources:
                into = here / target / source if target.endswith("/") else here / target
                copy(there / source, into)
        elif name == "RUN":
            install(text.replace("/app/", f"{app}/"), here)
    for text in arguments(dockerfile.final, "COPY"):
        if text.startswith("--from="):
            # The first is already there, and test_sbom.py makes the other.
            assert text in (
                "--from=build /app/.venv .venv",
                "--from=sbom /sbom.cdx.json sbom.cdx.json",
            )
        else:
            source, target = text.split()
            copy(there / source, app / target)
    (variables,) = arguments(dockerfile.final, "ENV")
    given = dict(env)
    for pair in variables.split():
        name, value = pair.split("=", 1)
        given[name] = value.replace("/app/", f"{app}/").replace("$PATH", given["PATH"])
    # Nothing is compiled yet (see install), so the first program does it for the others.
    given["PYTHONDONTWRITEBYTECODE"] = ""
    return Image(dockerfile, app, given)


def install(command: str, cwd: Path) -> None:
    """Run a step's shell command with the Python of the tests in place of the image's."""
    # Bytecode would cost seconds. False switches --no-compile on: pip's documentation,
    # "Configuration", "Boolean options".
    env = archives.clean(PIP_NO_COMPILE="false", **archives.from_wheels())
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    archives.check_installed(done)
