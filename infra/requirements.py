"""Writes each function's requirements.txt, from which Google's builder installs its archive.

The builder installs anew when that file changes, and else uses what it installed up to a day
ago (``checkCache`` in GoogleCloudPlatform/buildpacks, pkg/python). It does not look into
constraints.txt, so that a version changed there alone would not be deployed: hence its digest.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: The functions that are deployed as an archive; the others are in an image.
FUNCTIONS = ("drive_watch", "sftp_compress")


def requirements(function: str) -> str:
    """Return the text of one function's requirements.txt: those of the function's extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"][function.replace("_", "-")]
    digest = hashlib.sha256((ROOT / "constraints.txt").read_bytes()).hexdigest()
    lines = [
        "--constraint constraints.txt",
        f"# `make requirements` writes this. constraints.txt has the SHA-256 {digest}.",
        *sorted(extra),
    ]
    return "\n".join(lines) + "\n"


def path_of(function: str) -> Path:
    """Return where one function's requirements.txt lies."""
    return ROOT / "functions" / function / "requirements.txt"


def main() -> None:
    """Write them all."""
    for function in FUNCTIONS:
        path_of(function).write_text(requirements(function))


if __name__ == "__main__":
    main()
