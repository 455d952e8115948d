"""A Dockerfile, read into its steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT


@dataclass(frozen=True)
class Dockerfile:
    """Its steps, each an instruction and its arguments: of the last stage, and of those before."""

    build: list[list[str]]
    final: list[list[str]]

    @classmethod
    def read(cls, path: Path) -> Dockerfile:
        lines = path.read_text().replace("\\\n", "").split("\n")
        steps = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
        last = max(index for index, step in enumerate(steps) if step[0] == "FROM")
        return cls(steps[:last], steps[last:])

    @property
    def steps(self) -> list[list[str]]:
        return self.build + self.final


def arguments(steps: list[list[str]], name: str) -> list[str]:
    """Return the arguments of every instruction of that name."""
    return [step[1] for step in steps if step[0] == name]


EXTRACT = Dockerfile.read(ROOT / "functions" / "extract_audio" / "Dockerfile")
WEB = Dockerfile.read(ROOT / "functions" / "web.Dockerfile")
