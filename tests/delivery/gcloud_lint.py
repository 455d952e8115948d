"""Asks gcloud's own parser about commands; it knows all of them without asking Google."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.emulators import missing


def refused(commands: Iterable[str], directory: Path) -> list[str]:
    """Return each command that gcloud would refuse, with its reason.

    One run checks all of them: gcloud takes most of a second to start.
    """
    gcloud = shutil.which("gcloud") or missing("gcloud")
    unique = sorted(set(commands))
    file = directory / "commands.json"
    file.write_text(json.dumps([{"command_string": command} for command in unique]))
    done = subprocess.run(
        [gcloud, "meta", "lint-gcloud-commands", f"--commands-file={file}"],
        capture_output=True,
        text=True,
        check=True,
    )
    verdicts = json.loads(done.stdout)
    assert len(verdicts) == len(unique)
    return [
        f"{verdict['command_string']}: {verdict['error_message']}"
        for verdict in verdicts
        if not verdict["success"]
    ]
