"""A copy of what Terraform reads of the repository, and Terraform itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.emulators import find_tool
from tests.paths import ROOT

#: What a copy has of the functions' sources: a builder reads the first two, the tests change the
#: last, and a folder without a package would have none of them.
_SOURCES = {"main.py", "requirements.txt", "__init__.py", "errors.py"}


#: Collects garbage only above a gigabyte (Go's GC guide, "Memory limit"). By default it takes a
#: quarter of a command's time: Terraform reads the schema of the whole provider for each.
LAZY_GC = {"GOGC": "off", "GOMEMLIMIT": "1GiB"}


def check_out(copy: Path) -> Path:
    """Copy what Terraform reads into ``copy``; returns the folder of the configuration.

    The functions' archives get a few short files. Terraform and the archive provider compare all
    contents several times: with the real files a plan costs 5 to 10 s of processor time more.
    `tests/artefact` has Terraform make the archives of all real files, and runs them.
    """
    ignored = shutil.ignore_patterns(".terraform*", "__pycache__", "*.tfstate*")
    shutil.copytree(ROOT / "infra", copy / "infra", ignore=ignored)
    shutil.copy(ROOT / "constraints.txt", copy)
    for part in ("shared", "functions"):
        for file in (ROOT / part).rglob("*"):
            if file.name in _SOURCES:
                target = copy / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    return copy / "infra" / "terraform"


def terraform(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Terraform, without this machine's Google account and variables."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "TF_VAR_"))}
    return subprocess.run(
        [find_tool("terraform"), *arguments],
        cwd=cwd,
        env={**clean, **LAZY_GC, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
