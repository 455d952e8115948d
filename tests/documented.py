"""The commands in README and the guides, as a reader would type them."""

from __future__ import annotations

import re

from tests.paths import ROOT

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "infra/terraform/README.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
]

_PROGRAM = re.compile(
    r"(\.venv/bin/)?(audio-pipeline|cp|docker|gcloud|gcsfuse|git|infra/deploy/\w+\.sh|journalctl|jq"
    r"|make|mkdir|node|npm|pip|pre-commit|pytest|python3?|sudo|systemctl|terraform)(?= )"
    r"|for \w+ in |export [A-Z]|cd \w"
)
_VARIABLES = re.compile(r"(?:[A-Z_]+=\S+ )+")


def documented_commands() -> dict[str, set[str]]:
    """Return every command in a code block or a code span, and the pages that show it."""
    found: dict[str, set[str]] = {}
    for page in PAGES:
        text = (ROOT / page).read_text()
        fenced = re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        indented = re.findall(r"(?:^ {4,}\S.*\n)+", prose, re.MULTILINE)
        lines = [line for block in fenced + indented for line in _whole_lines(block)]
        lines += re.findall(r"`([^`\n]+)`", prose)
        for line in lines:
            command = line.strip().removeprefix("$ ").partition("  #")[0].strip()
            if _PROGRAM.match(_VARIABLES.sub("", command, count=1)):
                found.setdefault(command, set()).add(page)
    return found


def _whole_lines(block: str) -> list[str]:
    """Return commands that continue on the next line, and loops, as one."""
    joined = re.sub(r"\\\n\s*", "", block)
    joined = re.sub(r"\|\n\s*", "| ", joined)
    joined = re.sub(r"; do\n\s*(.*)\n\s*done", r"; do \1; done", joined)
    return joined.splitlines()
