"""A copy of what Terraform reads of the repository, and Terraform itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.emulators import find_tool
from tests.paths import ROOT

#: Files of the archives that the fake of Cloud Functions reads.
_READ_BY_THE_BUILD = {"main.py", "requirements.txt"}


def check_out(copy: Path) -> Path:
    """Copy what Terraform reads into ``copy``; returns the folder of the configuration.

    The archives have the real files' names, but most files only contain their own name. The
    archive provider and Terraform compare contents many times: with the real ones a plan costs
    5 to 10 s of processor time more. `make deploy` of the real files is tested in
    `tests/delivery/test_whole.py`, the real archives in `tests/artefact`.
    """
    ignored = shutil.ignore_patterns(".terraform*", "__pycache__", "*.tfstate*")
    for part in ("infra", "shared", "functions"):
        shutil.copytree(ROOT / part, copy / part, ignore=ignored)
    shutil.copy(ROOT / "constraints.txt", copy)
    for part in ("shared", "functions"):
        for file in (copy / part).rglob("*"):
            if file.is_file() and file.name not in _READ_BY_THE_BUILD:
                file.write_text(f"# {file.relative_to(copy)}\n")
    return copy / "infra" / "terraform"


def terraform(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Terraform, without this machine's Google account and variables."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "TF_VAR_"))}
    return subprocess.run(
        [find_tool("terraform"), *arguments],
        cwd=cwd,
        env={**clean, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
