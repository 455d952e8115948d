"""The functions' archives, as Terraform makes them, and what a builder makes of one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from infra.requirements import FUNCTIONS, IMAGES, path_of
from tests.emulators import find_tool, missing
from tests.paths import ROOT
from tests.providers import check_initialised
from tests.run_folder import locked, run_folder
from tests.terraform.checkout import LAZY_GC

INFRA = ROOT / "infra" / "terraform"

#: What pip prints when it reaches no index.
_NO_INDEX = (
    "Failed to establish a new connection",
    "NameResolutionError",
    "Network is unreachable",
)


def terraform(*args: str, cwd: Path, data: Path) -> subprocess.CompletedProcess[str]:
    """Run terraform, which leaves everything that it downloads in ``data``."""
    return subprocess.run(
        [find_tool("terraform"), *args],
        cwd=cwd,
        env={
            **os.environ,
            **LAZY_GC,
            "CHECKPOINT_DISABLE": "1",
            "TF_DATA_DIR": str(data),
            "TF_IN_AUTOMATION": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def files(directory: Path, root: Path = ROOT) -> dict[str, dict[str, str]]:
    """Return path in the archive => file for each function, from the module's output.

    ``directory`` takes Terraform's state.
    """
    state = f"-state={directory / 'source.tfstate'}"
    arguments = ["apply", "-auto-approve", "-input=false", "-no-color", state, f"-var=root={root}"]
    done = terraform(*arguments, cwd=INFRA / "source", data=directory)
    assert done.returncode == 0, done.stderr
    told = terraform("output", "-json", state, "files", cwd=INFRA / "source", data=directory)
    found: dict[str, dict[str, str]] = json.loads(told.stdout)
    return found


def made_here(directory: Path) -> dict[str, Path]:
    """Make the archives with Python from the list of files that Terraform has."""
    made = {}
    for name, contents in files(directory).items():
        made[name] = directory / f"{name}.zip"
        with zipfile.ZipFile(made[name], "w", zipfile.ZIP_DEFLATED) as archive:
            for path, source in sorted(contents.items()):
                archive.writestr(path, Path(source).read_bytes())
    return made


def made_by_terraform(directory: Path) -> dict[str, Path]:
    """Make the archives with the blocks of source.tf; skips where there is no provider."""
    text = (INFRA / "source.tf").read_text()
    blocks = re.findall(r"^(?:module|data) .*?^\}\n", text, re.MULTILINE | re.DOTALL)
    versions = (
        'terraform {\nrequired_providers {\narchive = {\nsource = "hashicorp/archive"\n}\n}\n}\n'
    )
    moved = "".join(blocks).replace('"./source"', f'"{INFRA}/source"')
    moved = moved.replace('"${path.module}/../.."', f'"{ROOT}"')
    (directory / "main.tf").write_text(versions + moved)
    data = directory / ".terraform"
    done = terraform("init", "-input=false", "-no-color", cwd=directory, data=data)
    check_initialised(done, "archive")
    done = terraform("apply", "-auto-approve", "-no-color", cwd=directory, data=data)
    assert done.returncode == 0, done.stderr
    return {path.stem: path for path in (data / "archives").glob("*.zip")}


@cache
def from_wheels() -> dict[str, str]:
    """Return the variables that have pip install what our programs need without the index.

    pip reads thousands of links for each package from it, which takes three quarters of the time of
    an installation. The files are downloaded once for all workers of the test run.
    """
    folder = run_folder()
    assert folder is not None
    wheels = folder / "wheels"
    with locked(folder / "wheels.lock"):
        if not wheels.exists():
            _download(wheels)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}


def _download(directory: Path) -> None:
    lists = directory.with_name("requirements")
    lists.mkdir()
    shutil.copy(ROOT / "constraints.txt", lists)
    arguments = []
    for function in FUNCTIONS + IMAGES:
        shutil.copy(path_of(function), lists / f"{function}.txt")
        arguments += ["--requirement", f"{function}.txt"]
    made = directory.with_name("unfinished")
    pip(None, "download", "--quiet", "--no-deps", f"--dest={made}", *arguments, cwd=lists)
    # In a call of its own: pip wants hashes for all that it downloads, or for nothing.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    builds = project["build-system"]["requires"]
    pip(None, "download", "--quiet", f"--dest={made}", *builds, cwd=lists)
    made.rename(directory)


def virtual_environment(
    directory: Path,
    *install: str,
    cwd: Path,
    with_pip: bool = False,
    env: Mapping[str, str] | None = None,
) -> Path:
    """Make one with nothing but what pip installs in ``cwd``; returns its folder of programs.

    It has a pip of its own only ``with_pip``, whose installation takes seconds.
    """
    without = [] if with_pip else ["--without-pip"]
    subprocess.run([sys.executable, "-m", "venv", *without, directory], check=True)
    pip(directory, "install", "--no-compile", *install, cwd=cwd, env=env)
    return directory / "bin"


def pip(
    environment: Path | None, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
) -> str:
    """Run the pip of the tests, on a virtual environment if given; returns what it printed."""
    on = ["--python", str(environment)] if environment else []
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *on, *arguments],
        cwd=cwd,
        env=clean(**(env or {})),
        capture_output=True,
        text=True,
        check=False,
    )
    check_installed(done)
    return done.stdout


def check_installed(done: subprocess.CompletedProcess[str]) -> None:
    """Fail the test if pip failed; where there is no package index, a tool is missing."""
    if done.returncode and any(words in done.stderr for words in _NO_INDEX):
        missing("a package index that pip can reach")
    assert done.returncode == 0, done.stdout + done.stderr


def clean(**more: str) -> dict[str, str]:
    """Return this environment without the variables of Python, Google accounts and Cloud Run."""
    out = ("PYTHON", "VIRTUAL_ENV", "GOOGLE_", "FUNCTION_", "K_")
    return {k: v for k, v in os.environ.items() if not k.startswith(out)} | more


def run(
    program: Sequence[str], cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        program, cwd=cwd, env=dict(env), capture_output=True, text=True, check=False, timeout=120
    )
