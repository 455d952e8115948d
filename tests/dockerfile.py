"""The image's Dockerfile, read into its steps."""

from __future__ import annotations

from tests.paths import ROOT

_LINES = (
    (ROOT / "functions" / "extract_audio" / "Dockerfile")
    .read_text()
    .replace("\\\n", "")
    .split("\n")
)
#: Instruction and arguments.
STEPS = [line.split(None, 1) for line in _LINES if line and not line.startswith("#")]
_LAST = max(index for index, step in enumerate(STEPS) if step[0] == "FROM")
BUILD, FINAL = STEPS[:_LAST], STEPS[_LAST:]


def arguments(steps: list[list[str]], name: str) -> list[str]:
    """Return the arguments of every instruction of that name."""
    return [step[1] for step in steps if step[0] == name]
