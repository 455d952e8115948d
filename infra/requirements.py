"""Writes the requirements.txt of each function, and those of `make setup` and `make run`.

Each lists all packages that are installed, with version and hashes, so that pip installs these
files or none (pip's "Secure installs"). Google's builder runs pip on a function's file as it is. It
installs again when the file changes, and otherwise uses what it installed up to a day ago
(``checkCache`` in GoogleCloudPlatform/buildpacks, pkg/python).

Run it in an environment in which constraints.txt is installed: the packages' own metadata there
lists what each needs.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import requires
from itertools import product
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

#: The functions that are deployed as an archive.
FUNCTIONS = ("drive_watch", "sftp_compress")

#: The functions that are in an image only.
IMAGES = ("dashboard", "extract_audio")

#: What the command installs, by the name of its file: with all tools, or to run.
COMMAND = {
    "setup": ("drive-watch", "extract-audio", "sftp-compress", "dashboard", "cloud", "dev"),
    "run": ("cloud", "dashboard"),
}

_NOTE = "# `make requirements` writes this from pyproject.toml, constraints.txt and hashes.json."


def requirements(function: str) -> str:
    """Return the text of one function's requirements.txt: its extra and what that needs.

    The package's own dependencies are not in it: they are the command's.
    """
    extra = _project()["optional-dependencies"][function.replace("_", "-")]
    return _text(extra, "--constraint constraints.txt")


def command_requirements(name: str) -> str:
    """Return the text of one file of ``COMMAND``."""
    project = _project()
    extras = [line for extra in COMMAND[name] for line in project["optional-dependencies"][extra]]
    return _text([*project["dependencies"], *extras])


def lines_of(pin: str, hashes: Iterable[str]) -> str:
    """Return the lines of a requirements.txt for one package."""
    return " \\\n    ".join([pin, *(f"--hash=sha256:{one}" for one in hashes)])


def path_of(function: str) -> Path:
    """Return the path of one function's requirements.txt."""
    return ROOT / "functions" / function / "requirements.txt"


def command_path(name: str) -> Path:
    """Return the path of one file of ``COMMAND``."""
    return ROOT / "infra" / "requirements" / f"{name}.txt"


def _project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _text(wanted: Iterable[str], *first: str) -> str:
    hashes = json.loads((ROOT / "infra" / "hashes.json").read_text())
    versions = dict(pin.split("==") for pin in hashes)
    lines = [*first, _NOTE]
    for name in sorted(_closure(wanted, set(versions))):
        pin = f"{name}=={versions[name]}"
        lines.append(lines_of(pin, hashes[pin]))
    return "\n".join(lines) + "\n"


def _closure(wanted: Iterable[str], known: set[str]) -> set[str]:
    """Return the names of these packages and all that they need, on any supported system.

    A package that constraints.txt does not name is for another system, and left out.
    """
    found: set[tuple[str, str]] = set()
    todo = [Requirement(line) for line in wanted]
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if name not in known or (name, extra) in found:
                continue
            found.add((name, extra))
            needed = [Requirement(line) for line in requires(name) or ()]
            todo += [
                inner
                for inner in needed
                if inner.marker is None or any(map(inner.marker.evaluate, _systems(extra)))
            ]
    return {name for name, _ in found}


def _systems(extra: str) -> Iterator[dict[str, str]]:
    for version, system in product(("3.11", "3.12", "3.13", "3.14"), ("linux", "darwin")):
        yield {
            **{key: str(value) for key, value in default_environment().items()},
            "python_version": version,
            "python_full_version": f"{version}.0",
            "sys_platform": system,
            "platform_system": system.capitalize(),
            "extra": extra,
        }


def main() -> None:
    """Write them all."""
    for function in FUNCTIONS + IMAGES:
        path_of(function).write_text(requirements(function))
    for name in COMMAND:
        command_path(name).parent.mkdir(exist_ok=True)
        command_path(name).write_text(command_requirements(name))


if __name__ == "__main__":
    main()
