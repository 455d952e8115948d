"""tests/unit mirrors the source, so that a module's tests are found by its name."""

from __future__ import annotations

from tests.paths import ROOT

UNIT = ROOT / "tests" / "unit"


def test_every_unit_test_is_named_after_its_source() -> None:
    """``core/test_errors.py`` or ``core/test_errors_of_clients.py`` for ``core/errors.py``."""
    tests = [path.relative_to(UNIT) for path in UNIT.rglob("test_*.py") if path.parent != UNIT]
    assert len(tests) > 40
    lost = []
    for test in tests:
        name = f"{test.stem.removeprefix('test_')}_"
        sources = [path.stem.lower() for path in (ROOT / test.parent).iterdir()]
        if not any(name.startswith(f"{source}_") for source in sources):
            lost.append(str(test))
    assert lost == []
