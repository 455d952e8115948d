"""The page of the nightly runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.functions.dashboard.conftest import NOW, Bench

NIGHT = {"date": "2026-11-25", "started_at": NOW, "finished_at": NOW, "found": 3, "queued": 1}


@pytest.mark.parametrize(
    ("passed_over", "text"),
    [
        ({}, None),
        ({"passed_over": {"count": 1, "names": ["<a>.sln"]}}, "by name: &lt;a&gt;.sln."),
        ({"passed_over": {"count": 23, "names": ["a", "b"]}}, "by name: a, b and 21 more."),
    ],
)
def test_files_that_were_passed_over(
    passed_over: dict[str, Any], text: str | None, bench: Bench
) -> None:
    night = {**NIGHT, "error": None, **passed_over}
    bench.tracker.documents.create("nightly_runs", "2026-11-25", night)

    page = bench.get("/nightly").get_data(as_text=True)

    assert "3 found, 1 new" in page
    assert ("Passed over" in page) == (text is not None)
    assert text is None or text in page
