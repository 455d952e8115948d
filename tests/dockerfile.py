"""A Dockerfile, read into its steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT


@dataclass(frozen=True)
class Dockerfile:
    """Its steps, each an instruction and its arguments: by the stages ``build``, ``sbom``, last."""

    build: list[list[str]]
    sbom: list[list[str]]
    final: list[list[str]]

    @classmethod
    def read(cls, path: Path) -> Dockerfile:
        lines = path.read_text().replace("\\\n", "").split("\n")
        steps = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
        first, *rest = (index for index, step in enumerate(steps) if step[0] == "FROM")
        assert first == 0
        return cls(steps[: rest[0]], steps[rest[0] : rest[-1]], steps[rest[-1] :])

    @property
    def steps(self) -> list[list[str]]:
        return self.build + self.sbom + self.final


def arguments(steps: list[list[str]], name: str) -> list[str]:
    """Return the arguments of every instruction of that name."""
    return [step[1] for step in steps if step[0] == name]


EXTRACT = Dockerfile.read(ROOT / "functions" / "extract_audio" / "Dockerfile")
WEB = Dockerfile.read(ROOT / "functions" / "web.Dockerfile")
