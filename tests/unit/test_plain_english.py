"""No text for people has the phrases that readers stumbled over."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

#: Phrase → what to write in its place.
PHRASES = {
    r"mend(s|ed|ing)?": "fix",
    r"nobody (vouches|knows|thought|needs|sees)": "untrusted, unknown, unexpected, unneeded",
    r"without a word": "silently, or crashed",
    r"to be had": "available",
    r"(is|are|be|was) let (at|in)": "given, accepted",
    r"said so": "reported",
    r"(nowhere|as \w+) (says|said)": "see, or the source's name",
    r"sa(ys|id|ying) (that|so|how|what|which|why|who|whether)": "names, reports, lists",
    r"(is|are|was|were|be) told": "is notified, is reported",
    r"(tells?|telling) (whether|what|which|how|of|apart|that|who|when|by)": "reports, shows",
    r"lies? (in|on|under|at|beside|below|there|about|elsewhere|before)": "is in, is below",
    r"holds? (of|for all|as well|too|against)": "is true, applies",
    r"held (against|to)": "compared with",
    r"whoever": "the caller, the owner, a process that …",
    r"that which": "what, or the noun",
    r"what is (stale|missing|not|left|done|right|wrong) (is|are|has|may|must)": "the noun",
    r"so many \w+(, and no more| are| is| have)": "at most N",
    r"(are|is) none of (ours|the)": "is not",
    r"what is (made|left over)": "output, remaining",
    r"with (commas|spaces) between": "comma-separated, separated by spaces",
    r"for want of": "because … is missing",
    r"less stands in the way": "fewer barriers remain",
    r"(that|which|it|this) is no (bug|error|reason|fault|recording|failure)": "is not a …",
    r"(made|begin|began|begun|starts?|started) (anew|afresh)": "again, restarted",
    r"is the wrong one": "is not supported",
}
#: Names of tests, without ``test_`` → what to write in their place.
TEST_NAMES = {
    r"what_.*": "a noun as the subject",
    r".*_(is|are|was)_(told|said)(_.*)?": "is_reported",
    r".*_(tells?|says?)(_.*)?": "reports, names, returns",
    r".*_lies?_.*": "is_in",
    r".*(?<!there)_(is|are)_no_.*": "is_not_a",
    r".*_(anew|afresh)(_.*)?": "again",
}
#: Folders of the repository that have texts of ours.
FOLDERS = (".ci", "benchmarks", "cli", "docs", "functions", "infra", "shared", "tests")
#: What is not text for people, or is made by a tool.
IGNORED = {".pyc", ".zip", ".png", ".svg", ".ico", ".tfstate"}


@cache
def texts() -> dict[str, str]:
    """Return the repository's own texts by their names."""
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        paths += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(ROOT)): path.read_text()
        for path in paths
        if path.suffix not in IGNORED
        and not {".terraform", ".terraform.lock.hcl", "node_modules"} & set(path.parts)
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


@pytest.mark.parametrize("pattern", TEST_NAMES)
def test_no_test_has_such_a_name(pattern: str) -> None:
    found = [
        f"{path}: {name}"
        for path, text in texts().items()
        for name in re.findall(r"^ *def test_(\w+)", text, re.MULTILINE)
        if re.fullmatch(pattern, name)
    ]
    assert found == [], f"write: {TEST_NAMES[pattern]}"
