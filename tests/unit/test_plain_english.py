"""No text for people has the phrases that readers stumbled over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.paths import ROOT

#: Phrase → what to write in its place.
PHRASES = {
    r"mend(s|ed|ing)?": "fix",
    r"nobody vouches": "untrusted",
    r"without a word": "silently, or crashed",
    r"to be had": "available",
    r"(is|are|be|was) let at": "given",
    r"said so": "reported",
    r"whoever": "the caller, the owner, a process that …",
    r"that which": "what, or the noun",
    r"so many \w+,? and no more": "at most N",
}
#: Folders of the repository that have texts of ours.
FOLDERS = (".ci", "benchmarks", "cli", "docs", "functions", "infra", "shared", "tests")
#: What is not text for people, or is made by a tool.
IGNORED = {".pyc", ".zip", ".png", ".svg", ".ico", ".tfstate", ".hcl"}


def texts() -> dict[str, str]:
    """Return the repository's own texts by their names."""
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        paths += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(ROOT)): path.read_text()
        for path in paths
        if path.suffix not in IGNORED
        and not {".terraform", "node_modules"} & set(path.parts)
        and path != Path(__file__)
    }


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_text_has_the_phrase(phrase: str) -> None:
    # A sentence may go on in the next line, behind a comment's mark.
    words = phrase.replace(" ", r"[\s#/*]+")
    pattern = re.compile(rf"\b{words}\b", re.IGNORECASE)
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}"
        for name, text in texts().items()
        for match in pattern.finditer(text)
    ]
    assert found == [], f"write: {PHRASES[phrase]}"
