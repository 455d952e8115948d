import pytest

from shared.core.counts import counted


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1000, "1,000 files")],
)
def test_a_noun_agrees_with_its_number(number: int, expected: str) -> None:
    assert counted(number, "file") == expected


def test_an_irregular_plural() -> None:
    assert counted(1, "copy", "copies") == "1 copy"
    assert counted(2, "copy", "copies") == "2 copies"
