"""What ``doctor`` reports without asking anybody."""

from __future__ import annotations

import pytest

from cli.inspection.checks import Severity, quotas
from shared.bootstrap import Services
from shared.config.settings import Settings


@pytest.mark.parametrize(
    ("tracker", "names"),
    [("firestore://my-project/(default)", ["cloud run quota"]), ("sqlite:///tracker.db", [])],
)
def test_the_quota_is_named_where_the_settings_are_a_clouds(tracker: str, names: list[str]) -> None:
    settings = Settings.from_environment({"TRACKER_URL": tracker})
    found = list(quotas(Services(settings, read_only=True)))
    assert [one.name for one in found] == names
    assert all(one.severity is Severity.NOTE for one in found)
    assert all("20 vCPU" in one.found and "CpuAllocPerProjectRegion" in one.todo for one in found)
