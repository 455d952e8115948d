"""Writes each function's requirements.txt, from which its archive or image is installed.

Google's builder installs an archive again when that file changes. Otherwise it uses what it
installed up to a day ago (``checkCache`` in GoogleCloudPlatform/buildpacks, pkg/python). It does
not read constraints.txt, so a version that changed only there would not be deployed. The file
therefore has the digest of constraints.txt.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: The functions that are deployed as an archive.
FUNCTIONS = ("drive_watch", "sftp_compress")

#: The functions that are in an image only.
IMAGES = ("dashboard", "extract_audio")


def requirements(function: str) -> str:
    """Return the text of one function's requirements.txt: the packages of its extra.

    The package's own dependencies are not in it: they are the command's.
    """
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
    """Return the path of one function's requirements.txt."""
    return ROOT / "functions" / function / "requirements.txt"


def main() -> None:
    """Write them all."""
    for function in FUNCTIONS + IMAGES:
        path_of(function).write_text(requirements(function))


if __name__ == "__main__":
    main()
